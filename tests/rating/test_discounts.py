"""What discounts do to what is due without an event: minimums that were not reached, days that were not used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meter.model.catalog import Fee, Price
from meter.model.charge import Line
from meter.model.directory import Discount, Link, Subscription
from meter.model.money import ZERO, round_amount
from tests.rating.world import Space, d, graduated, per_unit, plan, priced, space, span, subscription, t, use

NOVEMBER, DECEMBER = "10-31 23:00", "11-30 23:00"
# Prices that never fall with what is used.
PRICES: tuple[Price, ...] = (
    per_unit("1"),
    per_unit("0.333"),
    per_unit("2", period_cap=d("7.5")),
    per_unit("1", day_cap=d(4), period_cap=d(15)),
    priced(graduated(("3", "1.5", "2"), (None, "0.25"))),
)


def off(name: str, amount: str, *, start: str | None = None, end: str | None = None, **more: Any) -> Discount:
    """`0.1` is a rate, `1 EUR` an amount."""
    figure = {"amount": d(amount.removesuffix(" EUR"))} if amount.endswith("EUR") else {"rate": d(amount)}
    return Discount(id=name, span=span(start, end), **{**figure, **more})


def total(lines: Sequence[Line]) -> Decimal:
    return sum((line.amount for line in lines), ZERO)


def least(price: Price, *held: Subscription, minimum: str = "10", **people: Any) -> Space:
    """A space whose price asks for a minimum in November, which is closed."""
    return space(plan(use=replace(price, period_minimum=d(minimum))), subscriptions=held, closed=[NOVEMBER], **people)


def true_up(where: Space, *usage: Any) -> Decimal:
    return total([line for line in where.lines(*usage, until="12-02") if line.kind == "minimum"])


def sub(*discounts: Discount, start: str = NOVEMBER, end: str | None = None, **more: Any) -> Subscription:
    return subscription(span=span(start, end), discounts=discounts, **more)


@st.composite
def discount_lists(draw: st.DrawFn) -> list[Discount]:
    figures = draw(st.lists(st.sampled_from(["0.1", "0.333333", "1", "0.5", "2.50 EUR", "7 EUR", "0 EUR"]), max_size=3))
    on = st.sampled_from([(), ("use",), ("fees",), ("days",), ("days", "use")])
    return [off(f"d{n}", figure, on=draw(on)) for n, figure in enumerate(figures)]


class TestMinimums:
    @given(
        price=st.sampled_from(PRICES),
        minimum=st.sampled_from(["0.01", "4", "9.99", "20"]),
        discounts=discount_lists(),
        usage=st.lists(st.decimals("0.01", "9", places=2), max_size=5),
        more=st.decimals("0.01", "9", places=2),
    )
    def test_who_uses_more_never_pays_less(
        self, price: Price, minimum: str, discounts: list[Discount], usage: list[Decimal], more: Decimal
    ) -> None:
        where = least(price, sub(*discounts), minimum=minimum)
        events = [use(f"11-{n:02}", str(quantity)) for n, quantity in enumerate([*usage, more], 2)]
        assert total(where.lines(*events[:-1], until="12-02")) <= total(where.lines(*events, until="12-02"))

    @given(discounts=discount_lists(), usage=st.lists(st.decimals("0.01", "3", places=2), max_size=3))
    def test_who_reaches_it_pays_what_who_does_not_pays(self, discounts: list[Discount], usage: list[Decimal]) -> None:
        where = least(per_unit("1"), sub(*discounts))
        events = [use(f"11-{n:02}", str(quantity)) for n, quantity in enumerate(usage, 2)]
        assert total(where.lines(*events, until="12-02")) == total(where.lines(use("11-20", 10), until="12-02"))

    def test_are_lowered_by_what_acts_on_usage_of_the_meter(self) -> None:
        for on, expected in (((), "5.4"), (("use",), "5.4"), (("days",), "6"), (("fees",), "6")):
            where = least(per_unit("1"), sub(off("tenth", "0.1", on=on)))
            assert true_up(where, use("11-02", 4)) == d(expected), on

    def test_take_what_an_amount_of_discount_has_left(self) -> None:
        where = least(per_unit("1"), sub(off("five", "5 EUR")))
        assert total(where.lines(use("11-02", 3), until="12-02")) == true_up(where, use("11-02", 3)) == 5
        assert not least(per_unit("1"), sub(off("free", "1"))).lines(until="12-02")

    def test_have_the_discounts_of_the_last_instant_of_the_period(self) -> None:
        held = sub(off("ends", "0.1", end=DECEMBER), off("begins", "0.5", start=DECEMBER))
        assert true_up(least(per_unit("1"), held)) == 9
        assert true_up(least(per_unit("1"), sub(off("over", "0.1", end="11-30 22:59")))) == 10

    def test_have_those_of_the_last_instant_of_the_subscription(self) -> None:
        # 20 of 30 days.
        held = sub(off("whole", "0.5", end="11-20 23:00"), off("later", "1", start="11-25"), end="11-20 23:00")
        assert true_up(least(per_unit("1"), held, minimum="30")) == 10

    def test_have_those_of_the_subscription_that_holds_the_plan_last(self) -> None:
        first = sub(off("half", "0.5"), id="z", end="11-15 23:00")
        second = sub(off("tenth", "0.1"), id="a", start="11-15 23:00")
        assert true_up(least(per_unit("1"), first, second)) == 9

    def test_have_the_accounts_own_before_a_members(self) -> None:
        own = sub(off("half", "0.5"), id="z", start="11-15 23:00", member="ada")
        assert true_up(least(per_unit("1"), sub(off("tenth", "0.1"), id="a"), own)) == 9

    def test_have_a_members_where_it_is_the_last_of_the_plan(self) -> None:
        own = sub(off("half", "0.5"), id="a", start="11-05", member="ada")
        assert true_up(least(per_unit("1"), sub(off("tenth", "0.1"), id="z", end="11-15 23:00"), own)) == 5

    def test_have_of_two_that_last_equally_long_those_of_the_one_that_began_last(self) -> None:
        early = sub(off("tenth", "0.1"), id="z", start=NOVEMBER, member="ada")
        late = sub(off("half", "0.5"), id="a", start="11-05", member="bob")
        assert true_up(least(per_unit("1"), early, late)) == 5

    def test_have_those_of_the_subscription_that_is_the_members_last(self) -> None:
        own = sub(off("half", "0.5"), id="own", end="11-15 23:00", member="ada")
        links = [Link(member="ada", account="acme")]
        assert true_up(least(per_unit("1", per="member"), sub(off("tenth", "0.1")), own, links=links)) == 9

    def test_come_after_the_fee_of_the_same_instant(self) -> None:
        flex = replace(plan(use=per_unit("1", period_minimum=d(10))), fee=Fee(amount=d(4), timing="arrears"))
        for name in ("aaa", "zzz"):
            where = space(flex, subscriptions=[sub(off("five", "5 EUR"), id=name)], closed=[NOVEMBER])
            # At the period's end the discount is in force for both: 4 of it for the fee, 1 for the minimum.
            assert {line.kind: int(line.amount) for line in where.lines(until="12-02")} == {"fee": 0, "minimum": 9}


class TestFeesInArrears:
    """30 a month, due when November is over."""

    def fee(self, *discounts: Discount, end: str | None = None) -> Decimal:
        flex = replace(plan(use=per_unit("1")), fee=Fee(amount=d(30), timing="arrears"))
        where = space(flex, subscriptions=[sub(*discounts, end=end)])
        return next(line.amount for line in where.lines(until="12-02"))

    def test_have_the_discounts_of_the_last_moment(self) -> None:
        assert self.fee(off("november", "0.1", start=NOVEMBER, end=DECEMBER)) == 27
        assert self.fee(off("december", "0.1", start=DECEMBER)) == 30
        assert self.fee(off("early", "0.1", end="11-20")) == 30
        assert self.fee(off("until", "0.1", end="11-15 23:00"), end="11-15 23:00") == Decimal("13.5")


class TestUnusedDays:
    """30 a month in advance, and an end on 21 November: 10 of 30 days come back."""

    def fees(self, *discounts: Discount, end: str = "11-20 23:00", **more: Any) -> list[Decimal]:
        flex = replace(plan(use=per_unit("1")), fee=Fee(amount=d(30)))
        where = space(flex, subscriptions=[sub(*discounts, end=end)], **more)
        return [line.amount for line in where.lines(until="11-30") if line.kind == "fee"]

    def test_come_back_at_what_they_were_charged_at(self) -> None:
        assert self.fees(off("tenth", "0.1", end="11-20 23:00")) == [27, -9]
        assert self.fees(off("tenth", "0.1", end="11-10")) == [27, -9]
        assert self.fees(off("tenth", "0.1", end=NOVEMBER)) == [30, -10]

    def test_are_not_lowered_by_a_discount_that_began_since(self) -> None:
        assert self.fees(off("later", "0.5", start="11-10")) == [30, -10]
        assert self.fees(off("later", "25 EUR", start="11-10")) == [30, -10]

    def test_give_an_amount_of_discount_up_last(self) -> None:
        assert self.fees(off("some", "5 EUR", end="11-20 23:00")) == [25, -10]
        assert self.fees(off("most", "25 EUR", end="11-20 23:00")) == [5, -5]
        assert self.fees(off("all", "35 EUR", end="11-20 23:00")) == [0, 0]

    @given(
        discounts=discount_lists(),
        ends=st.lists(st.sampled_from([None, "11-02", "11-20 23:00", "11-25"]), min_size=3, max_size=3),
        starts=st.lists(st.sampled_from([None, None, NOVEMBER, "11-05"]), min_size=3, max_size=3),
        day=st.integers(1, 29),
    )
    def test_leave_of_the_fee_what_the_days_that_were_used_cost(
        self, discounts: list[Discount], ends: list[str | None], starts: list[str | None], day: int
    ) -> None:
        end = f"11-{day:02} 23:00"
        dated = [
            replace(one, span=span(start, stop))
            for one, start, stop in zip(discounts, starts, ends, strict=False)
            if start is None or stop is None or t(start) < t(stop)
        ]
        charged, back = self.fees(*dated, end=end)
        assert back <= 0 <= charged + back <= charged
        acting = [one for one in dated if one.span.covers(t(NOVEMBER)) and (not one.on or "fees" in one.on)]
        left = Decimal(30 * day) / 30
        for one in acting:
            lowered = round_amount(left * (1 - (one.rate or 0)))
            left = lowered if one.amount is None else max(left - one.amount, ZERO)
        assert charged + back == left
