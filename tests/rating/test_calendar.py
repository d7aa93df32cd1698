"""What falls due without an event: when, for whom, and by which version of the catalog."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meter.model.catalog import Fee, Graduated, Plan, Price, Site, Tax
from meter.model.directory import Account, GivenGrant, Link, Purchase, Subscription
from meter.rating.calendar import Beat, beats, is_empty, starts
from tests.rating.world import (
    Ledger,
    Space,
    catalog,
    d,
    event,
    graduated,
    per_unit,
    plan,
    priced,
    space,
    span,
    subscription,
    t,
    use,
)


def flat(amount: str = "10", **more: Any) -> Price:
    tiers = graduated(("5", "1", amount), (None, "0.5")).tiers
    return Price(id="flat", model=Graduated(tiers=tiers, flat_at_zero=True), **more)


def with_fee(found: Plan, amount: str = "30") -> Plan:
    return replace(found, fee=Fee(amount=d(amount)))


def pack(id: str = "pack", *, start: str | None = None, price: str = "9") -> GivenGrant:
    bought = Purchase(price=d(price))
    return GivenGrant(id=id, account="acme", unit="unit", amount=d(5), span=span(start), bought=bought)


def due(where: Space, at: str) -> tuple[Beat, ...]:
    account = where.facts.account
    return beats(where.facts, account.periods.at(t(at)))


def told(where: Space, at: str) -> list[tuple[object, ...]]:
    return [(beat.time, beat.kind, beat.member) for beat in due(where, at)]


def test_without_anything_to_charge_there_is_no_calendar() -> None:
    where = space(plan(use=per_unit("1")), subscriptions=[subscription(span=span("11-01"))])
    assert is_empty(where.facts)
    assert starts(where.facts) is None
    assert due(where, "11-02") == ()
    tiers = priced(graduated(("5", "1", "10"), (None, "0.5")))
    assert is_empty(space(plan(use=tiers), subscriptions=[subscription(span=span("11-01"))]).facts)


def test_before_the_catalog_has_the_plan_nothing_falls_due() -> None:
    versions = [catalog(), catalog(with_fee(plan(use=flat(period_minimum=d(9)))), version=2, effective="11-12")]
    held = [subscription(span=span("11-01"))]
    where = space(subscriptions=held, catalogs=versions, closed=["10-31 23:00", "11-30 23:00"])
    assert due(where, "11-02") == ()
    assert [kind for _, kind, _ in told(where, "12-02")] == ["fee", "zero", "minimum"]


class TestFirstFlats:
    def test_are_each_members_since_the_link(self) -> None:
        links = [Link(member="ada", account="acme"), Link(member="bob", account="acme", span=span("11-10"))]
        where = space(plan(use=flat(per="member")), links=links)
        assert told(where, "11-02") == [(t("10-31 23:00"), "zero", "ada"), (t("11-10"), "zero", "bob")]

    def test_are_due_once_for_each_member(self) -> None:
        where = space(plan(use=flat(per="member")), subscriptions=[subscription(span=span("11-01"))])
        lines = where.lines(until="11-20")
        assert [(line.member, int(line.amount)) for line in lines] == [("ada", 10), ("bob", 10)]

    def test_not_while_the_member_has_an_own_plan(self) -> None:
        held = [
            subscription(span=span("10-01")),
            subscription("own", id="bobs", member="bob", span=span("10-15", "11-20")),
        ]
        where = space(plan(use=flat(per="member")), plan("own", use=per_unit("1")), subscriptions=held)
        assert told(where, "11-02") == [(t("10-31 23:00"), "zero", "ada"), (t("11-20"), "zero", "bob")]

    @pytest.mark.parametrize(
        ("start", "end", "bobs"),
        [
            (None, None, []),
            (None, "11-20", ["11-20"]),
            ("11-10", None, ["10-31 23:00"]),
            ("11-10", "11-20", ["10-31 23:00", "11-20"]),
        ],
    )
    def test_begin_anew_when_the_members_own_plan_ends(
        self, start: str | None, end: str | None, bobs: list[str]
    ) -> None:
        held = [
            subscription(span=span("10-01")),
            subscription("own", id="bobs", member="bob", span=span(start, end)),
        ]
        where = space(plan(use=flat(per="member")), plan("own", use=per_unit("1")), subscriptions=held)
        assert [time for time, _, member in told(where, "11-02") if member == "bob"] == [t(at) for at in bobs]

    def test_of_a_members_own_plan_are_hers_alone(self) -> None:
        prices = [flat(), replace(flat(per="member"), id="own")]
        held = [subscription("own", id="hers", member="ada", span=span("11-05"))]
        where = space(plan(), plan("own", use=prices), subscriptions=held)
        assert told(where, "11-02") == [(t("11-05"), "zero", "ada")] * 2
        lines = where.lines(use("11-06", 1), until="11-08")
        assert [(line.member, line.price, int(line.amount)) for line in lines] == [
            ("ada", "flat", 10),
            ("ada", "own", 10),
            ("ada", "flat", 1),
        ]

    def test_are_only_of_prices_that_ask_for_them(self) -> None:
        tiers = graduated(("5", "1", "10"), (None, "0.5"))
        where = space(
            plan(use=[per_unit("1"), priced(tiers), flat()]), subscriptions=[subscription(span=span("11-01"))]
        )
        assert [beat.price and beat.price.id for beat in due(where, "11-02")] == ["flat"]

    def test_have_the_prices_of_their_instant(self) -> None:
        links = [Link(member="ada", account="acme"), Link(member="bob", account="acme", span=span("11-10"))]
        versions = [
            catalog(plan(use=flat("10", per="member"))),
            catalog(plan(use=replace(flat("12", per="member"), id="dearer")), version=2, effective="11-05"),
        ]
        where = space(subscriptions=[subscription(span=span("11-01"))], catalogs=versions, links=links)
        lines = where.lines(until="11-20")
        assert [(line.member, line.price, int(line.amount)) for line in lines] == [
            ("ada", "flat", 10),
            ("bob", "dearer", 12),
        ]

    def test_are_not_due_again_where_the_plan_is_left_and_taken_up_within_a_month(self) -> None:
        held = [subscription(span=span("11-01", "11-10")), subscription(id="sub2", span=span("11-15"))]
        assert [int(line.amount) for line in space(plan(use=flat()), subscriptions=held).lines(until="11-20")] == [10]

    def test_are_booked_for_the_draw_where_money_pays_for_them(self) -> None:
        goodwill = GivenGrant(id="goodwill", account="acme", unit="EUR", amount=d(50))
        where = space(plan(use=flat()), subscriptions=[subscription(span=span("11-01"))], grants=[goodwill])
        ledger = Ledger.empty()
        (charge,) = ledger.make_good(where.lines(until="11-02"))
        assert [charge.line.amount, charge.line.draws[0].amount] == [0, 10]


class TestTheFirstPeriod:
    def test_of_a_dated_subscription_is_where_it_begins(self) -> None:
        where = space(with_fee(plan()), subscriptions=[subscription(span=span("10-15"))])
        assert starts(where.facts) == t("10-15")
        assert [line.period.start for line in where.lines(use("12-02", 1), until="12-05")] == [
            t("09-30 22:00"),
            t("10-31 23:00"),
            t("11-30 23:00"),
        ]

    def test_of_a_plan_that_charges_from_a_later_version_on_is_where_it_begins_all_the_same(self) -> None:
        versions = [catalog(plan()), catalog(with_fee(plan()), version=2, effective="11-12")]
        where = space(subscriptions=[subscription(span=span("10-15"))], catalogs=versions)
        assert starts(where.facts) == t("10-15")
        assert [line.key.time for line in where.lines(until="12-15")] == [t("11-30 23:00")]

    def test_of_an_undated_one_is_that_of_any_event_or_purchase(self) -> None:
        where = space(with_fee(plan()))
        noise = event("n", "no.meter", "10-20", {})
        assert len(where.lines(until="12-15")) == 0
        assert len(where.lines(noise, until="12-15")) == 3
        lines = space(with_fee(plan()), grants=[pack(start="11-20")]).lines(until="12-15")
        assert [line.meter for line in lines] == ["membership", "credit", "membership"]
        gift = GivenGrant(id="gift", account="acme", unit="unit", amount=d(5), span=span("11-20"))
        assert space(with_fee(plan()), grants=[gift]).lines(until="12-15") == ()

    def test_is_not_that_of_a_refund_from_before_its_sale(self) -> None:
        where = space(with_fee(plan()))
        sold = {"order": "o", "currency": "EUR", "settlement": "account", "lines": [{"amount": "9"}], "total": "9"}
        told = {"refund": "r", "sale": {"source": "berlin/device", "order": "o"}, "currency": "EUR", "amount": "9"}
        for status in ("completed", "failed"):
            refund = event("r", "pos.refund", "10-20", {**told, "status": status})
            lines = where.lines(refund, event("s", "pos.sale", "11-05", sold), until="11-20")
            assert [line.period.start for line in lines if line.kind == "fee"] == [t("10-31 23:00")], status

    @pytest.mark.parametrize("first", ["pack", "sub", "again"])
    def test_of_several_is_the_earliest_whatever_comes_last(self, first: str) -> None:
        begins = {"pack": "11-05", "sub": "11-06", "again": "11-07", first: "10-15"}
        held = [subscription(id=name, span=span(begins[name])) for name in ("sub", "again")]
        where = space(with_fee(plan()), subscriptions=held, grants=[pack("undated"), pack(start=begins["pack"])])
        assert starts(where.facts) == t("10-15")


class TestFees:
    def test_of_a_members_own_plan_are_hers(self) -> None:
        held = [subscription("own", id="hers", member="ada", span=span("11-05"))]
        where = space(plan(), with_fee(plan("own")), subscriptions=held)
        assert [(beat.kind, beat.member) for beat in due(where, "11-02")] == [("fee", "ada")]

    def test_of_a_space_with_several_sites_are_at_none(self) -> None:
        berlin, hamburg = (
            Site(id=name, name=name, timezone="Europe/Berlin", tax=name) for name in ("berlin", "hamburg")
        )
        taxes = {name: Tax(name=name, rate=d("0.19")) for name in ("berlin", "hamburg")}
        held = [subscription(span=span("11-05"))]

        def at(*sites: Site) -> list[tuple[str, str | None]]:
            terms = {"sites": {site.id: site for site in sites}, "taxes": taxes}
            found = due(space(with_fee(plan()), subscriptions=held, terms=terms), "11-02")
            return [(beat.site, None if beat.tax is None else beat.tax.name) for beat in found]

        assert at(berlin) == [("berlin", "berlin")]
        assert at(berlin, hamburg) == [("", None)]


class TestDeposits:
    def taken(self, where: Space) -> list[tuple[object, ...]]:
        found = [beat for at in ("11-02", "12-02") for beat in due(where, at) if beat.meter == "deposit"]
        return [(beat.time, beat.member, beat.quantity, beat.amount, beat.each) for beat in found]

    def test_are_taken_at_the_beginning_and_given_back_at_the_end(self) -> None:
        held = [subscription(span=span("11-05", "12-10"), deposit=d(50))]
        assert self.taken(space(plan(), subscriptions=held)) == [
            (t("11-05"), None, 1, 50, 50),
            (t("12-10"), None, -1, -50, 50),
        ]

    def test_are_kept_without_an_end_and_not_taken_without_a_beginning(self) -> None:
        for dated, taken in ((span("11-05"), 1), (span(None, "11-20"), 0)):
            held = [subscription(span=dated, deposit=d(50))]
            assert len(self.taken(space(plan(), subscriptions=held))) == taken

    @pytest.mark.parametrize(("joined", "payers"), [("01-01", {"acme": 2}), ("11-05", {"acme": 2}), ("11-06", {})])
    def test_of_a_member_are_the_business_of_whose_she_was_at_the_beginning(
        self, joined: str, payers: dict[str, int]
    ) -> None:
        links = [
            Link(member="ada", account="acme", span=span(joined, "11-20")),
            Link(member="ada", account="beta", span=span("11-20")),
        ]
        held = [subscription("own", id="hers", member="ada", span=span("11-05", "12-10"), deposit=d(50))]
        for account in ("acme", "beta"):
            where = space(plan("own"), subscriptions=held, links=links, account=account)
            found = self.taken(where)
            assert len(found) == payers.get(account, 0)
            assert {member for _, member, *_ in found} <= {"ada"}


def test_a_line_names_the_plan_of_a_fee_and_the_price_of_what_that_asks_for() -> None:
    flex = with_fee(plan(use=flat(period_minimum=d(99))))
    held = [subscription(span=span("10-31 23:00"), deposit=d(5))]
    where = space(flex, subscriptions=held, grants=[pack(start="11-05")], closed=["10-31 23:00"])
    lines = [line for line in where.lines(until="11-30 23:00") if line.period.start == t("10-31 23:00")]
    assert [(line.meter, line.kind, line.price) for line in lines] == [
        ("deposit", "fee", None),
        ("membership", "fee", "flex"),
        ("use", "usage", "flat"),
        ("credit", "fee", None),
        ("use", "minimum", "flat"),
    ]
    assert {(line.key.source, line.event_type, line.events) for line in lines} == {("", "", ())}


class TestPurchases:
    def test_are_due_when_the_credit_takes_effect_and_never_without_that(self) -> None:
        adas = replace(pack(start="11-20"), member="ada")
        found = due(space(plan(), grants=[pack("undated"), adas]), "11-02")
        assert [(beat.time, beat.member, beat.quantity, beat.amount, beat.each) for beat in found] == [
            (t("11-20"), "ada", d(5), d(9), d(9))
        ]


def test_of_what_a_catalog_asks_for_in_another_currency_only_the_fee_is_told_as_unpriced() -> None:
    account = Account(id="acme", name="acme", currency="USD", timezone="Europe/Berlin")
    flex = with_fee(plan(use=flat(period_minimum=d(99))))
    held = [subscription(span=span("10-31 23:00"))]
    where = space(flex, subscriptions=held, accounts=[account], closed=["10-31 23:00"])
    assert [(beat.kind, beat.currency, beat.asked) for beat in due(where, "11-02")] == [
        ("fee", "USD", "EUR"),
        ("zero", "USD", "EUR"),
        ("minimum", "USD", "EUR"),
    ]
    lines = where.lines(until="12-02")
    assert {(line.kind, line.amount, line.currency, line.unpriced) for line in lines} == {("fee", d(0), "USD", True)}


class TestMinimums:
    def test_are_due_for_closed_periods_only(self) -> None:
        price = per_unit("1", period_minimum=d(10))
        held = [subscription(span=span("10-01"))]
        assert told(space(plan(use=price), subscriptions=held), "11-02") == []
        where = space(plan(use=price), subscriptions=held, closed=["10-31 23:00"])
        assert told(where, "11-02") == [(t("11-30 23:00"), "minimum", None)]

    def test_have_the_terms_of_the_version_in_force_when_the_first_part_begins(self) -> None:
        versions = [
            catalog(plan(use=per_unit("1", period_minimum=d(30)))),
            catalog(plan(use=per_unit("1", period_minimum=d(60))), version=2, effective="11-05"),
        ]

        def missing(*held: Subscription) -> list[int]:
            where = space(subscriptions=held, catalogs=versions, closed=["10-31 23:00"])
            return [int(line.amount) for line in where.lines(until="12-02")]

        early, late = subscription(id="z", span=span("11-01", "11-10")), subscription(id="a", span=span("11-10"))
        assert missing(late, early) == missing(early, late) == [30]
        assert missing(late) == [42]  # 21 of 30 days

    def test_are_held_against_what_their_own_period_has(self) -> None:
        price, held = per_unit("1", period_minimum=d(10)), [subscription(span=span("10-31 23:00"))]
        where = space(plan(use=price), subscriptions=held, closed=["10-31 23:00", "11-30 23:00"])
        lines = where.lines(use("11-05", 9), use("12-05", 4), until="12-31 23:00")
        assert [int(line.amount) for line in lines if line.kind == "minimum"] == [1, 6]

    def test_are_of_the_meters_unit(self) -> None:
        price = per_unit("1", period_minimum=d(30))
        where = space(plan(use=price), subscriptions=[subscription(span=span("10-01"))], closed=["10-31 23:00"])
        assert [beat.unit for beat in due(where, "11-02")] == ["unit"]

    def test_count_days_under_any_subscription_of_the_plan_once(self) -> None:
        held = [
            subscription(span=span("10-20 00:00", "11-11 00:00")),
            subscription(id="again", span=span("11-21 00:00")),
        ]
        where = space(plan(use=per_unit("1", period_minimum=d(30))), subscriptions=held, closed=["10-31 23:00"])
        (line,) = where.lines(until="12-02")
        assert int(line.amount) == 20

    def test_are_each_members_for_the_days_of_the_link(self) -> None:
        links = [Link(member="ada", account="acme"), Link(member="bob", account="acme", span=span("11-16 00:00"))]
        price = per_unit("1", per="member", period_minimum=d(30))
        where = space(
            plan(use=price), subscriptions=[subscription(span=span("10-31 23:00"))], links=links, closed=["10-31 23:00"]
        )
        lines = where.lines(use("11-20", 4, by="bob"), until="12-02")
        assert [(line.member, line.kind, int(line.amount)) for line in lines] == [
            ("bob", "usage", 4),
            ("ada", "minimum", 30),
            ("bob", "minimum", 11),
        ]


def test_each_is_named_by_what_it_hangs_on() -> None:
    """The name is in the key of the line, by which what is booked is found again: it is the same for ever."""
    tiers = priced(graduated(("5", "1", "10"), (None, "0.5")))
    prices = [tiers, flat(period_minimum=d(9)), replace(flat(per="member", period_minimum=d(9)), id="own")]
    held = [subscription("p/q", id="a/b", span=span("11-01", "11-11"), deposit=d(5))]
    where = space(
        with_fee(plan("p/q", use=prices)),
        subscriptions=held,
        grants=[pack("x/y", start="11-05")],
        links=[Link(member="m/n", account="acme")],
        closed=["10-31 23:00"],
    )
    begun = "2026-11-01T12:00:00+00:00"
    assert [beat.id for beat in due(where, "11-02")] == [
        "a%2Fb/deposit",
        f"a%2Fb/fee/{begun}",
        f"a%2Fb/zero/use/flat/{begun}",
        f"a%2Fb/zero/use/own/{begun}/m%2Fn",
        "x%2Fy/bought",
        f"a%2Fb/fee/{begun}/unused",
        "a%2Fb/returned",
        "p%2Fq/minimum/use/flat",
        "p%2Fq/minimum/use/own/m%2Fn",
    ]
    late = space(
        replace(plan(), fee=Fee(amount=d(1), timing="arrears")), subscriptions=[subscription(span=span("11-01"))]
    )
    assert [beat.id for beat in due(late, "11-02")] == [f"sub/fee/{begun}/arrears"]


def test_names_with_slashes_do_not_collide() -> None:
    held = [subscription(id="a", span=span("11-01", "11-05")), subscription(id="a/fee", span=span("11-05"))]
    found = due(space(with_fee(plan()), subscriptions=held), "11-02")
    assert len({beat.id for beat in found}) == len(found) == 3
