from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from meter.model.catalog import (
    Condition,
    Fee,
    Graduated,
    Meter,
    MissingEnd,
    Pairing,
    Percentage,
    Price,
    Site,
    Tier,
    Volume,
    Window,
)
from meter.model.charge import Line, LineTax
from meter.model.directory import Account, Discount, GivenGrant, Purchase
from meter.model.errors import Broken
from meter.model.event import UsageEvent
from meter.rating.fold import TooLate, fold
from meter.rating.measure import open_sessions
from meter.rating.state import AccountState
from tests.rating.world import (
    CAFE,
    DAYS,
    PAGES,
    USE,
    Space,
    catalog,
    d,
    entered,
    event,
    given,
    graduated,
    passed,
    per_unit,
    plan,
    plan_grant,
    priced,
    printed,
    space,
    span,
    subscription,
    t,
    taxed,
    use,
)


class TestALine:
    def test_says_who_what_when_and_how_much(self) -> None:
        colour = Price(id="colour", model=graduated(("50", "0.25"), (None, "0.20")), match={"color": True})
        where = space(plan(pages=[colour, per_unit("0.05", id="mono")], grants=[]))
        (line,) = where.lines(job := printed("11-03", 4, color=True))
        assert line.key == (t("11-03"), "berlin/device", job.id, "pages", 0, "")
        assert (line.account, line.member, line.site) == ("acme", "ada", "berlin")
        assert (line.meter, line.plan) == ("pages", "flex")
        assert (line.kind, line.event_type, line.events) == ("usage", "print.job", (job.key,))
        assert (line.period.start, line.period.end) == (t("10-31 23:00"), t("11-30 23:00"))
        assert (line.unit, line.price, line.currency, line.settlement) == ("page", "colour", "EUR", "account")
        assert [line.quantity, line.covered, line.billable, line.amount] == [4, 0, 4, 1]
        assert line.dimensions == {"color": True}

    def test_is_not_there_for_a_contribution_of_0(self) -> None:
        assert space(plan(use=per_unit("1"))).lines(use("11-02", 0)) == ()

    def test_is_of_amount_0_where_credit_covers_all(self) -> None:
        where = space(plan(use=per_unit("1"), grants=[plan_grant("free", USE, "10")]))
        (line,) = where.lines(use("11-02", 5))
        assert [line.quantity, line.covered, line.billable, line.amount] == [5, 5, 0, 0]
        assert not line.unpriced

    def test_of_anything_but_a_sale_has_no_tip_and_is_paid_by_nobody(self) -> None:
        where = space(plan(use=per_unit("1")))
        (line,) = where.lines(use("11-02", 5, tip="2", settlement="paid"))
        assert (line.meter, int(line.amount), line.settlement) == ("use", 5, "account")

    def test_is_not_there_for_a_meter_that_the_plan_neither_prices_nor_grants(self) -> None:
        where = space(plan(pages=per_unit("1")), grants=[given("gift", USE, "10")])
        assert where.lines(use("11-02", 5)) == ()

    def test_comes_in_order_of_meters_for_one_event(self) -> None:
        terms = {"meters": {name: _meter(name) for name in ("b", "a", "c")}}
        where = space(plan(a=per_unit("1"), b=per_unit("1"), c=per_unit("1")), terms=terms)
        assert [line.meter for line in where.lines(event("e", "custom", "11-02", {"n": 1}))] == ["a", "b", "c"]


def _meter(name: str) -> Meter:
    return Meter(id=name, event="custom", aggregate="sum", unit="n", value=("n",))


