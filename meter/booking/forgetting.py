"""Removes authorisations that were over long ago: some at a time, beside rating. No bill depends on any."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from meter.clock import Clock, monotonic_s
from meter.store.authorizations import forget_closed
from meter.store.engine import Database

# A quarter of a year and a bit: as long as somebody asks about an invoice, and longer than an agent that was away for
# its spool's 35 days takes to tell the same answer once more.
AUTHORIZATIONS_KEPT: Final = timedelta(days=100)
INTERVAL_S: Final = 3_600.0
# Removed in one transaction: some tens of milliseconds.
ROWS_MAX: Final = 1_000


class Forgetter:
    """Any number may run side by side: each removes what no other has in hand."""

    def __init__(self, *, database: Database, operator: str, clock: Clock) -> None:
        """Prepare to look at once, and then each `INTERVAL_S`."""
        self._database = database
        self._operator = operator
        self._clock = clock
        self._next_s = monotonic_s()

    async def step(self) -> bool:
        """Remove a transaction's share where it is time to, and return whether there is more. Raises Unavailable."""
        if monotonic_s() < self._next_s:
            return False
        # Tried again later where it fails: nothing waits for it.
        self._next_s = monotonic_s() + INTERVAL_S
        before = self._clock() - AUTHORIZATIONS_KEPT
        async with self._database.begin() as connection:
            removed = await forget_closed(connection, self._operator, before=before, rows_max=ROWS_MAX)
        more = removed == ROWS_MAX
        if more:
            self._next_s = monotonic_s()
        return more
