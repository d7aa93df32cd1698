from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from meter.model.catalog import CreditRate, Rollover
from meter.model.directory import Account, Link, Span
from meter.model.event import UsageEvent
from meter.model.period import Period
from meter.rating.grants import (
    GrantBalance,
    balances,
    draw,
    find,
    given_instances,
    overlap,
    rate_of,
    returned_id,
)
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
    passed,
    per_unit,
    plan,
    plan_grant,
    printed,
    space,
    span,
    subscription,
    t,
    use,
)

USD = replace(CAFE, unit="USD")
CREDITS = replace(USE, unit="credit")
HOUR = d(3600)
FLEX = plan(use=per_unit("1"), grants=[plan_grant("free", USE, "100")])


def drawn(where: Space, *events: UsageEvent) -> list[Any]:
    """The draws of each line, in order."""
    return [[(draw.grant, draw.amount) for draw in line.draws] for line in where.lines(*events)]


def at(where: Space, instant: str) -> dict[str, Any]:
    return {balance.id: balance for balance in balances(where.facts, t(instant), {})}


def amounts(where: Space, instant: str) -> dict[str, Decimal]:
    return {name: balance.amount for name, balance in at(where, instant).items()}


class TestInstances:
    def test_a_new_one_each_period(self) -> None:
        where = space(FLEX)
        assert drawn(where, use("10-31 22:00", 1), use("10-31 23:00", 1), use("11-30 22:59", 1)) == [
            [("sub/free/2026-10", 1)],
            [("sub/free/2026-11", 1)],
            [("sub/free/2026-11", 1)],
        ]

    def test_their_periods_begin_on_the_accounts_anchor_day_in_its_zone(self) -> None:
        account = Account(id="acme", name="acme", currency="EUR", timezone="America/New_York", anchor_day=31)
        balance = at(space(FLEX, accounts=[account]), "03-01")["sub/free/2026-02"]
        assert (balance.effective, balance.expires) == (t("02-28 05:00"), t("03-31 04:00"))

    def test_an_account_grant_is_one_pool(self) -> None:
        where = space(plan(use=per_unit("1"), grants=[plan_grant("free", USE, "10")]))
        assert [line.billable for line in where.lines(use("11-02", 8), use("11-03", 8, by="bob"))] == [0, 6]

    def test_a_member_grant_is_each_members_own(self) -> None:
        where = space(plan(use=per_unit("1"), grants=[plan_grant("free", USE, "10", holder="member")]))
        assert drawn(where, use("11-02", 8), use("11-03", 8, by="bob")) == [
            [("sub/free/2026-11/ada", 8)],
            [("sub/free/2026-11/bob", 8)],
        ]

    def test_per_seat_multiplies(self) -> None:
        flex = plan(use=per_unit("1"), grants=[plan_grant("free", USE, "10", per_seat=True)])
        for seats, amount in ((5, 50), (None, 10)):
            where = space(flex, subscriptions=[subscription(seats=seats)])
            assert amounts(where, "11-02") == {"sub/free/2026-11": amount}
        assert amounts(space(flex, subscriptions=[subscription(seats=0)]), "11-02") == {}

    def test_with_seats_the_first_members_by_link_and_id_have_them(self) -> None:
        flex = plan(use=per_unit("1"), grants=[plan_grant("free", USE, "10", holder="member")])
        links = [
            Link(member="ann", account="acme", span=span("05-01")),
            Link(member="bob", account="acme", span=span("03-01")),
            Link(member="ada", account="acme", span=span("05-01")),
            Link(member="eve", account="beta", span=span("01-01")),
        ]
        where = space(flex, links=links, subscriptions=[subscription(seats=2)])
        assert amounts(where, "11-02") == {"sub/free/2026-11/ada": 10, "sub/free/2026-11/bob": 10}
        assert drawn(where, use("11-02", 1, by="ann")) == [[]]

    def test_who_was_always_a_member_has_a_seat_before_who_became_one(self) -> None:
        flex = plan(use=per_unit("1"), grants=[plan_grant("free", USE, "10", holder="member")])
        links = [Link(member="ada", account="acme", span=span("03-01")), Link(member="bob", account="acme")]
        where = space(flex, links=links, subscriptions=[subscription(seats=1)])
        assert amounts(where, "11-02") == {"sub/free/2026-11/bob": 10}

    def test_a_pool_asks_for_no_seat_and_for_no_member(self) -> None:
        own, pool = plan_grant("own", USE, "10", holder="member"), plan_grant("pool", USE, "10")
        flex = plan(use=per_unit("1"), grants=[own, pool])
        where = space(flex, subscriptions=[subscription(seats=1)])
        assert drawn(where, use("11-02", 1, by="bob")) == [[("sub/pool/2026-11", 1)]]
        deserted = space(flex, links=[Link(member="eve", account="beta")])
        assert amounts(deserted, "11-02") == {"sub/pool/2026-11": 10}

    def test_somebody_who_left_keeps_the_seat_until_the_part_ends(self) -> None:
        flex = plan(use=per_unit("1"), grants=[plan_grant("free", USE, "10", holder="member")])
        links = [
            Link(member="ada", account="acme", span=span("01-01", "11-11 00:00")),
            Link(member="bob", account="acme", span=span("11-11 00:00")),
        ]
        where = space(flex, links=links, subscriptions=[subscription(seats=1)])
        assert drawn(where, use("11-20", 1, by="bob")) == [[]]
        assert drawn(where, use("12-20", 1, by="bob")) == [[("sub/free/2026-12/bob", 1)]]

    def test_names_with_slashes_do_not_collide(self) -> None:
        flex = plan(use=per_unit("1"), grants=[plan_grant("b/c", USE, "1"), plan_grant("c", USE, "1")])
        where = space(
            flex,
            subscriptions=[subscription(id="a"), subscription(id="a/b")],
            grants=[given("x/y", USE, "1"), given("x%2Fy", USE, "1")],
        )
        assert set(amounts(where, "11-02")) == {
            "a/b%2Fc/2026-11",
            "a/c/2026-11",
            "a%2Fb/b%2Fc/2026-11",
            "a%2Fb/c/2026-11",
            "x%2Fy",
            "x%252Fy",
        }
        own = plan(use=per_unit("1"), grants=[plan_grant("c", USE, "1", holder="member")])
        where = space(own, links=[Link(member="a/b", account="acme")])
        assert set(amounts(where, "11-02")) == {"sub/c/2026-11/a%2Fb"}