class TestUnpriced:
    def test_what_no_price_fits(self) -> None:
        colour = Price(id="colour", model=graduated((None, "1")), match={"color": True})
        (line,) = space(plan(pages=[colour])).lines(printed("11-02", 5))
        assert (line.unpriced, line.price, line.plan) == (True, None, "flex")
        assert [line.amount, line.billable] == [0, 5]

    def test_what_is_left_of_a_meter_that_is_granted_and_not_priced(self) -> None:
        where = space(plan(grants=[plan_grant("free", USE, "3")]))
        lines = where.lines(use("11-02", 3), use("11-03", 3))
        assert [line.unpriced for line in lines] == [False, True]

    def test_usage_of_an_account_without_a_plan(self) -> None:
        (line,) = space(plan(), subscriptions=[]).lines(use("11-02", 5))
        assert (line.unpriced, line.plan, int(line.amount)) == (True, None, 0)

    def test_but_not_where_given_credit_covers_it(self) -> None:
        where = space(plan(), subscriptions=[], grants=[given("gift", USE, "5")])
        assert [line.unpriced for line in where.lines(use("11-02", 5), use("11-03", 1))] == [False, True]

    def test_usage_at_an_instant_without_a_subscription_falls_under_the_default_plan(self) -> None:
        terms = {"default_plan": "guest"}
        held = [subscription(span=span("11-10"))]
        where = space(plan(use=per_unit("1")), plan("guest", use=per_unit("3")), subscriptions=held, terms=terms)
        assert where.amounts(use("11-02", 1), use("11-12", 1)) == [3, 1]

    def test_prices_in_another_currency_than_the_accounts(self) -> None:
        account = Account(id="acme", name="acme", currency="USD", timezone="Europe/Berlin")
        (line,) = space(plan(use=per_unit("1")), accounts=[account]).lines(use("11-02", 5))
        assert (line.unpriced, line.currency, int(line.amount)) == (True, "USD", 0)

    def test_passed_through_money_in_another_currency(self) -> None:
        data = {"order": "o", "currency": "USD", "settlement": "account", "lines": [{"amount": "3"}], "total": "3"}
        (line,) = space(plan(cafe=passed())).lines(event("s", "pos.sale", "11-02", data))
        assert line.unpriced

    @pytest.mark.parametrize("price", [per_unit("1"), priced(Percentage(path=("total",), rate=Decimal("0.1")))])
    def test_a_sale_in_another_currency_unless_it_is_counted_in_a_unit_and_priced_by_it(self, price: Price) -> None:
        data = {"order": "o", "currency": "USD", "settlement": "account", "total": "3"}
        told = event("s", "pos.sale", "11-02", {**data, "lines": [{"amount": "3", "quantity": 2}]})
        cups = Meter(id="cups", event="pos.sale", aggregate="sum", unit="cup", value=("lines", "quantity"))
        where = space(plan(cafe=price, cups=price), terms={"meters": {"cafe": CAFE, "cups": cups}})
        by_money = isinstance(price.model, Percentage)
        assert [(line.meter, line.unpriced) for line in where.lines(told)] == [("cafe", True), ("cups", by_money)]

    def test_usage_outside_the_hours_of_the_only_price(self) -> None:
        mondays = per_unit("1", when=Window(days=frozenset({0})))
        lines = space(plan(use=mondays)).lines(use("11-02", 5), use("11-03", 5))
        assert [line.unpriced for line in lines] == [False, True]

    def test_each_meter_by_itself(self) -> None:
        where = space(plan(grants=[plan_grant("free", USE, "3"), plan_grant("paper", PAGES, "1")]))
        lines = where.lines(printed("11-02", 6), use("11-03", 3), use("11-04", -2))
        assert [(line.meter, int(line.covered), line.unpriced) for line in lines] == [
            ("pages", 1, True),
            ("use", 3, False),
            ("use", -2, False),
        ]

    def test_usage_counted_in_another_currency(self) -> None:
        dollars = replace(USE, unit="USD")
        (line,) = space(plan(use=passed()), terms={"meters": {"use": dollars}}).lines(use("11-02", 5))
        assert (line.unpriced, line.amount) == (True, d(0))

    def test_a_plan_that_the_catalog_does_not_have(self) -> None:
        (line,) = space(plan(), subscriptions=[subscription("gone")]).lines(use("11-02", 5))
        assert (line.unpriced, line.plan) == (True, None)


class TestTheSubscription:
    def test_of_a_member_holds_from_its_first_instant_to_before_its_last(self) -> None:
        hers = subscription("own", id="hers", member="ada", span=span("11-05", "11-08"))
        where = space(plan(use=per_unit("1")), plan("own", use=per_unit("2")), subscriptions=[subscription(), hers])
        events = [use(at, 1) for at in ("11-02", "11-04 11:59", "11-05", "11-08 11:59", "11-08", "11-09")]
        assert where.amounts(*events) == [1, 1, 2, 2, 1, 1]

    def test_of_the_account_ends_before_its_end(self) -> None:
        held = [subscription(span=span(None, "11-05")), subscription("big", id="again", span=span("11-08"))]
        where = space(plan(use=per_unit("1")), plan("big", use=per_unit("3")), subscriptions=held)
        events = [use(at, 1) for at in ("11-02", "11-04 11:59", "11-05", "11-08", "11-09")]
        assert [(int(line.amount), line.unpriced) for line in where.lines(*events)] == [
            (1, False),
            (1, False),
            (0, True),
            (3, False),
            (3, False),
        ]

    def test_keeps_what_its_discounts_have_lowered_for_itself(self) -> None:
        welcome = (Discount(id="welcome", amount=d(5)),)
        held = [
            subscription(span=span(None, "11-10"), discounts=welcome),
            subscription(id="again", span=span("11-10"), discounts=welcome),
        ]
        where = space(plan(use=per_unit("1")), subscriptions=held)
        assert where.amounts(use("11-02", 3), use("11-12", 8)) == [0, 3]

    def test_has_the_discounts_in_force_whatever_stands_before_them(self) -> None:
        over, acting = Discount(id="over", rate=d(1), span=span(None, "11-01")), Discount(id="acting", rate=d("0.5"))
        where = space(plan(use=per_unit("1")), subscriptions=[subscription(discounts=(over, acting))])
        assert where.amounts(use("11-02", 8)) == [4]

    def test_holds_a_plan_that_earlier_versions_of_the_catalog_do_not_have(self) -> None:
        versions = [catalog(), catalog(plan(use=per_unit("1")), version=2, effective="11-01")]
        where = space(subscriptions=[subscription()], catalogs=versions)
        assert where.amounts(use("10-20", 1), use("11-02", 1)) == [0, 1]


