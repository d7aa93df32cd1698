from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.catalog import Graduated, Model, PassThrough, PerUnit, Price, Tier
from meter.rating.price import Step, amount_between, choose, cumulative, steps, steps_between
from tests.rating.world import d, graduated, per_unit

FLATS = graduated(("5", "0", "100"), ("10", "0", "50"), ("15", "10"), (None, "5"))


def test_per_unit() -> None:
    assert cumulative(PerUnit(unit_price=d("0.0015")), d(3)) == d("0.0045")


def test_pass_through_adds_its_markup() -> None:
    assert cumulative(PassThrough(), d("3.50")) == d("3.50")
    assert cumulative(PassThrough(markup=d("0.12")), d(100)) == 112


def test_a_tiers_flat_is_due_once_it_is_entered() -> None:
    assert [amount_between(FLATS, d(0), d(q)) for q in ("0.000001", "5", "5.000001")] == [100, 100, 150]


def test_up_to_is_inclusive() -> None:
    model = graduated(("10", "1"), (None, "2"))
    assert [cumulative(model, d(q)) for q in ("10", "11")] == [10, 12]


@pytest.mark.parametrize("model", [graduated(("10", "1.5", "7"), (None, "1")), PerUnit(unit_price=d("1.5"))])
def test_below_0_it_is_the_first_unit_price(model: Model) -> None:
    assert cumulative(model, d(-4)) == -6
    assert cumulative(model, d(0)) == 0


def test_past_the_last_tier_its_price_goes_on() -> None:
    assert cumulative(graduated(("10", "2"), ("20", "1")), d(35)) == 45


def test_amounts_are_rounded_to_12_places_so_that_they_telescope() -> None:
    third = PerUnit(unit_price=d("0.333333333333333333"))
    assert [amount_between(third, d(n), d(n + 1)) for n in range(3)] == [
        d("0.333333333333"),
        d("0.333333333334"),
        d("0.333333333333"),
    ]


def test_the_first_price_whose_match_fits_applies() -> None:
    colour = Price(id="colour", model=PerUnit(unit_price=d(1)), match={"color": True})
    a3 = Price(id="a3", model=PerUnit(unit_price=d(1)), match={"color": True, "paper": "A3"})
    rest = per_unit("1", id="rest")
    chosen = [choose((colour, a3, rest), dims) for dims in ({"color": True, "paper": "A3"}, {"color": False}, {})]
    assert [price and price.id for price in chosen] == ["colour", "rest", "rest"]
    assert choose((a3, colour), {"color": True, "paper": "A3"}) == a3
    assert choose((colour,), {"color": 1}) is None
    assert choose((), {}) is None


tier_lists = st.lists(
    st.tuples(st.integers(1, 50), st.decimals("0", "9", places=3), st.decimals("0", "9", places=2)),
    min_size=1,
    max_size=5,
)


def build(tiers: list[tuple[int, Decimal, Decimal]]) -> Graduated:
    up_to, found = d(0), []
    for width, price, flat in tiers:
        up_to += width
        found.append(Tier(up_to=up_to, unit_price=price, flat=flat))
    return Graduated(tiers=tuple(found))


quantities = st.decimals("-20", "300", places=3)


@given(tier_lists, quantities, quantities)
def test_a_graduated_price_never_falls_with_quantity(
    tiers: list[tuple[int, Decimal, Decimal]], one: Decimal, two: Decimal
) -> None:
    model = build(tiers)
    assert cumulative(model, min(one, two)) <= cumulative(model, max(one, two))


@given(tier_lists, st.lists(quantities, max_size=8))
def test_amounts_telescope(tiers: list[tuple[int, Decimal, Decimal]], path: list[Decimal]) -> None:
    model, stops = build(tiers), [d(0), *path]
    booked = sum((amount_between(model, a, b) for a, b in pairwise(stops)), d(0))
    assert booked == cumulative(model, stops[-1])


@given(tier_lists, quantities, quantities)
def test_the_steps_shown_sum_to_the_amount_booked(
    tiers: list[tuple[int, Decimal, Decimal]], before: Decimal, after: Decimal
) -> None:
    model = build(tiers)
    shown = steps_between(model, before, after)
    assert sum((step.amount for step in shown), d(0)) == amount_between(model, before, after)
    assert sum((step.units for step in shown), d(0)) == after - before
    assert all(step.units or step.flat for step in shown)


def test_the_steps_name_their_tiers() -> None:
    assert steps(FLATS, d(7)) == [
        Step(units=d(5), unit_price=d(0), flat=d(100), above=d(0), up_to=d(5)),
        Step(units=d(2), unit_price=d(0), flat=d(50), above=d(5), up_to=d(10)),
    ]
    assert steps(FLATS, d(22))[-1] == Step(units=d(7), unit_price=d(5), flat=d(0), above=d(15), up_to=None)
