"""What is left to pay of an amount, and how it came to that.

amount by the price ──caps──▶ ──discounts──▶ ──money grants──▶ amount of the line
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from meter.model.catalog import Price
from meter.model.directory import Discount, Subscription
from meter.model.instant import local_date
from meter.model.money import ZERO
from meter.rating.credit import Credit
from meter.rating.evidence import Reduction
from meter.rating.lane import Lane
from meter.rating.price import capped, discounted
from meter.rating.state import AccountState, DrawStep, SoldPart, TotalKey


class Payable(NamedTuple):
    """What is left to pay, the draws of money grants that lowered it, and what did before."""

    amount: Decimal
    money: Sequence[DrawStep] = ()
    reductions: Sequence[Reduction] = ()


class Due(NamedTuple):
    """When and where an amount falls due, who caused it, and of which sale that has refunds it is a part."""

    time: datetime
    site: str
    member: str | None
    sold: SoldPart | None = None


@dataclass(slots=True)
class Payables:
    """What lowers the amounts of an account, and the sums that this hangs on."""

    state: AccountState
    credit: Credit

    def of(self, lane: Lane, price: Price, key: TotalKey, amount: Decimal, due: Due) -> Payable:
        """Return what is left of the `amount` that a price asks for after caps, discounts and money grants."""
        reductions: list[Reduction] = []
        if price.day_cap is not None or price.period_cap is not None:
            amount, reductions = self._capped(lane, price, key, amount, due)
        if price.id in lane.minimums:
            minimum = (key.plan, price.id, key.member)
            self.state.capped[minimum] = self.state.capped.get(minimum, ZERO) + amount
        if lane.discounts:
            amount, more = self._discounted(lane.discounts, amount, due.time, lane.subscription)
            reductions += more
        steps = self.credit.pay(lane, amount, due.time, due.member, due.sold)
        if steps:
            amount -= sum([step.covered for step in steps], ZERO)
        return Payable(amount, steps, reductions)

    def in_full(self, lane: Lane, amount: Decimal) -> Payable:
        """Return an amount, not below 0, by a price of `lane.plain`: nothing lowers it."""
        if lane.falls:
            meter, paid = lane.meter.id, self.state.paid
            paid[meter] = paid.get(meter, ZERO) + amount
        return Payable(amount)

    def discounted(
        self, found: Sequence[Discount], amount: Decimal, time: datetime, subscription: Subscription | None
    ) -> Payable:
        """Return what is left of an amount that only the discounts in force at `time` lower."""
        left, reductions = self._discounted(found, amount, time, subscription)
        return Payable(left, (), reductions)

    def _capped(
        self, lane: Lane, price: Price, key: TotalKey, amount: Decimal, due: Due
    ) -> tuple[Decimal, list[Reduction]]:
        state, reductions = self.state, []
        day = (key, local_date(due.time, lane.catalog.site(due.site).timezone))
        tally = state.tallies[key]
        day_sum, period_sum = state.day_sums.get(day, ZERO), tally.day_capped
        after = capped(price, amount, day_sum=day_sum, period_sum=period_sum)
        if price.day_cap is not None:
            state.day_sums[day] = after.day_sum
        state.tallies[key] = tally._replace(day_capped=after.period_sum)
        of_day = after.period_sum - period_sum
        if of_day != amount:
            reductions.append(Reduction("day_cap", price.id, amount, of_day, day_sum, price.day_cap))
        if after.amount != of_day:
            reductions.append(Reduction("period_cap", price.id, of_day, after.amount, period_sum, price.period_cap))
        return after.amount, reductions

    def _discounted(
        self, found: Sequence[Discount], amount: Decimal, time: datetime, subscription: Subscription | None
    ) -> tuple[Decimal, list[Reduction]]:
        """Lower an amount by the discounts in force at `time`, in their order."""
        reductions = []
        for discount in found:
            if not discount.span.covers(time):
                continue
            name = f"{subscription.id if subscription is not None else ''}/{discount.id}"
            before, running = amount, self.state.discounted.get(name, ZERO)
            amount, self.state.discounted[name] = discounted(discount, before, running)
            if amount != before:
                reductions.append(
                    Reduction("discount", discount.id, before, amount, running, discount.amount, discount.rate)
                )
        return amount, reductions