class TestParts:
    """November 2026 has 30 days in Berlin, which is an hour ahead of UTC."""

    @pytest.mark.parametrize(
        ("start", "end", "amount"),
        [
            ("11-11 00:00", None, "66.666667"),  # 01:00 on the 11th: that day counts
            ("11-10 23:00", None, "66.666667"),  # midnight: the 11th counts
            ("11-10 22:59", None, "70"),  # a minute before: so does the 10th
            (None, "11-10 23:00", "33.333333"),  # midnight: the 11th does not count
            (None, "11-11 15:00", "33.333333"),  # in the afternoon: the 11th still does not
            ("11-05 10:00", "11-06 10:00", "3.333333"),
        ],
    )
    def test_a_part_gives_active_days_of_all_days(self, start: str | None, end: str | None, amount: str) -> None:
        where = space(FLEX, subscriptions=[subscription(span=span(start, end))])
        inside = "11-05 12:00" if end else "11-20"
        assert amounts(where, inside) == {"sub/free/2026-11": d(amount)}

    def test_only_a_part_is_rounded_to_6_places(self) -> None:
        flex = plan(use=per_unit("1"), grants=[plan_grant("free", USE, "0.0000015")])
        assert amounts(space(flex), "11-02") == {"sub/free/2026-11": d("0.0000015")}
        half = space(flex, subscriptions=[subscription(span=span("11-15 23:00"))])
        assert amounts(half, "11-20") == {"sub/free/2026-11": d("0.000001")}

    def test_spans_that_only_meet_have_nothing_in_common(self) -> None:
        part = Period(t("11-01"), t("11-10"))
        assert overlap(part, span("11-05")) == Period(t("11-05"), t("11-10"))
        assert overlap(part, span("11-10", "11-20")) is None
        assert overlap(part, span(None, "11-01")) is None
        assert overlap(part, Span()) == part

    def test_a_subscription_that_is_over_gives_nothing_and_leaves_nothing(self) -> None:
        rolling = plan_grant("free", USE, "100", rollover=Rollover(most=d(50)))
        ended = [subscription(span=span("01-01", "11-15"))]
        assert amounts(space(plan(use=per_unit("1"), grants=[rolling]), subscriptions=ended), "12-05") == {}

    def test_a_subscription_that_begins_and_ends_on_one_day_gives_nothing(self) -> None:
        where = space(FLEX, subscriptions=[subscription(span=span("11-05 10:00", "11-05 20:00"))])
        assert amounts(where, "11-05 12:00") == {}

    def test_the_day_the_clocks_change_is_a_day(self) -> None:
        where = space(FLEX, subscriptions=[subscription(span=span("10-25 10:00"))])  # 31 days, 25 hours on the 25th
        assert amounts(where, "10-26") == {"sub/free/2026-10": d("22.580645")}  # 100 x 7 / 31

    def test_a_leap_day_is_a_day(self) -> None:
        where = space(FLEX, subscriptions=[subscription(span=span("2028-02-29T10:00:00Z"))])
        assert amounts(where, "2028-02-29T12:00:00Z") == {"sub/free/2028-02": d("3.448276")}  # 100 / 29

    def test_a_member_who_joins_gets_a_part(self) -> None:
        flex = plan(use=per_unit("1"), grants=[plan_grant("free", USE, "30", holder="member")])
        links = [Link(member="ada", account="acme", span=span("11-20 23:00"))]
        balance = at(space(flex, links=links), "11-25")["sub/free/2026-11/ada"]
        assert (balance.amount, balance.effective) == (10, t("11-20 23:00"))

    def test_a_member_who_left_and_came_back_gets_the_days_of_both(self) -> None:
        flex = plan(use=per_unit("1"), grants=[plan_grant("free", USE, "30", holder="member")])
        links = [
            Link(member="ada", account="acme", span=span("01-01", "11-05 23:00")),
            Link(member="ada", account="acme", span=span("11-20 23:00")),
        ]
        assert amounts(space(flex, links=links), "11-25") == {"sub/free/2026-11/ada": 15}
        links[0] = Link(member="ada", account="acme", span=span("01-01", "10-05"))
        assert amounts(space(flex, links=links), "11-25") == {"sub/free/2026-11/ada": 10}

    @pytest.mark.parametrize("after", [[], [Link(member="ada", account="beta", span=span("11-10 23:00"))]])
    def test_the_credit_of_a_member_who_has_left_is_in_no_balance(self, after: list[Link]) -> None:
        flex = plan(use=per_unit("1"), grants=[plan_grant("free", USE, "30", holder="member")])
        where = space(flex, links=[Link(member="ada", account="acme", span=span("01-01", "11-10 23:00")), *after])
        assert amounts(where, "11-05") == {"sub/free/2026-11/ada": 10}
        assert amounts(where, "11-20") == {}

    def test_a_change_of_plan_ends_the_old_credit_and_begins_the_new(self) -> None:
        big = plan("big", use=per_unit("1"), grants=[plan_grant("lots", USE, "300")])
        held = [
            subscription(span=span(None, "11-15 23:00")),
            subscription("big", id="sub2", span=span("11-15 23:00")),
        ]
        where = space(FLEX, big, subscriptions=held)
        assert amounts(where, "11-15") == {"sub/free/2026-11": 50}
        assert amounts(where, "11-16") == {"sub2/lots/2026-11": 150}
        assert drawn(where, use("11-15", 60), use("11-16", 60)) == [
            [("sub/free/2026-11", 50)],
            [("sub2/lots/2026-11", 60)],
        ]

    def test_the_catalog_in_force_when_the_part_begins_decides(self) -> None:
        more = plan(use=per_unit("1"), grants=[plan_grant("free", USE, "200")])
        versions = [catalog(FLEX), catalog(more, version=2, effective="11-10")]
        where = space(subscriptions=[subscription()], catalogs=versions)
        assert amounts(where, "11-20") == {"sub/free/2026-11": 100}
        assert amounts(where, "12-01") == {"sub/free/2026-12": 200}