class TestTheClock:
    """What it alone changes, and what it has settled before all was known."""

    def hall(self, missing_end: MissingEnd = "cap", **more: Any) -> Space:
        presence = Meter(
            id="hall",
            event="door.access",
            aggregate="duration",
            unit="hour",
            pairing=Pairing(
                start=(Condition(path=("in",), operator="=", value=True),),
                end=(Condition(path=("in",), operator="=", value=False),),
                missing_end=missing_end,
                max_s=14 * 3600,
            ),
        )
        terms = {"meters": {"hall": presence, "use": USE}}
        return space(plan(hall=per_unit("1"), use=per_unit("1")), terms=terms, **more)

    def door(self, at: str, way: str, *, by: str = "ada") -> UsageEvent:
        return event(f"{by} {way} {at}", "door.access", at, {"in": way == "in"}, by=by)

    def test_wakes_an_account_when_something_falls_due(self) -> None:
        fee = replace(plan(use=per_unit("1")), fee=Fee(amount=d(30), timing="arrears"))
        where = space(fee, subscriptions=[subscription(span=span("11-05", "11-20"))])
        expected = [("11-02", "11-05"), ("11-06", "11-20"), ("11-21", "11-30 23:00"), ("12-05", "12-31 23:00")]
        assert [where.fold(until=now).wakes for now, _ in expected] == [t(wakes) for _, wakes in expected]
        assert space(plan(use=per_unit("1"))).fold(use("11-02", 1), until="11-05").wakes is None
        assert where.fold(use("11-02", 1)).wakes is None

    def test_wakes_an_account_when_a_session_is_over_and_not_again(self) -> None:
        doors = [self.door("11-02 09:00", "in"), self.door("11-02 10:00", "in", by="bob")]
        expected = [("11-02 12:00", "11-02 23:00"), ("11-02 23:00", "11-03 00:00"), ("11-03 00:00", None)]
        found = [self.hall().fold(*doors, until=now) for now, _ in expected]
        assert [one.wakes for one in found] == [None if wakes is None else t(wakes) for _, wakes in expected]
        assert [len(one.lines) for one in found] == [0, 1, 2]
        assert [one.orphans for one in found] == [(), (), ()]

    def test_a_session_stands_at_its_start_before_what_happened_in_it(self) -> None:
        doors = [self.door("11-02 09:00", "in"), self.door("11-02 11:00", "out")]
        lines = self.hall().lines(*doors, use("11-02 10:00", 1, by="bob"))
        assert [line.meter for line in lines] == ["hall", "use"]

    def test_a_session_is_open_until_the_clock_or_its_last_instant_has_passed(self) -> None:
        start, other = self.door("11-02 09:00", "in"), self.door("11-02 23:00", "in", by="bob")
        where = self.hall()
        assert len(list(open_sessions(where.fold(start, replace(other, time=t("11-05"))).state.memory))) == 2
        state = where.fold(start, other, until="11-02 23:00").state
        end = replace(self.door("11-02 23:00", "out"), source="berlin/zzz")
        with pytest.raises(TooLate):
            fold(where.facts, state, where.placed([end]), until=t("11-02 23:00"))

    def test_a_session_that_counts_nothing_was_not_taken_for_granted(self) -> None:
        where = self.hall("none")
        state = where.fold(self.door("11-02 09:00", "in")).state
        assert fold(where.facts, state, where.placed([self.door("11-02 10:00", "in")])).lines == ()

    @pytest.mark.parametrize(("who", "first"), [(("ada", "bob"), "ada"), (("bob",), "bob")])
    def test_an_end_that_comes_after_the_estimate_asks_for_a_fold_from_before_its_start(
        self, who: tuple[str, ...], first: str
    ) -> None:
        where = self.hall()
        doors = {by: self.door(f"11-02 {at}", "in", by=by) for by, at in (("ada", "09:00"), ("bob", "10:00"))}
        state = where.fold(*doors.values(), until="11-03 12:00").state
        ends = where.placed([self.door("11-02 20:00", "out", by=by) for by in who])
        with pytest.raises(TooLate) as caught:
            fold(where.facts, state, ends, until=t("11-03 12:00"))
        assert caught.value.position == doors[first].position

    def test_what_it_settled_stays_where_nothing_else_is_known(self) -> None:
        where = self.hall()
        state = where.fold(self.door("11-02 09:00", "in"), until="11-03 12:00").state
        again = AccountState.from_json(json.loads(json.dumps(state.to_json())))
        assert (
            fold(where.facts, again, where.placed([self.door("11-05 09:00", "in")]), until=t("11-05 12:00")).lines == ()
        )


