"""A price made ready once, and used for each event; the same for a model at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from meter.model.catalog import (
    Flat,
    Graduated,
    Model,
    Package,
    PassThrough,
    Percentage,
    PerUnit,
    Price,
    Volume,
)
from meter.model.money import ONE, ZERO
from meter.rating.price.models import Curved, by_curve, curve
from meter.rating.price.per_event import flat, percentage
from meter.rating.price.rule import Charge, Rule, Steps
from meter.rating.price.steps import Step
from meter.rating.price.tally import Priced, Tally


@dataclass(frozen=True, slots=True)
class Tariff:
    """A price made ready for quantities in base units, `per` of them to a unit of the price: build once, use often.

    `charge` and `steps` as `price_quantity` and `steps_between`. `at` is P(Q), None for models that price each event by
    itself.
    """

    price: Price
    per: Decimal
    charge: Charge
    steps: Steps
    at: Callable[[Decimal], Decimal] | None


def compile_price(price: Price, per: Decimal = ONE) -> Tariff:
    """Return the price made ready. It takes about as long as ten charges."""
    rule = _rule(price.model, per)
    return Tariff(price, per, rule.charge, rule.steps, rule.at)


def price_quantity(
    model: Model, tally: Tally, quantity: Decimal, *, per: Decimal = ONE, base: Decimal | None = None
) -> Priced:
    """Return what `quantity` costs on top of `tally`, and the tally after it.

    A cumulative model asks P(Q after) - P(Q), and P(Q after) as long as nothing has begun: so 0 units begin a price
    with `flat_at_zero` (the zero line), and usage that credit covers wholly is not to be priced. An event that is flat
    or a percentage pays nothing and does not count unless `quantity` is above 0.
    """
    return _rule(model, per).charge(tally, quantity, base)


def steps_between(
    model: Model, before: Tally, quantity: Decimal, per: Decimal = ONE, base: Decimal | None = None
) -> list[Step]:
    """Return the terms of what `price_quantity` asks for the same arguments: their amounts sum to it, exactly."""
    return _rule(model, per).steps(before, quantity, base)


def cumulative(model: Curved, quantity: Decimal, per: Decimal = ONE) -> Decimal:
    """Return P(Q), rounded to 12 places."""
    return curve(model, per).at(quantity)


def falls(model: Model) -> bool:
    """Tell whether an amount can be negative although the quantity is positive: then it returns what was paid."""
    match model:
        case PerUnit(unit_price=price) | Package(price=price) | Flat(amount=price):
            return price < ZERO
        case Graduated(tiers=tiers):
            return any(tier.unit_price < ZERO or tier.flat < ZERO for tier in tiers)
        case Volume():
            return True
        case Percentage(minimum=minimum):
            return minimum is None or minimum < ZERO  # the amount that it is a share of may be negative
        case PassThrough(markup=markup):
            return markup < -ONE
        case _:
            assert_never(model)


def _rule(model: Model, per: Decimal) -> Rule:
    match model:
        case Flat():
            return flat(model)
        case Percentage():
            return percentage(model)
        case _:
            return by_curve(curve(model, per), per)