class TestEligibility:
    def test_a_grant_never_pays_for_usage_from_before_it_began_or_after_it_ended(self) -> None:
        where = space(plan(use=per_unit("1")), grants=[given("g", USE, "100", span=span("11-02 12:00", "11-03 12:00"))])
        events = [use(at, 1) for at in ("11-02 11:59", "11-02 12:00", "11-03 11:59", "11-03 12:00")]
        assert [line.covered for line in where.lines(*events)] == [0, 1, 1, 0]

    def test_the_meter_must_be_in_scope(self) -> None:
        grants = [given("other", USE, "9", meters=("pages",)), given("this", USE, "9", meters=("use",))]
        assert drawn(space(plan(use=per_unit("1")), grants=grants), use("11-02", 1)) == [[("this", 1)]]

    def test_the_unit_must_be_the_meters(self) -> None:
        grants = [given("pages", PAGES, "9"), given("units", USE, "9")]
        assert drawn(space(plan(use=per_unit("1")), grants=grants), use("11-02", 1)) == [[("units", 1)]]

    def test_a_grant_in_a_currency_is_money_and_covers_no_quantity(self) -> None:
        cafe = {"lines": [{"amount": "30"}], "order": "o", "settlement": "account", "currency": "EUR", "total": "30"}
        where = space(plan(cafe=passed("0.1")), grants=[given("goodwill", CAFE, "20"), given("usd", USD, "20")])
        (line,) = where.lines(event("s", "pos.sale", "11-02", cafe))
        assert [(draw.grant, draw.amount) for draw in line.draws] == [("goodwill", d(20))]
        assert [line.covered, line.billable, line.amount] == [0, 30, 13]
        assert amounts(where, "11-02") == {"goodwill": 20, "usd": 20}

    def test_a_unit_costs_the_credits_of_the_first_rate_that_fits(self) -> None:
        colour, plain = CreditRate(rate=d(2), match={"color": True}), CreditRate(rate=d(1), match={"color": False})
        rates = [colour, plain, CreditRate(rate=d(9), match={"paper": None})]
        told: list[dict[str, Any]] = [{"color": True}, {"color": False}, {"paper": None}, {}]
        assert [rate_of(rates, dimensions) for dimensions in told] == [2, 1, 9, None]

    def test_credits_without_a_rate_are_passed_over(self) -> None:
        grants = [given("credits", CREDITS, "9", priority=1), given("units", USE, "9")]
        assert drawn(space(plan(use=per_unit("1")), grants=grants), use("11-02", 1)) == [[("units", 1)]]

    @pytest.mark.parametrize(
        ("seconds", "rate", "covered", "amount"),
        [
            (1200, "3", "1200", "1"),  # just enough: nothing is cut
            (1201, "3", "1199.9988", "1"),  # short: 0.333333 hours for all there is
            (1, "1", "1", "0.000277777778"),
        ],
    )
    def test_credits_by_the_hour(self, seconds: int, rate: str, covered: str, amount: str) -> None:
        where = space(plan(use=per_unit("1")), grants=[given("credits", CREDITS, "1")])
        order = given_instances(where.facts, None)
        (step,) = draw(order, AccountState(), d(seconds), t("11-02"), rate=d(rate), per=HOUR)
        assert (step.covered, step.amount) == (d(covered), d(amount))

    def test_another_members_credit_is_not_mine(self) -> None:
        where = space(plan(use=per_unit("1")), grants=[given("bobs", USE, "9", member="bob")])
        assert drawn(where, use("11-02", 1), use("11-03", 1, by="bob")) == [[], [("bobs", 1)]]

    def test_a_members_own_plan_replaces_the_accounts_credit(self) -> None:
        own = plan("own", use=per_unit("2"), grants=[plan_grant("mine", USE, "3")])
        held = [subscription(), subscription("own", id="solo", member="ada")]
        where = space(FLEX, own, subscriptions=held, grants=[given("gift", USE, "1", priority=200)])
        events = [use("11-02", 5), use("11-03", 5, by="bob")]
        assert drawn(where, events[0]) == [[("solo/mine/2026-11/acme", 3), ("gift", 1)]]
        assert [line.plan for line in where.lines(*events)] == ["own", "flex"]
        assert where.amounts(*events) == [2, 0]
        assert at(where, "11-02")["solo/mine/2026-11/acme"].member == "ada"

    def test_a_members_own_plan_gives_to_each_account_for_its_days(self) -> None:
        own = plan("own", use=per_unit("2"), grants=[plan_grant("mine", USE, "30")])
        links = [
            Link(member="ada", account="acme", span=span("01-01", "11-10 23:00")),
            Link(member="ada", account="beta", span=span("11-10 23:00")),
        ]
        terms: dict[str, Any] = {"links": links, "subscriptions": [subscription("own", id="solo", member="ada")]}
        assert amounts(space(own, **terms), "11-05") == {"solo/mine/2026-11/acme": 10}
        assert amounts(space(own, account="beta", **terms), "11-15") == {"solo/mine/2026-11/beta": 20}