class TestStatesAlongTheWay:
    """Whoever goes on from one has the lines of the whole fold."""

    NOISE = event("noise", "no.meter", "11-10", {})

    def test_one_is_kept_behind_every_event_but_the_last_whether_it_makes_a_line_or_not(self) -> None:
        where = space(plan(use=per_unit("1")))
        later = replace(self.NOISE, id="later", time=t("11-12"))
        placed = where.placed([use("11-02", 1), self.NOISE, later])
        folded = fold(where.facts, AccountState(), placed, stride=1)
        assert [rung.position for rung in folded.rungs] == [one.event.position for one in placed[:2]]
        assert len(fold(where.facts, AccountState(), placed, stride=2).rungs) == 1
        behind = [fold(where.facts, AccountState(), placed, behind=one.event.position).rungs for one in placed]
        assert [[rung.position for rung in rungs] for rungs in behind] == [
            [placed[0].event.position], [placed[1].event.position], [],
        ]  # fmt: skip
        first = where.placed([self.NOISE, later, use("11-20", 1)])
        assert len(fold(where.facts, AccountState(), first, stride=1).rungs) == 2

    def test_what_fell_due_before_an_event_without_a_line_is_in_the_state(self) -> None:
        flat = priced(Graduated(tiers=graduated((None, "1", "10")).tiers, flat_at_zero=True))
        where = space(plan(use=flat), subscriptions=[subscription(span=span("11-05"))])
        events = where.placed([self.NOISE, use("11-20", 1), use("11-21", 1)])
        folded = fold(where.facts, AccountState(), events, stride=1)
        assert [int(line.amount) for line in folded.lines] == [10, 1, 1]
        stopped = fold(where.facts, AccountState(), events[:1]).state
        for state in (folded.rungs[0], stopped):
            assert [int(line.amount) for line in fold(where.facts, state, events[1:]).lines] == [1, 1]

    def test_they_know_what_became_of_the_sessions_that_were_open(self) -> None:
        clock = TestTheClock()
        where = clock.hall()
        doors = [clock.door("11-02 09:00", "in"), clock.door("11-02 10:00", "in", by="bob")]
        doors += [clock.door("11-02 11:00", "out"), clock.door("11-05 11:00", "in")]
        events = where.placed(doors)
        whole = fold(where.facts, AccountState(), events, until=t("11-05 12:00"), stride=1)
        assert [(line.member, line.estimated) for line in whole.lines] == [("ada", False), ("bob", True)]
        for n, rung in enumerate(whole.rungs, 1):
            state = AccountState.from_json(json.loads(json.dumps(rung.to_json())))
            lines = fold(where.facts, state, events[n:], until=t("11-05 12:00")).lines
            assert lines == tuple(line for line in whole.lines if line.key[:3] > events[n - 1].event.position)
        assert [each.event.key for each in open_sessions(whole.state.memory)] == [doors[3].key]

    def test_one_that_the_clock_has_brought_into_a_period_is_behind_what_is_before_it(self) -> None:
        bought = GivenGrant(
            id="pack", account="acme", unit="unit", amount=d(5), span=span("11-05"), bought=Purchase(price=d(9))
        )
        for grants, late in (([bought], True), ([], False)):
            where = space(plan(use=per_unit("1")), grants=grants)
            state = where.fold(use("11-02", 1), until="12-05").state
            rest = where.placed([use("11-20", 1)])
            if late:
                with pytest.raises(Broken, match="out of order"):
                    fold(where.facts, state, rest)
            else:
                assert len(fold(where.facts, state, rest).lines) == 1

    def test_what_cannot_be_read_of_several_sales_is_listed_for_each(self) -> None:
        torn = {"currency": "EUR", "settlement": "paid", "lines": [{"amount": "?"}], "total": "1"}
        sales = [event(id, "pos.sale", at, {"order": id, **torn}) for id, at in (("a", "11-02"), ("b", "11-03"))]
        assert [unread.event.id for unread in space(plan()).fold(*sales).unread] == ["a", "b"]


class TestPercentages:
    def price(self, *path: str) -> Price:
        return priced(Percentage(path=path, rate=d("0.1")))

    def test_of_an_event_that_is_covered_in_part_take_the_same_part_of_its_amount(self) -> None:
        where = space(plan(use=self.price("amount"), grants=[plan_grant("free", USE, "1")]))
        assert where.amounts(use("11-02", 4, amount="100")) == [d("7.5")]

    def test_of_an_event_that_is_covered_wholly_ask_for_no_amount(self) -> None:
        where = space(plan(use=self.price("amount"), grants=[plan_grant("free", USE, "4")]))
        (line,) = where.lines(use("11-02", 4))
        assert (line.covered, line.unpriced) == (d(4), False)

    def test_without_their_field_count_as_what_no_price_fits(self) -> None:
        where = space(plan(use=self.price("amount"), grants=[plan_grant("free", USE, "3")]))
        tallies = where.fold(use("11-02", 5), use("11-03", 2), use("11-04", 9, amount="1")).state.tallies
        assert {(key.price, key.meter): int(tally.quantity) for key, tally in tallies.items()} == {
            ("", "use"): 4,
            ("price", ""): 9,
        }

    @pytest.mark.parametrize(
        ("path", "expected"), [(("fee",), [1, 2, 1]), (("lines", "fee"), [1, None, 7]), (("none",), [None] * 3)]
    )
    def test_read_their_field_from_the_element_and_then_from_the_event(
        self, path: tuple[str, ...], expected: list[int | None]
    ) -> None:
        items = [{"amount": "3", "fee": "10"}, {"amount": "4"}, {"amount": "5", "fee": 10, "lines": {"fee": 70}}]
        data = {"order": "o", "currency": "EUR", "settlement": "account", "lines": items, "total": "12", "fee": "20"}
        lines = space(plan(cafe=self.price(*path))).lines(event("s", "pos.sale", "11-02", data))
        assert [None if line.unpriced else int(line.amount) for line in lines] == expected


class TestUnitsOfTime:
    """A third of an hour has no end; what a line says has 12 places."""

    def test_draws_are_running_differences_of_what_the_instance_gave(self) -> None:
        hours = replace(USE, unit="hour")
        where = space(plan(use=per_unit("1")), grants=[given("hour", hours, "1")], terms={"meters": {"use": hours}})
        lines = where.lines(*(use(f"11-0{day}", "0.3333333333333333") for day in range(2, 5)))
        third, rest = d("0.333333333333"), d("0.333333333334")
        assert [[draw.amount for draw in line.draws] for line in lines] == [[third], [rest], [third]]
        assert [(line.quantity, line.covered, line.billable) for line in lines] == [(third, third, d(0))] * 3


