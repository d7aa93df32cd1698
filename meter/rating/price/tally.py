"""What one price key carries from line to line within a billing period, and what a line adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from meter.model.money import ZERO


class Tally(NamedTuple):
    """The running state of one price key: Q and what else its model counts.

    `quantity`: Q in base units. `begun`: something has been priced, a line or the zero line; of a percentage, an event
    has paid. `events`: those that came, and `base`: the sum of their amounts, of a percentage. `day_capped`: the sum of
    the amounts after the day cap, which is S of the period cap.
    """

    quantity: Decimal = ZERO
    begun: bool = False
    events: int = 0
    base: Decimal = ZERO
    day_capped: Decimal = ZERO

    def to_row(self) -> list[str]:
        """Return the tally as strings for JSON: `from_row` gives back an equal one."""
        begun = "1" if self.begun else ""
        return [str(self.quantity), begun, str(self.events), str(self.base), str(self.day_capped)]

    @staticmethod
    def from_row(row: Sequence[str]) -> Tally:
        """Return the tally that `to_row` wrote."""
        quantity, begun, events, base, day_capped = row
        return Tally(Decimal(quantity), bool(begun), int(events), Decimal(base), Decimal(day_capped))


class Priced(NamedTuple):
    """The amount of a line before caps, and the tally after it."""

    amount: Decimal
    tally: Tally