class TestBurnOrder:
    def test_priority_then_expiry_then_own_then_effective_then_id(self) -> None:
        grants = [
            given("z-first", USE, "1", priority=1),
            given("soon", USE, "1", span=span(None, "12-01")),
            given("later", USE, "1", span=span(None, "12-02")),
            given("own", USE, "1", member="ada"),
            given("z-always", USE, "1"),
            given("older", USE, "1", span=span("01-01")),
            given("newer-a", USE, "1", span=span("02-01")),
            given("newer-b", USE, "1", span=span("02-01")),
        ]
        expected = ["z-first", "soon", "later", "own", "z-always", "older", "newer-a", "newer-b"]
        for order in (grants, grants[::-1]):
            where = space(plan(use=per_unit("1")), grants=order)
            assert [name for name, _ in drawn(where, use("11-02", 8))[0]] == expected

    def test_a_line_lists_each_draw_and_the_next_goes_on_from_there(self) -> None:
        where = space(plan(use=per_unit("1")), grants=[given("a", USE, "5"), given("b", USE, "5")])
        assert drawn(where, use("11-02", 7), use("11-03", 7)) == [[("a", 5), ("b", 2)], [("b", 3)]]


class TestRollover:
    def test_it_is_drawn_as_if_it_began_and_expired_with_the_periods_own_just_before_that(self) -> None:
        rolling = plan_grant("r", USE, "2", rollover=Rollover(most=d(1)))
        grants = [
            given("soon", USE, "1", span=span(None, "12-15")),
            given("earlier", USE, "1", span=span("11-20", "12-31 23:00")),
        ]
        where = space(plan(use=per_unit("1"), grants=[rolling]), grants=grants)
        assert drawn(where, use("12-02", 5)) == [
            [("soon", 1), ("earlier", 1), ("sub/r/2026-11/rolled", 1), ("sub/r/2026-12", 2)]
        ]

    def test_each_grant_goes_on_for_its_own_number_of_periods(self) -> None:
        grants = [
            plan_grant("one", USE, "1", rollover=Rollover(most=d(1))),
            plan_grant("two", USE, "1", rollover=Rollover(most=d(1), periods=2)),
            plan_grant("none", USE, "1"),
        ]
        where = space(plan(use=per_unit("1"), grants=grants), subscriptions=[subscription(span=span("10-01"))])
        rolled = {"sub/one/2026-11/rolled", "sub/two/2026-10/rolled", "sub/two/2026-11/rolled"}
        assert set(amounts(where, "12-05")) == rolled | {"sub/one/2026-12", "sub/two/2026-12", "sub/none/2026-12"}

    def test_it_lasts_from_period_to_period_but_not_beyond_its_subscription(self) -> None:
        flex = plan(use=per_unit("1"), grants=[plan_grant("r", USE, "2", rollover=Rollover(most=d(1)))])
        for end, expires in ((None, "12-31 23:00"), ("12-20 23:00", "12-20 23:00")):
            where = space(flex, subscriptions=[subscription(span=span("10-01", end))])
            found = at(where, "12-10")["sub/r/2026-11/rolled"]
            assert (found.effective, found.expires) == (t("11-30 23:00"), t(expires))
            assert bool(at(where, "12-25")) is (end is None)

    def test_of_a_member_who_was_away_it_is_drawn_as_if_it_began_with_the_return(self) -> None:
        rolling = plan_grant("r", USE, "31", holder="member", rollover=Rollover(most=d(1)))
        links = [
            Link(member="ada", account="acme", span=span("01-01", "11-25")),
            Link(member="ada", account="acme", span=span("12-10")),
        ]
        gift = given("gift", USE, "1", member="ada", span=span("12-05", "12-31 23:00"))
        where = space(plan(use=per_unit("1"), grants=[rolling]), links=links, grants=[gift])
        (draws,) = drawn(where, use("12-12", 3))
        assert draws == [("gift", 1), ("sub/r/2026-11/ada/rolled", 1), ("sub/r/2026-12/ada", 1)]

    def test_at_most_nothing_is_nothing(self) -> None:
        flex = plan(use=per_unit("1"), grants=[plan_grant("r", USE, "2", rollover=Rollover(most=d(0)))])
        assert amounts(space(flex), "12-05") == {"sub/r/2026-11/rolled": 0, "sub/r/2026-12": 2}


