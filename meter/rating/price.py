"""Quantities to money: every amount is a difference of a function of Q (rating.md, section 5).

A model is the list of `steps` whose sum is P(Q). The amount and its explanation are read from the same steps, so they
cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, assert_never

from meter.model.catalog import Graduated, Model, PassThrough, PerUnit, Price, Tier
from meter.model.event import Json
from meter.model.money import ONE, ZERO, round_amount
from meter.rating.values import MISSING, same


class Step(NamedTuple):
    """One term of P(Q): `units` at `unit_price` and a `flat`, in the tier from `above` to `up_to` (None: no end)."""

    units: Decimal
    unit_price: Decimal
    flat: Decimal = ZERO
    above: Decimal = ZERO
    up_to: Decimal | None = None

    @property
    def amount(self) -> Decimal:
        """Return what the step comes to."""
        return self.units * self.unit_price + self.flat


def steps(model: Model, quantity: Decimal) -> list[Step]:
    """Return the terms of P(Q) at Q = `quantity`; below 0 it is the first unit price x Q."""
    match model:
        case PerUnit(unit_price=unit_price):
            return [Step(quantity, unit_price)]
        case PassThrough(markup=markup):
            return [Step(quantity, ONE + markup)]
        case Graduated(tiers=tiers):
            return _graduated(tiers, quantity)
        case _:
            assert_never(model)


def _graduated(tiers: Sequence[Tier], quantity: Decimal) -> list[Step]:
    """Each unit at the price of its own tier, a tier's flat once it is entered; past the last its price goes on."""
    if quantity <= ZERO:
        return [Step(quantity, tiers[0].unit_price, ZERO, ZERO, tiers[0].up_to)]
    found: list[Step] = []
    above = ZERO
    last = tiers[-1]
    for tier in tiers:
        if quantity <= above:
            break
        up_to = None if tier is last else tier.up_to
        reached = quantity if up_to is None else min(quantity, up_to)
        found.append(Step(reached - above, tier.unit_price, tier.flat, above, up_to))
        above = reached
    return found


def cumulative(model: Model, quantity: Decimal) -> Decimal:
    """Return P(Q), rounded to 12 places."""
    return round_amount(sum((step.units * step.unit_price + step.flat for step in steps(model, quantity)), ZERO))


def amount_between(model: Model, before: Decimal, after: Decimal) -> Decimal:
    """Return P(after) - P(before): amounts telescope, so a period's sum is P at its Q (rating.md, section 5)."""
    return cumulative(model, after) - cumulative(model, before)


def steps_between(model: Model, before: Decimal, after: Decimal) -> list[Step]:
    """Return the terms of P(after) - P(before), tier by tier; only those that differ."""
    first = {step.above: step for step in steps(model, before)}
    second = {step.above: step for step in steps(model, after)}
    found = []
    for above in sorted(first.keys() | second.keys()):
        old, new = first.get(above), second.get(above)
        tier = new or old
        assert tier is not None  # noqa: S101 -- one of the two has this tier
        units = (new.units if new else ZERO) - (old.units if old else ZERO)
        flat = (new.flat if new else ZERO) - (old.flat if old else ZERO)
        if units or flat:
            found.append(tier._replace(units=units, flat=flat))
    return found


def choose(prices: Sequence[Price], dimensions: Mapping[str, Json]) -> Price | None:
    """Return the first price whose `match` fits the dimensions."""
    for price in prices:
        if all(same(dimensions.get(name, MISSING), wanted) for name, wanted in price.match.items()):
            return price
    return None