def test_what_credit_covers_wholly_begins_no_price() -> None:
    flat = priced(Graduated(tiers=graduated((None, "1", "10")).tiers, flat_at_zero=True))
    where = space(
        plan("guest", use=flat), subscriptions=[], terms={"default_plan": "guest"}, grants=[given("gift", USE, "5")]
    )
    assert where.amounts(use("11-02", 5), use("11-03", 1)) == [0, 11]


def test_caps_and_discounts_that_change_nothing_are_no_step_to_the_amount() -> None:
    nothing = subscription(discounts=(Discount(id="nothing", rate=d(0)),))
    where = space(plan(use=per_unit("1", day_cap=d(50), period_cap=d(90))), subscriptions=[nothing])
    folded = where.fold(use("11-02", 5), trace=True)
    assert folded.evidence is not None
    assert [tuple(evidence.reductions) for evidence in folded.evidence.values()] == [()]
    assert where.fold(use("11-02", 5)).evidence is None


def test_caps_and_discounts_are_steps_to_the_amount_in_their_order() -> None:
    half = subscription(discounts=(Discount(id="half", rate=d("0.5")),))
    where = space(plan(use=per_unit("1", day_cap=d(4), period_cap=d(5))), subscriptions=[half])
    folded = where.fold(use("11-02", 6), use("11-03", 6), trace=True)
    assert folded.evidence is not None
    steps = [
        [(one.kind, one.before, one.after) for one in evidence.reductions] for evidence in folded.evidence.values()
    ]
    assert steps == [
        [("day_cap", 6, 4), ("discount", 4, 2)],
        [("day_cap", 6, 4), ("period_cap", 4, 1), ("discount", 1, d("0.5"))],
    ]


def test_a_state_keeps_nothing_that_no_line_can_ask_for() -> None:
    purse = given("purse", CAFE, "1")
    where = space(plan(days=per_unit("2", period_cap=d(9)), grants=[plan_grant("free", DAYS, "1")]), grants=[purse])
    state = where.fold(entered("11-02"), entered("11-03")).state
    assert state.used == {"sub/free/2026-11": 1, "purse": 1}
    assert (state.day_sums, state.capped, state.discounted) == ({}, {}, {})
    assert (state.drawn, state.money, state.paid) == ({}, {}, {})


class TestCumulation:
    TIERS = priced(graduated(("10", "1"), (None, "0.5")))

    def test_q_begins_anew_each_period(self) -> None:
        where = space(plan(use=self.TIERS))
        assert where.amounts(use("11-02", 10), use("11-30 22:59", 4), use("11-30 23:00", 4)) == [10, 2, 4]

    def test_q_begins_with_the_period_of_the_first_event_though_something_is_due_later(self) -> None:
        bought = GivenGrant(
            id="pack", account="acme", unit="page", amount=d(5), span=span("11-05"), bought=Purchase(price=d(9))
        )
        where = space(plan(use=self.TIERS), grants=[bought])
        assert where.amounts(use("10-20", 10), use("11-06", 4)) == [10, 9, 4]

    def test_q_is_the_accounts(self) -> None:
        assert space(plan(use=self.TIERS)).amounts(use("11-02", 10), use("11-03", 4, by="bob")) == [10, 2]

    def test_or_each_members(self) -> None:
        each = priced(graduated(("10", "1"), (None, "0.5")), per="member")
        assert space(plan(use=each)).amounts(use("11-02", 10), use("11-03", 4, by="bob")) == [10, 4]

    def test_only_what_is_left_after_credit_counts(self) -> None:
        where = space(plan(use=self.TIERS, grants=[plan_grant("free", USE, "8")]))
        assert where.amounts(use("11-02", 10), use("11-03", 10)) == [2, 9]

    def test_a_price_written_anew_with_the_same_numbers_goes_on(self) -> None:
        same = priced(graduated(("10.0", "1.00"), (None, "0.50")))
        versions = [catalog(plan(use=self.TIERS)), catalog(plan(use=same), version=2, effective="11-10")]
        where = space(subscriptions=[subscription()], catalogs=versions)
        assert where.amounts(use("11-02", 10), use("11-12", 4)) == [10, 2]

    def test_the_version_in_force_at_the_events_time_prices_it(self) -> None:
        dearer = catalog(plan(use=per_unit("2")), version=2, effective="11-10 12:00")
        versions = [catalog(plan(use=per_unit("1"))), dearer]
        where = space(subscriptions=[subscription()], catalogs=versions)
        assert where.amounts(use("11-10 11:59", 1), use("11-10 12:00", 1)) == [1, 2]


