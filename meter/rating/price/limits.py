"""What stands around a model: caps, discounts and the period's minimum (rating.md, sections 5 and 7).

Caps and discounts are functions of a running sum, as P is of Q: a line bears the difference, so falling sums give back
what rising ones took. Sums and amounts have 12 places; the caller computes in the context `EXACT`, as the fold does.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from meter.model.catalog import Price
from meter.model.directory import Discount
from meter.model.money import EXACT, ONE, ZERO, round_amount


class Capped(NamedTuple):
    """A line's amount under the caps, and the running sums after it: of what came, of what the day cap let through."""

    amount: Decimal
    day_sum: Decimal
    period_sum: Decimal


def capped(price: Price, amount: Decimal, *, day_sum: Decimal, period_sum: Decimal) -> Capped:
    """Return `amount` under the day cap, then the period cap: C(S) = min(S, cap), each line its difference.

    `day_sum` is S of the local date before the line, uncapped; `period_sum` that of the period, day-capped.
    """
    day_after = day_sum + amount
    if price.day_cap is not None:
        amount = min(day_after, price.day_cap) - min(day_sum, price.day_cap)
    period_after = period_sum + amount
    if price.period_cap is not None:
        amount = min(period_after, price.period_cap) - min(period_sum, price.period_cap)
    return Capped(amount, day_after, period_after)


def discounted(discount: Discount, amount: Decimal, running_sum: Decimal) -> tuple[Decimal, Decimal]:
    """Return what is left of `amount` after the discount, and the running sum after it.

    `running_sum` is what came to this discount before, in the billing period. A rate leaves S x (1 - rate), an amount
    leaves max(0, S - amount).
    """
    after = running_sum + amount
    return _left(discount, after) - _left(discount, running_sum), after


def _left(discount: Discount, total: Decimal) -> Decimal:
    if discount.rate is not None:
        return round_amount(EXACT.multiply(total, ONE - discount.rate))
    return total if discount.amount is None else max(ZERO, total - discount.amount)


def true_up(minimum: Decimal, capped_sum: Decimal, active_days: int, days: int) -> Decimal:
    """Return what is missing to the minimum of `active_days` of a period's `days`, to 12 places; never below 0."""
    due = round_amount(EXACT.divide(minimum * active_days, Decimal(days)))
    return max(due - capped_sum, ZERO)