class TestById:
    def test_every_instance_is_found(self) -> None:
        own, pool = (
            plan_grant("own", USE, "1", holder="member"),
            plan_grant("pool", USE, "9", rollover=Rollover(most=d(5))),
        )
        flex, solo = plan(grants=[own, pool]), plan("solo", grants=[plan_grant("mine", USE, "3")])
        held = [subscription(id="a/b"), subscription("solo", id="solo", member="ada")]
        where = space(flex, solo, subscriptions=held, grants=[given("x", USE, "1"), given("x/y", USE, "2")])
        shown = at(where, "11-02")
        assert set(shown) == {
            "a%2Fb/own/2026-11/ada",
            "a%2Fb/own/2026-11/bob",
            "a%2Fb/pool/2026-10/rolled",
            "a%2Fb/pool/2026-11",
            "solo/mine/2026-11/acme",
            "x",
            "x%2Fy",
        }
        for name, balance in shown.items():
            found = find(where.facts, name)
            assert found is not None
            assert (found.id, found.amount) == (name, balance.amount)
            assert (found.origin, found.member, found.expires) == (balance.origin, balance.member, balance.expires)

    @pytest.mark.parametrize(
        "name", ["", "gone", "no/such", "sub/free/2026-13", "sub/gone/2026-11", "gift/x/2026-11/y", "gone/returned/s/r"]
    )
    def test_what_the_facts_do_not_give_is_not(self, name: str) -> None:
        assert find(space(FLEX, grants=[given("gift", USE, "1")]).facts, name) is None
        assert find(space(FLEX).facts, name) is None

    @pytest.mark.parametrize("origin", ["gift", "sub/r/2026-10", "sub/r/2026-10/rolled"])
    def test_what_a_refund_gave_back_has_the_scope_and_span_of_its_origin_and_no_amount(self, origin: str) -> None:
        rolling = plan_grant("r", USE, "2", rollover=Rollover(most=d(1)))
        where = space(plan(grants=[rolling]), grants=[given("gift", USE, "1", meters=("use",))])
        name = returned_id(origin, "berlin/till", "r/1")
        assert name == f"{origin}/returned/berlin%2Ftill/r%2F1"
        found, of = find(where.facts, name), find(where.facts, origin)
        assert found is not None
        assert of is not None
        assert (found.id, found.origin, found.amount, found.rolls) == (name, "refund", d(0), None)
        assert (found.meters, found.unit, found.effective, found.expires) == (
            of.meters,
            of.unit,
            of.effective,
            of.expires,
        )

    def test_a_plans_grant_may_be_called_as_what_is_given_back_is(self) -> None:
        flex = plan(grants=[plan_grant("returned", USE, "2", holder="member")])
        found = find(space(flex, grants=[given("sub", USE, "1")]).facts, "sub/returned/2026-11/ada")
        assert found is not None
        assert (found.origin, found.amount) == ("plan", d(2))