class TestNegativeQuantities:
    def figures(self, where: Space, *quantities: int) -> list[tuple[int, int, int]]:
        lines = where.lines(*(use(f"11-{n + 2:02}", quantity) for n, quantity in enumerate(quantities)))
        return [(int(line.covered), int(line.billable), int(line.amount)) for line in lines]

    def test_first_lower_what_was_priced_then_return_credit(self) -> None:
        where = space(plan(use=per_unit("2"), grants=[plan_grant("free", USE, "10")]))
        assert self.figures(where, 14, -3, -3, 5) == [(10, 4, 8), (0, -3, -6), (-2, -1, -2), (2, 3, 6)]

    def test_and_then_go_below_0(self) -> None:
        where = space(plan(use=per_unit("2"), grants=[plan_grant("free", USE, "10")]))
        assert self.figures(where, 4, -6, -1) == [(4, 0, 0), (-4, -2, -4), (0, -1, -2)]

    def test_return_what_was_drawn_last_first(self) -> None:
        where = space(plan(use=per_unit("2")), grants=[given("a", USE, "5"), given("b", USE, "5")])
        back = where.lines(use("11-02", 8), use("11-03", -4))[1]
        assert [(draw.grant, int(draw.amount)) for draw in back.draws] == [("b", -3), ("a", -1)]

    def test_return_nothing_drawn_in_an_earlier_period_or_by_another_meter(self) -> None:
        where = space(plan(use=per_unit("2"), pages=per_unit("1")), grants=[given("a", USE, "5")])
        lines = where.lines(use("11-02", 4), use("12-02", -2))
        assert lines[1].draws == ()
        assert int(lines[1].amount) == -4

    def test_lower_what_is_unpriced_too(self) -> None:
        where = space(plan(grants=[plan_grant("free", USE, "3")]))
        assert self.figures(where, 5, -2, -1) == [(3, 2, 0), (0, -2, 0), (-1, 0, 0)]

    def test_lower_what_a_percentage_could_not_price(self) -> None:
        share = priced(Percentage(rate=d("0.1"), path=("fare",)))
        where = space(plan(use=share, grants=[plan_grant("free", USE, "3")]))
        assert self.figures(where, 5, -2, -1) == [(3, 2, 0), (0, -2, 0), (-1, 0, 0)]


class TestTax:
    def tax(self, where: Space, *, site: str = "berlin") -> LineTax | None:
        e = event("e", "usage.reported", "11-02", {"meter": "use", "quantity": 1}, site=site)
        return where.lines(e)[0].tax

    def test_the_prices_goes_before_the_sites(self) -> None:
        terms = {
            "taxes": taxed("0.19") | taxed("0.07", name="low", inclusive=True),
            "sites": {"berlin": Site(id="berlin", name="Berlin", timezone="Europe/Berlin", tax="vat")},
        }
        plain = space(plan(use=per_unit("1")), terms=terms)
        assert self.tax(plain) == LineTax(name="vat", rate=d("0.19"), inclusive=False)
        low = space(plan(use=per_unit("1", tax="low")), terms=terms)
        assert self.tax(low) == LineTax(name="low", rate=d("0.07"), inclusive=True)
        assert self.tax(plain, site="hamburg") is None

    def test_is_within_money_that_is_passed_through_where_the_catalog_says_so(self) -> None:
        terms = {"taxes": taxed("0.07", name="low", inclusive=True), "meters": {"use": replace(USE, unit="EUR")}}
        tax = self.tax(space(plan(use=passed(tax="low")), terms=terms))
        assert tax == LineTax(name="low", rate=d("0.07"), inclusive=True)


def test_events_out_of_order_are_refused_and_change_nothing() -> None:
    where = space(plan(use=per_unit("1")))
    first, second = where.placed([use("11-02", 1), use("11-03", 1)])
    state = fold(where.facts, AccountState(), [second]).state
    before = state.to_json()
    for late in (first, second):
        with pytest.raises(Broken, match="out of order") as caught:
            fold(where.facts, state, [late])
        assert caught.value.code == "fold_order"
    assert state.to_json() == before
    with pytest.raises(Broken, match="out of order"):
        fold(where.facts, AccountState(), [second, first])


def test_without_a_clock_what_is_due_is_billed_up_to_the_last_event() -> None:
    flex = replace(plan(use=per_unit("1")), fee=Fee(amount=d(30)))
    where = space(flex, subscriptions=[subscription(span=span("10-15"))])
    assert [line.meter for line in where.lines(use("12-02", 1))] == ["membership"] * 3 + ["use"]
    assert where.fold().lines == ()


def test_what_falls_due_at_an_instant_comes_before_every_event_of_it() -> None:
    flex = replace(plan(use=per_unit("1")), fee=Fee(amount=d(30)))
    where = space(flex, subscriptions=[subscription(span=span("11-05"))])
    at_once = replace(use("11-05", 1), source="!")
    folded = where.fold(until="11-05")
    assert [line.meter for line in folded.lines] == ["membership"]
    later = fold(where.facts, folded.state, where.placed([at_once]))
    assert [line.meter for line in later.lines] == ["use"]


def test_the_state_given_in_stays_as_it_is() -> None:
    where = space(plan(use=per_unit("1"), days=per_unit("1"), grants=[plan_grant("free", USE, "10")]))
    state = where.fold(use("11-02", 15), entered("11-03")).state
    before = state.to_json()
    fold(where.facts, state, where.placed([use("11-04", -7), entered("11-05"), use("12-04", 5)]))
    assert state.to_json() == before


def test_what_no_meter_can_read_is_listed() -> None:
    where = space(plan(use=per_unit("1")))
    broken = event("e", "usage.reported", "11-02", {"meter": "use", "quantity": "many"})
    folded = where.fold(broken, use("11-03", 1))
    assert [(unread.event, unread.meter) for unread in folded.unread] == [(broken.key, "use")]
    assert len(folded.lines) == 1


def test_numbers_of_full_length_stay_exact() -> None:
    long = "999999999999999999.999999999999999999"
    where = space(plan(use=per_unit("999999999999.999999")))
    (line,) = where.lines(use("11-02", long))
    exact = int(long.replace(".", "")) * 999999999999999999  # in units of 1e-24
    assert line.amount == Decimal(f"{(exact + 5 * 10**11) // 10**12}e-12")


