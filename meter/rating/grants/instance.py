"""An instance of a grant: an amount of credit with a span, and its place in the order of draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal, TypeAlias

from meter.model.catalog import Meter
from meter.model.directory import FOR_EVER, SINCE_ALWAYS
from meter.model.money import ZERO, covers_quantity

Origin: TypeAlias = Literal["plan", "given", "bought", "rollover", "refund"]


@dataclass(frozen=True, kw_only=True)
class Instance:
    """An amount of credit in force in [effective, expires) (None: always, never), in seconds for a unit of time.

    `member` None: the account's pool. `meters` None: any meter that it can cover. `subscription` None: given. `rolls`:
    what is left of it, at most that, goes on until `lasts`. `rolled_from`: it is itself what was left of that instance,
    at most `amount`, of which the other had `rolled_amount`. `rank` is its place in the order of draws.
    """

    id: str
    origin: Origin
    subscription: str | None
    member: str | None
    unit: str
    amount: Decimal
    meters: tuple[str, ...] | None
    effective: datetime | None
    expires: datetime | None
    priority: int
    rolls: Decimal | None = None
    lasts: datetime = FOR_EVER
    rolled_from: str | None = None
    rolled_amount: Decimal = ZERO
    rank_as: Instance | None = None
    age: int = 0

    @cached_property
    def rank(self) -> tuple[Any, ...]:
        """Return priority, sooner expiry, the member's own before the pool, earlier effective, id.

        What rolled over stands just before the period's own, the oldest first.
        """
        own = self.rank_as or self
        return (
            own.priority,
            own.expires or FOR_EVER,
            own.member is None,
            own.effective or SINCE_ALWAYS,
            own.id,
            self.age == 0,
            -self.age,
        )

    def in_force(self, instant: datetime) -> bool:
        """Tell whether `instant` lies in [effective, expires)."""
        return (self.effective is None or self.effective <= instant) and (
            self.expires is None or instant < self.expires
        )

    def granted(self, used: Mapping[str, Decimal]) -> Decimal:
        """Return how much it holds in all, given what was used of every instance."""
        if self.rolled_from is None:
            return self.amount
        return max(ZERO, min(self.amount, self.rolled_amount - used.get(self.rolled_from, ZERO)))


def in_scope(instance: Instance, meter: Meter) -> bool:
    """Tell whether the instance is for usage of `meter`: it names the meter or any, and can cover its unit."""
    if instance.meters is not None and meter.id not in instance.meters:
        return False
    return instance.unit == meter.unit or not covers_quantity(instance.unit)
