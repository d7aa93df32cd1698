"""Credit of a line: what covers its quantity, what lowers its amount, and what a negative one gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from meter.model.money import ZERO, is_currency
from meter.rating import grants
from meter.rating.facts import AccountFacts
from meter.rating.lane import Lane
from meter.rating.measure import Contribution
from meter.rating.state import AccountState, DrawStep, SoldPart, give_back, remember


@dataclass(slots=True)
class Credit:
    """The credit of an account, which changes with every draw."""

    facts: AccountFacts
    state: AccountState

    def cover(self, lane: Lane, part: Contribution, sold: SoldPart | None) -> Sequence[DrawStep]:
        """Draw credit for a positive quantity; `sold`: it is a part of a sale that has refunds."""
        order = self._order(lane, part.member, money=False) if self.state.returned else lane.orders.quantity
        if not order:
            return ()
        rate = grants.rate_of(lane.rates, part.dimensions) if lane.rates else None
        steps = grants.draw(order, self.state, part.quantity, part.event.time, rate=rate, per=lane.per)
        if lane.falls:
            for step in steps:
                remember(self.state.drawn, lane.meter.id, step, sold)
        return steps

    def uncover(self, lane: Lane, quantity: Decimal, total: Decimal) -> Sequence[DrawStep]:
        """A negative quantity first lowers what was priced (`total`), then returns draws, the last drawn first."""
        owed = -quantity - max(total, ZERO)
        return give_back(self.state, self.state.drawn, lane.meter.id, owed) if owed > ZERO else ()

    def pay(
        self, lane: Lane, amount: Decimal, time: datetime, member: str | None, sold: SoldPart | None
    ) -> Sequence[DrawStep]:
        """Draw money grants for a positive amount; a negative one first lowers what was paid, then returns draws."""
        state, meter = self.state, lane.meter.id
        steps: Sequence[DrawStep] = ()
        if amount > ZERO:
            order = self._order(lane, member, money=True) if state.returned else lane.orders.money
            if order:
                steps = grants.draw(order, state, amount, time)
                if lane.falls:
                    for step in steps:
                        remember(state.money, meter, step, sold)
        elif amount < ZERO and lane.falls:
            owed = -amount - max(state.paid.get(meter, ZERO), ZERO)
            if owed > ZERO:
                steps = give_back(state, state.money, meter, owed)
        if lane.falls:
            covered = sum([step.covered for step in steps], ZERO)
            state.paid[meter] = state.paid.get(meter, ZERO) + amount - covered
        return steps

    def _order(self, lane: Lane, member: str | None, *, money: bool) -> Sequence[grants.Instance]:
        """Return what may be drawn, the credit that refunds gave back among it."""
        found = [
            instance
            for name, one in self.state.returned.items()
            if (instance := grants.returned_instance(self.facts, name, one)) is not None
            and instance.member in {None, member}
            and grants.in_scope(instance, lane.meter)
            and (instance.unit == lane.currency if money else not is_currency(instance.unit))
        ]
        order = lane.orders.money if money else lane.orders.quantity
        return sorted([*order, *found], key=lambda instance: instance.rank)