def test_days_of_a_member_are_forgotten_when_no_event_can_fall_on_them() -> None:
    where = space(plan(days=per_unit("1")))
    state = where.fold(*(entered(f"11-{day:02}", by=who) for day in range(2, 30) for who in ("ada", "bob"))).state
    assert all(len(days) <= 3 for days in state.memory.days.values())
    assert where.fold(entered("11-02"), entered("12-20", by="bob")).state.memory.days.keys() == {("days", "bob")}


def test_one_date_counts_once_across_the_end_of_a_period() -> None:
    # The period ends on 31 October at 23:00 UTC; in Honolulu that day lasts until 10:00 UTC.
    sites = {"hawaii": Site(id="hawaii", name="Hawaii", timezone="Pacific/Honolulu")}
    where = space(plan(days=per_unit("1")), terms={"sites": sites})
    lines = where.lines(*(entered(at, site="hawaii") for at in ("10-31 22:00", "11-01 09:59", "11-01 10:00")))
    assert [line.key.time for line in lines] == [t("10-31 22:00"), t("11-01 10:00")]


@pytest.mark.parametrize("sale", [{"source": "berlin/device", "order": "o"}, {"order": "o"}, {}, "o", None])
def test_a_refund_of_no_sale_that_is_known_books_nothing(sale: Any) -> None:
    data = {"refund": "r", "sale": sale, "currency": "EUR", "status": "completed", "amount": "1"}
    assert space(plan(use=per_unit("1"))).lines(event("r", "pos.refund", "11-02", data)) == ()


class TestRefundsAndStates:
    """What a state must know of sales and refunds that lie on both of its sides."""

    WHERE = space(plan(cafe=passed()))

    def refund(self, id: str, at: str, amount: str) -> UsageEvent:
        told = {"source": "berlin/device", "order": "o"}
        data = {"refund": id, "sale": told, "currency": "EUR", "status": "completed", "amount": amount}
        return event(id, "pos.refund", at, data)

    def sale(self, *lines: dict[str, str]) -> UsageEvent:
        data = {"order": "o", "currency": "EUR", "settlement": "account", "lines": list(lines), "total": "9"}
        return event("s", "pos.sale", "11-05", data)

    def test_refunds_that_wait_keep_their_order_across_a_state(self) -> None:
        events = [self.refund("z", "11-02", "8"), self.refund("a", "11-03", "8"), self.sale({"amount": "9"})]
        placed = self.WHERE.placed(events)
        whole = fold(self.WHERE.facts, AccountState(), placed)
        assert [int(line.amount) for line in whole.lines] == [9, -8, -1]
        for cut in (1, 2):
            first = fold(self.WHERE.facts, AccountState(), placed[:cut])
            state = AccountState.from_json(first.state.to_json())
            assert len(state.waiting) == cut
            assert fold(self.WHERE.facts, state, placed[cut:]).lines == whole.lines

    def test_a_sale_without_a_line_is_known_to_its_refunds(self) -> None:
        placed = self.WHERE.placed([self.sale(), self.refund("r", "11-06", "1")])
        (rung,) = fold(self.WHERE.facts, AccountState(), placed, stride=1).rungs
        assert fold(self.WHERE.facts, rung, placed[1:]).lines == ()

    def test_a_state_that_knew_no_refund_cannot_be_gone_on_from(self) -> None:
        placed = self.WHERE.placed([self.sale({"amount": "9"}), self.refund("r", "11-06", "1")])
        state = fold(self.WHERE.facts, AccountState(), placed[:1]).state
        with pytest.raises(TooLate) as caught:
            fold(self.WHERE.facts, state, placed[1:])
        assert caught.value.position == placed[0].event.position

    def test_a_state_that_knew_only_a_refund_cannot_be_gone_on_from_where_a_fee_was_due_before(self) -> None:
        flex = replace(plan(cafe=passed()), fee=Fee(amount=d(30)))
        where = space(flex)
        placed = where.placed([self.refund("r", "11-04", "1"), self.sale({"amount": "9"})])
        state = fold(where.facts, AccountState(), placed[:1]).state
        with pytest.raises(TooLate) as caught:
            fold(where.facts, state, placed[1:])
        fee, *_ = fold(where.facts, AccountState(), placed).lines
        assert (fee.meter, caught.value.position) == ("membership", fee.key[:3])

    def test_what_a_refund_says_wrong_is_listed(self) -> None:
        foreign = self.refund("r", "11-06", "1")
        foreign = replace(foreign, data={**foreign.data, "currency": "USD"})
        (unread,) = self.WHERE.fold(self.sale({"amount": "9"}), foreign).unread
        assert (unread.event, unread.meter, unread.reason) == (
            foreign.key,
            "pos",
            "the refund is in USD, its sale in EUR",
        )
        assert (unread.code, unread.element) == ("refund", 0)
        torn = self.refund("r", "11-06", "1")
        torn = replace(torn, data={**torn.data, "amount": None, "lines": [{}, {"sku": "z", "amount": "1"}]})
        (unread,) = self.WHERE.fold(self.sale({"amount": "9"}), torn).unread
        assert unread.reason == (
            "lines.amount is missing or not a number; no line of the sale is 'z': spread over all of them"
        )


def in_two(where: Space, *events: UsageEvent, cut: int) -> list[Line]:
    """The lines of two folds, with the state between them written down."""
    placed = where.placed(events)
    first = fold(where.facts, AccountState(), placed[:cut])
    state = AccountState.from_json(json.loads(json.dumps(first.state.to_json())))
    return [*first.lines, *fold(where.facts, state, placed[cut:]).lines]


