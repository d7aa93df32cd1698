"""Has what follows from Wi-Fi sessions stored: whose they are, where they were cut off, where they began.

    due ─▶ events of the session, revisions, restarts ─▶ what is missing (pure) ─▶ batcher ─▶ commit ─▶ off the list

Ids are made of what they say, so a kill anywhere repeats events that are duplicates then, and two that work at once (a
lease that was lost unnoticed) agree in the end: whatever either stores makes the session due again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.clock import Clock, now
from meter.ingest.arrival import Arrival, Receipt
from meter.log import log
from meter.model.errors import Unavailable
from meter.model.event import EventKey
from meter.model.wire import Parsed
from meter.rating.effective import effective
from meter.sources.wifi.sessions import Known, missing, void_id
from meter.store.engine import Database
from meter.store.leases import LeaseKeeper
from meter.store.thinning import thinned_of
from meter.store.usage import events_of_sessions, revisions_of
from meter.store.wifi import DERIVED, Due, doubtful, due_page, expand, restarts_of, settle

Receive = Callable[[Sequence[Arrival]], Awaitable[Sequence[Receipt]]]

# What another process stored is seen within this.
LOOK_INTERVAL_S: Final = 1.0
# After news so long for more: a flood of readings is looked at together, four times a second.
_GATHER_S: Final = 0.25
# A session has some hundred events, so a turn holds some ten thousand at most where all of them are doubtful.
SESSIONS_A_TURN_MAX: Final = 100
_ROWS_A_TURN_MAX: Final = 1_000
_RECOVERY_PAUSE_S: Final = 1.0
# A fault of ours is most likely met again.
_FAULT_PAUSE_S: Final = 30.0


class WifiSessions:
    """Looks at every session that is due, for as long as this process holds the lease. Run it; cancel it to stop."""

    def __init__(
        self, database: Database, *, operator: str, leases: LeaseKeeper, receive: Receive, clock: Clock = now
    ) -> None:
        """Prepare. `receive` stores arrivals and returns after the commit."""
        self._database = database
        self._operator = operator
        self._leases = leases
        self._receive = receive
        self._clock = clock
        self.lease_name = f"wifi/{operator}"
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Look soon: something was stored."""
        self._news.set()

    async def run(self) -> None:
        """Work whenever the lease is held."""
        self._leases.want([self.lease_name], gained=self.wake)
        while True:
            wait_s = LOOK_INTERVAL_S
            if self._leases.held([self.lease_name]):
                try:
                    self._news.clear()
                    if await self.turn():
                        continue
                except Unavailable as error:
                    log.warning("wifi_sessions_wait", detail=error.detail)
                    wait_s = _RECOVERY_PAUSE_S
                except Exception:  # noqa: BLE001 -- what is due stays due; the other parts go on
                    log.exception("wifi_sessions_failed")
                    await asyncio.sleep(_FAULT_PAUSE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
                    await asyncio.sleep(_GATHER_S)

    async def turn(self) -> bool:
        """Look at what is due, at most so much; tell whether there was anything. Raises Unavailable."""
        async with self._database.begin() as connection:
            due = await due_page(connection, self._operator, rows_max=_ROWS_A_TURN_MAX)
        told = [row for row in due if row.kind != "session"]
        if told:
            async with self._database.begin() as connection:
                await expand(connection, self._operator, told)
                await settle(connection, self._operator, told)
            return True
        if due:
            await self._look(due)
        return bool(due)

    async def _look(self, due: Sequence[Due]) -> None:
        async with self._database.begin() as connection:
            asked = await doubtful(connection, self._operator, [row.session for row in due])
        for first in range(0, len(asked), SESSIONS_A_TURN_MAX):
            async with self._database.begin() as connection:
                made = await self._missing(connection, asked[first : first + SESSIONS_A_TURN_MAX])
            if made:
                moment = self._clock()
                await self._receive(
                    [Arrival(parsed=item, channel=DERIVED, origin="wifi sessions", received_at=moment) for item in made]
                )
        async with self._database.begin() as connection:
            await settle(connection, self._operator, due)

    async def _missing(self, connection: AsyncConnection, sessions: Sequence[tuple[str, str]]) -> list[Parsed]:
        events = await events_of_sessions(connection, self._operator, sessions)
        told = [event for found in events.values() for event, _ in found]
        keys = {event.key for event in told}
        settled = await thinned_of(connection, self._operator, told)
        revisions = await revisions_of(connection, self._operator, keys)
        ours = {revision.target for revision in revisions if _is_ours(revision.key, revision.target)}
        others = [revision for revision in revisions if not _is_ours(revision.key, revision.target)]
        taken = {revision.target for revision in others if revision.data is None}
        nases = {
            (event.source, str(event.data["nas"]))
            for found in events.values()
            for event, _ in found
            if event.data.get("nas") is not None
        }
        restarts = await restarts_of(connection, self._operator, nases)
        made: list[Parsed] = []
        for (source, _), found in events.items():
            known = Known(
                source=source,
                facts=effective([event for event, is_derived in found if not is_derived], others),
                derived=[event for event, is_derived in found if is_derived],
                ours={key.id for key in ours if key.source == source},
                others={key.id for key in taken if key.source == source},
                thinned={key.id for key in settled if key.source == source},
                start_taken=any(event.key in taken and event.data.get("status") == "start" for event, _ in found),
            )
            made += missing(known, {nas: times for (of, nas), times in restarts.items() if of == source})
        return made


def _is_ours(key: EventKey, target: EventKey) -> bool:
    return key == EventKey(target.source, void_id(target.id))
