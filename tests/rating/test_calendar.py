"""What falls due without an event: when, for whom, and by which version of the catalog."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from meter.model.catalog import Fee, Graduated, Plan, Price
from meter.model.directory import GivenGrant, Link, Purchase
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


class TestFirstFlats:
    def test_are_each_members_since_the_link(self) -> None:
        links = [Link(member="ada", account="acme"), Link(member="bob", account="acme", span=span("11-10"))]
        where = space(plan(use=flat(per="member")), links=links)
        assert told(where, "11-02") == [(t("10-31 23:00"), "zero", "ada"), (t("11-10"), "zero", "bob")]

    def test_not_while_the_member_has_an_own_plan(self) -> None:
        held = [
            subscription(span=span("10-01")),
            subscription("own", id="bobs", member="bob", span=span("10-15", "11-20")),
        ]
        where = space(plan(use=flat(per="member")), plan("own", use=per_unit("1")), subscriptions=held)
        assert told(where, "11-02") == [(t("10-31 23:00"), "zero", "ada"), (t("11-20"), "zero", "bob")]

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
        pack = GivenGrant(
            id="pack", account="acme", unit="unit", amount=d(5), span=span("11-20"), bought=Purchase(price=d(9))
        )
        lines = space(with_fee(plan()), grants=[pack]).lines(until="12-15")
        assert [line.meter for line in lines] == ["membership", "credit", "membership"]


class TestMinimums:
    def test_are_due_for_closed_periods_only(self) -> None:
        price = per_unit("1", period_minimum=d(10))
        held = [subscription(span=span("10-01"))]
        assert told(space(plan(use=price), subscriptions=held), "11-02") == []
        where = space(plan(use=price), subscriptions=held, closed=["10-31 23:00"])
        assert told(where, "11-02") == [(t("11-30 23:00"), "minimum", None)]

    def test_count_days_under_any_subscription_of_the_plan_once(self) -> None:
        held = [
            subscription(span=span("11-01 00:00", "11-11 00:00")),
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


def test_names_with_slashes_do_not_collide() -> None:
    held = [subscription(id="a", span=span("11-01", "11-05")), subscription(id="a/fee", span=span("11-05"))]
    found = due(space(with_fee(plan()), subscriptions=held), "11-02")
    assert len({beat.id for beat in found}) == len(found) == 3