def test_a_falling_amount_lowers_what_was_paid_before_it_returns_money_drawn() -> None:
    level = Meter(id="use", event="usage.reported", aggregate="latest", unit="seat")
    money = GivenGrant(id="cash", account="acme", unit="EUR", amount=d(6))
    where = space(plan(use=per_unit("1")), grants=[money], terms={"meters": {"use": level}})
    events = [use("11-02", 10), use("11-03", 7), use("11-04", 2)]
    for cut in (0, 1, 2):
        lines = in_two(where, *events, cut=cut)
        figures = [(int(line.amount), sum(int(draw.amount) for draw in line.draws)) for line in lines]
        assert figures == [(4, 6), (-3, 0), (-1, -4)]


def test_a_falling_amount_lowers_what_was_paid_under_another_plan_too() -> None:
    # Ada's price falls by 8 with the third unit; Bob's never does.
    volume = Volume(tiers=(Tier(up_to=d(2), unit_price=d(10)), Tier(up_to=None, unit_price=d(4))))
    plans = (plan(use=per_unit("10")), plan("own", use=priced(volume)))
    count = Meter(id="use", event="usage.reported", aggregate="count", unit="unit")
    where = space(
        *plans,
        subscriptions=[subscription(), subscription("own", id="hers", member="ada")],
        grants=[GivenGrant(id="cash", account="acme", member="ada", unit="EUR", amount=d(20))],
        terms={"meters": {"use": count}},
    )
    events = [use("11-02", 1, by="bob"), use("11-03", 1), use("11-04", 1), use("11-05", 1)]
    lines = where.lines(*events)
    assert [(int(line.amount), sum(int(draw.amount) for draw in line.draws)) for line in lines] == [
        (10, 0),
        (0, 10),
        (0, 10),
        (-8, 0),
    ]


def test_a_price_that_falls_with_usage_returns_money_too() -> None:
    falling = Price(id="falling", model=Volume(tiers=graduated(("1", "10"), (None, "3")).tiers))
    never = per_unit("1", id="never", match={"door": "never"})
    money = GivenGrant(id="cash", account="acme", unit="EUR", amount=d(10))
    where = space(plan(days=[never, falling]), grants=[money])
    lines = where.lines(entered("11-02"), entered("11-03"))
    assert [(int(line.amount), [int(draw.amount) for draw in line.draws]) for line in lines] == [(0, [10]), (0, [-4])]


def test_a_falling_amount_returns_money_that_somebody_else_of_the_account_drew() -> None:
    cash = GivenGrant(id="cash", account="acme", member="ada", unit="EUR", amount=d(20))
    lines = space(plan(use=per_unit("1")), grants=[cash]).lines(use("11-02", 5), use("11-03", -3, by="bob"))
    assert [(int(line.amount), [int(draw.amount) for draw in line.draws]) for line in lines] == [(0, [5]), (0, [-3])]


def test_a_meter_that_cannot_fall_any_more_gives_back_what_it_drew_while_it_could() -> None:
    flex = plan(use=per_unit("1"), grants=[plan_grant("free", USE, "5")])
    versions = [
        catalog(flex),
        catalog(flex, version=2, effective="12-01", meters={"use": replace(USE, aggregate="count")}),
    ]
    where = space(subscriptions=[subscription()], catalogs=versions)
    assert [int(line.covered) for line in where.lines(use("11-02", 5), use("11-03", -2))] == [5, -2]


def test_a_days_cap_holds_for_its_date_across_the_end_of_a_period_and_of_every_site() -> None:
    # The period ends on 31 October at 23:00 UTC; in Honolulu that day lasts until 10:00 UTC.
    sites = {name: Site(id=name, name=name, timezone="Pacific/Honolulu") for name in ("hawaii", "maui")}
    where = space(plan(use=per_unit("1", day_cap=d(8))), terms={"sites": sites})
    events = [
        event("a", "usage.reported", "10-31 22:00", {"meter": "use", "quantity": 5}, site="hawaii"),
        event("b", "usage.reported", "11-01 09:00", {"meter": "use", "quantity": 5}, site="maui"),
        event("c", "usage.reported", "11-01 10:00", {"meter": "use", "quantity": 5}, site="maui"),
    ]
    for cut in (0, 1, 2):
        assert [int(line.amount) for line in in_two(where, *events, cut=cut)] == [5, 3, 5]


def test_a_session_that_ends_under_a_later_version_has_the_terms_of_its_start() -> None:
    def conditions(value: str) -> tuple[Condition, ...]:
        return (Condition(path=("direction",), operator="=", value=value),)

    pairing = Pairing(start=conditions("in"), end=conditions("out"))
    hours = Meter(id="presence", event="door.access", aggregate="duration", unit="hour", pairing=pairing)
    versions = [
        catalog(plan(presence=per_unit("6")), meters={"presence": hours}),
        catalog(
            plan(presence=per_unit("1")),
            version=2,
            effective="11-02 10:00",
            meters={"presence": replace(hours, unit="minute")},
        ),
    ]
    where = space(subscriptions=[subscription()], catalogs=versions)
    doors = [
        event(way, "door.access", at, {"direction": way}) for way, at in (("in", "11-02 09:00"), ("out", "11-02 11:00"))
    ]
    (line,) = where.lines(*doors)
    assert (line.unit, int(line.quantity), int(line.amount)) == ("hour", 2, 12)
