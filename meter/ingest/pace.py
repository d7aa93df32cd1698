"""Agents are told what is committed no faster than it is rated.

A site that was offline for a week sends as fast as it is told, and storing an event is less work than rating it. What
its doors do meanwhile would be rated behind all of that, minutes later. So the word that lets an agent send more waits
while much is stored and not yet rated; nobody else's does, for an agent's devices were answered long ago.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from meter.clock import monotonic_s
from meter.model.errors import Unavailable
from meter.store.engine import Database
from meter.store.progress import unrated

# Two steps of rating, so that it never waits for more; half a second of its work.
UNRATED_EVENTS_MAX: Final = 2_000
# Nobody rates here at the moment, or many sites come back at once: an agent sends again after ten seconds.
HOLD_S_MAX: Final = 5.0
# A step of rating takes a tenth of a second.
_LOOK_S: Final = 0.1


class Pace:
    """Tells agents to go on. However many wait, the database is asked ten times a second."""

    def __init__(self, database: Database, *, operator: Callable[[], Awaitable[str]]) -> None:
        """Ask nothing yet."""
        self._database = database
        self._operator = operator
        self._looking = asyncio.Lock()
        self._looked_s: float | None = None
        self._behind = False

    async def keep(self) -> None:
        """Return once little waits to be rated, after `HOLD_S_MAX` in any case."""
        until_s = monotonic_s() + HOLD_S_MAX
        while await self._is_behind() and monotonic_s() < until_s:  # noqa: ASYNC110 -- another process may rate
            await asyncio.sleep(_LOOK_S)

    async def _is_behind(self) -> bool:
        async with self._looking:
            if self._looked_s is None or monotonic_s() - self._looked_s >= _LOOK_S:
                self._behind = await self._look()
                self._looked_s = monotonic_s()
        return self._behind

    async def _look(self) -> bool:
        try:
            operator = await self._operator()
            async with self._database.begin() as connection:
                return await unrated(connection, operator) > UNRATED_EVENTS_MAX
        except Unavailable:
            return False  # what is committed is committed
