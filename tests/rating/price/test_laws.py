"""What must hold for every price (Hypothesis; a failing example prints its seed)."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from meter.model.catalog import Flat, Graduated, Model, Package, PassThrough, Percentage, PerUnit, Tier, Volume
from meter.model.directory import Discount
from meter.model.money import EXACT, ONE, ZERO, round_amount
from meter.rating.price import (
    Tally,
    capped,
    compile_price,
    cumulative,
    discounted,
    falls,
    price_quantity,
    steps_between,
)
from meter.rating.price.models import Curved
from tests.rating.price.words import HOUR, MINUTE, price


def decimals(least: str, most: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(least, most, places=places)


# 15 places: more than an amount keeps, so that rounding is seen.
prices = st.one_of(decimals("0", "9", 2), decimals("0", "9", 15))
amounts = decimals("-20", "20", 2)
pers = st.sampled_from([ONE, MINUTE, HOUR])
# Whole tiers often meet whole quantities: the edges are the point.
quantities = st.one_of(st.integers(-20, 120).map(Decimal), decimals("-20", "120", 6))


@st.composite
def tier_lists(draw: st.DrawFn) -> tuple[Tier, ...]:
    found, up_to = [], ZERO
    for width, unit_price, flat in draw(
        st.lists(st.tuples(st.integers(1, 30), prices, decimals("0", "9", 2)), min_size=1, max_size=5)
    ):
        up_to += width
        found.append(Tier(up_to=up_to, unit_price=unit_price, flat=flat))
    if draw(st.booleans()):
        found[-1] = Tier(up_to=None, unit_price=found[-1].unit_price, flat=found[-1].flat)
    return tuple(found)


graduated = st.builds(Graduated, tiers=tier_lists(), flat_at_zero=st.booleans())
packages = st.builds(Package, size=decimals("0.5", "20", 1), price=prices, free=decimals("0", "20", 1))
curved: st.SearchStrategy[Curved] = st.one_of(
    st.builds(PerUnit, unit_price=prices),
    st.builds(PassThrough, markup=decimals("-1", "2", 3)),
    graduated,
    st.builds(Volume, tiers=tier_lists()),
    packages,
)
percentages = st.builds(
    Percentage,
    path=st.just(("amount",)),
    rate=prices,
    fixed=decimals("0", "3", 2),
    minimum=st.none() | decimals("0", "3", 2),
    maximum=st.none() | decimals("3", "9", 2),
    free_events=st.none() | st.integers(0, 4),
    free_amount=st.none() | decimals("0", "50", 2),
)
models: st.SearchStrategy[Model] = st.one_of(curved, st.builds(Flat, amount=prices), percentages)
paths = st.lists(quantities, min_size=1, max_size=8)


def total(amounts: list[Decimal]) -> Decimal:
    return sum(amounts, ZERO)


def run(model: Model, path: list[Decimal], per: Decimal, bases: list[Decimal] | None = None) -> tuple[Decimal, Tally]:
    """What lines that lead through `path` are charged in all, and the tally after them."""
    tariff, tally, paid = compile_price(price(model), per), Tally(), ZERO
    with localcontext(EXACT):
        for number, quantity in enumerate(path):
            amount, tally = tariff.charge(tally, quantity * per, None if bases is None else bases[number])
            paid += amount
    return paid, tally


@given(curved, paths, pers)
def test_however_a_quantity_is_split_its_lines_sum_to_p_of_the_whole(
    model: Curved, path: list[Decimal], per: Decimal
) -> None:
    paid, tally = run(model, path, per)
    assert paid == cumulative(model, total(path) * per, per)
    assert tally.quantity == total(path) * per


@given(curved, paths, pers)
def test_after_a_zero_line_they_sum_to_p_of_the_whole_too(model: Curved, path: list[Decimal], per: Decimal) -> None:
    zero_line, begun = price_quantity(model, Tally(), ZERO, per=per)
    assert zero_line == cumulative(model, ZERO, per)
    paid, _ = run(model, [ZERO, *path], per)
    assert paid == cumulative(model, total(path) * per, per)
    assert begun.begun


@given(st.one_of(graduated, packages), quantities, quantities, pers)
def test_graduated_prices_and_packages_never_fall_with_quantity(
    model: Curved, one: Decimal, two: Decimal, per: Decimal
) -> None:
    low, high = sorted((one * per, two * per))
    assert cumulative(model, low, per) <= cumulative(model, high, per)


@given(models, st.lists(st.tuples(decimals("0", "20", 3), decimals("0", "50", 2)), min_size=1, max_size=6), pers)
def test_amounts_fall_only_where_the_model_says_so(
    model: Model, usage: list[tuple[Decimal, Decimal]], per: Decimal
) -> None:
    tally = Tally()
    for quantity, base in usage:
        amount, tally = price_quantity(model, tally, quantity * per, per=per, base=base)
        assert amount >= 0 or falls(model)


@given(models, paths, st.lists(amounts, min_size=8, max_size=8), pers)
def test_the_steps_sum_to_the_amount(model: Model, path: list[Decimal], bases: list[Decimal], per: Decimal) -> None:
    tally = Tally()
    for quantity, base in zip(path, bases, strict=False):
        found = steps_between(model, tally, quantity * per, per, base)
        amount, tally = price_quantity(model, tally, quantity * per, per=per, base=base)
        assert total([step.amount for step in found]) == amount
        for step in found:
            said = step.units * step.unit_price + step.flat
            assert abs(step.amount - said) <= (1 + abs(step.unit_price)) * Decimal("1E-12")


@given(st.one_of(graduated, st.builds(Volume, tiers=tier_lists())), pers)
def test_the_steps_sum_to_p_at_the_end_of_each_tier(model: Graduated | Volume, per: Decimal) -> None:
    for tier in model.tiers:
        if tier.up_to is not None:
            found = steps_between(model, Tally(), tier.up_to * per, per)
            assert total([step.amount for step in found]) == cumulative(model, tier.up_to * per, per)


@given(curved.filter(lambda model: not isinstance(model, Package)), quantities, quantities, pers)
def test_the_steps_show_the_quantity(model: Curved, before: Decimal, quantity: Decimal, per: Decimal) -> None:
    tally = Tally(quantity=before * per, begun=True)
    found = steps_between(model, tally, quantity * per, per)
    shown = total([step.units for step in found if step.label in {"units", "passed", "tier", "volume"}])
    assert abs(shown - quantity) <= Decimal("1E-11")


@given(curved, quantities)
def test_a_price_by_the_hour_is_that_of_a_unit_for_3600_times_the_quantity(model: Curved, quantity: Decimal) -> None:
    assert cumulative(model, quantity * HOUR, HOUR) == cumulative(model, quantity)


longest = st.decimals("0.000000000001", "9" * 18 + "." + "9" * 12, places=12)


@given(longest, longest, longest)
def test_the_longest_numbers_let_in_lose_nothing(low: Decimal, high: Decimal, quantity: Decimal) -> None:
    model = Graduated(tiers=(Tier(up_to=quantity, unit_price=low, flat=high), Tier(up_to=None, unit_price=high)))
    with localcontext(EXACT):
        paid = cumulative(model, quantity * HOUR + 1, HOUR)
    expected = Fraction(quantity) * Fraction(low) + Fraction(high) + Fraction(high) / 3600
    assert abs(Fraction(paid) - expected) <= Fraction(1, 2 * 10**12)


@given(st.lists(st.tuples(st.sampled_from("abc"), amounts), max_size=10), st.none() | amounts, st.none() | amounts)
def test_the_capped_sum_is_the_smaller_of_sum_and_cap(
    lines: list[tuple[str, Decimal]], day_cap: Decimal | None, period_cap: Decimal | None
) -> None:
    day_cap, period_cap = abs_or_none(day_cap), abs_or_none(period_cap)
    limited = price(day_cap=day_cap, period_cap=period_cap)
    days: dict[str, Decimal] = {}
    paid = period_sum = ZERO
    for day, amount in lines:
        billed, days[day], period_sum = capped(limited, amount, day_sum=days.get(day, ZERO), period_sum=period_sum)
        paid += billed
    by_day = total([least(total([a for d, a in lines if d == day]), day_cap) for day in days])
    assert period_sum == by_day
    assert paid == least(by_day, period_cap)


@given(lines=st.lists(amounts, max_size=8), by_rate=st.booleans(), figure=decimals("0", "1", 15))
def test_the_discounted_sum_is_the_discount_of_the_sum(*, lines: list[Decimal], by_rate: bool, figure: Decimal) -> None:
    if by_rate:
        less, expected = Discount(id="less", rate=figure), round_amount(total(lines) * (1 - figure))
    else:
        figure = round_amount(figure) * 30
        less, expected = Discount(id="less", amount=figure), max(ZERO, total(lines) - figure)
    left = running = ZERO
    for amount in lines:
        billed, running = discounted(less, amount, running)
        left += billed
    assert left == expected


@given(models, paths, st.lists(amounts, min_size=8, max_size=8), pers)
def test_a_tally_read_back_goes_on_as_if_nothing_had_happened(
    model: Model, path: list[Decimal], bases: list[Decimal], per: Decimal
) -> None:
    _, tally = run(model, path, per, bases)
    again = Tally.from_row(tally.to_row())
    assert price_quantity(model, again, per, per=per, base=ONE) == price_quantity(model, tally, per, per=per, base=ONE)


def abs_or_none(amount: Decimal | None) -> Decimal | None:
    return None if amount is None else abs(amount)


def least(amount: Decimal, cap: Decimal | None) -> Decimal:
    return amount if cap is None else min(amount, cap)
