"""What a draw takes: as much as there is, in the order of the instances (rating.md, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from meter.model.catalog import CreditRate
from meter.model.money import ONE, ZERO, cut_quantity, round_amount
from meter.rating.grants.instance import Instance
from meter.rating.state import AccountState, DrawStep
from meter.rating.values import MISSING, same

CREDIT: Final = "credit"


def rate_of(rates: Sequence[CreditRate], dimensions: Mapping[str, Any]) -> Decimal | None:
    """Return the credits that a unit costs: the first rate whose `match` fits; None where none does."""
    for rate in rates:
        if all(same(dimensions.get(name, MISSING), wanted) for name, wanted in rate.match.items()):
            return rate.rate
    return None


def draw(
    order: Sequence[Instance],
    state: AccountState,
    quantity: Decimal,
    instant: datetime,
    *,
    rate: Decimal | None = None,
    per: Decimal = ONE,
) -> list[DrawStep]:
    """Use as much of `quantity` as there is credit for at `instant`, in `order`; return the draws.

    `rate` is what a unit (of `per` base units) costs in credits; without it credits cover nothing.
    """
    found: list[DrawStep] = []
    for instance in order:
        if not instance.in_force(instant):
            continue
        granted = instance.granted(state.used)
        balance = granted - state.used.get(instance.id, ZERO)
        if balance <= ZERO:
            continue
        if instance.unit != CREDIT:
            amount = covered = min(balance, quantity)
        elif rate is None:
            continue
        elif quantity * rate <= balance * per:
            covered, amount = quantity, round_amount(quantity * rate / per)
        else:
            covered, amount = cut_quantity(balance / rate) * per, balance
        step = DrawStep(instance.id, instance.unit, amount, covered, balance, granted)
        state.use(step, instance.lasts)
        found.append(step)
        quantity -= covered
        if not quantity:
            break
    return found