def test_balances_of_members_grants_name_scope_and_member() -> None:
    flex = plan(days=per_unit("1"), grants=[plan_grant("days", DAYS, "10", holder="member", priority=7)])
    where = space(flex)
    used: dict[str, Decimal] = {
        draw.grant: draw.amount for line in where.lines(entered("11-02")) for draw in line.draws
    }
    ada = next(balance for balance in balances(where.facts, t("11-02"), used) if balance.member == "ada")
    assert ada == GrantBalance(
        id="sub/days/2026-11/ada",
        origin="plan",
        scope=("days",),
        member="ada",
        unit="day",
        amount=d(10),
        used=d(1),
        remaining=d(9),
        effective=t("10-31 23:00"),
        expires=t("11-30 23:00"),
        priority=7,
    )


def test_a_given_grant_is_kept_over_periods_and_a_plans_is_not() -> None:
    where = space(FLEX, grants=[given("gift", PAGES, "50")])
    state = where.fold(use("11-02", 40), printed("11-03", 30)).state
    assert state.used == {"sub/free/2026-11": 40}  # pages are in no plan: nothing is booked, nothing drawn
    where = space(plan(use=per_unit("1"), grants=[plan_grant("free", USE, "10")]), grants=[given("gift", USE, "50")])
    assert where.fold(use("11-02", 40), use("12-02", 1)).state.used == {"gift": 30, "sub/free/2026-12": 1}


def test_a_given_grant_that_has_ended_is_not_kept() -> None:
    where = space(plan(use=per_unit("1")), grants=[given("gift", USE, "50", span=span(None, "11-20"))])
    assert where.fold(use("11-02", 40), use("11-25", 1)).state.used == {"gift": 40}
    assert where.fold(use("11-02", 40), use("12-02", 1)).state.used == {}
