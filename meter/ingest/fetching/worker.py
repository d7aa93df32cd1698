"""Asks vendors for what their notices named and polls those that send nothing (decision 0011).

    due ─▶ request (pure) ─▶ transport ─▶ read (pure) ─▶ batcher ─▶ commit ─▶ off the list, or the cursor moved (fenced)
      ▲                          └─ no answer ─▶ due again, later each time
      └── a notice in this process wakes the lane at once; one of another is seen by the next look

One lane a source: a vendor is never asked twice at once, and one that asks for time (Retry-After) is left alone with
everything. A kill anywhere repeats a request whose events are then duplicates. Whoever holds the lease runs every lane.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from meter.clock import Clock, Ticks, monotonic_s, now
from meter.ingest.arrival import Arrival, Channel, Receipt
from meter.ingest.setups import Sources
from meter.log import log
from meter.model.errors import BadInput, Unavailable
from meter.model.wire import BODY_BYTES_MAX, Parsed
from meter.sources.make import refused
from meter.sources.setups import ConfiguredSource
from meter.sources.spec import Answer, Feed, Request, Setup
from meter.sources.spec import Transport as TransportName
from meter.store.drafts import APPLIED_MAX, apply_open
from meter.store.engine import Database
from meter.store.fetching import (
    DueFetch,
    FeedRow,
    backlogs,
    defer_fetch,
    due_fetches,
    feed_rows,
    save_feed,
    settle_fetch,
)
from meter.store.leases import Lease, LeaseKeeper, LeaseLost, fence
from meter.telemetry import Telemetry
from meter.transport.asking.retry import PAUSE_S_MAX, SPREAD, asked, pause_s, wanted_s
from meter.transport.asking.transport import Declined, Transport
from meter.transport.reading import Read, guarded

Receive = Callable[[Sequence[Arrival]], Awaitable[Sequence[Receipt]]]

# Notices of another process are seen, and polls come due, within this.
LOOK_INTERVAL_S: Final = 1.0
# A source's lane takes so many objects or pages before it looks around; the rest waits for the next turn.
OBJECTS_A_TURN_MAX: Final = 50
PAGES_A_TURN_MAX: Final = 50
# The list is counted, and the lease looked after, this often.
_MEASURE_INTERVAL_S: Final = 2.0
# A database that is away is asked again after so long; a fault of ours is most likely met again.
_RECOVERY_PAUSE_S: Final = 1.0
_FAULT_PAUSE_S: Final = 30.0


class SourceWorker:
    """Every source's lane, for as long as this process holds the lease. Run it; cancel it to stop."""

    def __init__(
        self,
        database: Database,
        *,
        operator: str,
        sources: Sources,
        leases: LeaseKeeper,
        receive: Receive,
        transports: Mapping[TransportName, Transport],
        telemetry: Telemetry,
        applied: Callable[[], None] = lambda: None,
        clock: Clock = now,
        ticks: Ticks = monotonic_s,
    ) -> None:
        """Prepare. `receive` stores arrivals and returns after the commit; `transports` are the ways to ask.

        `applied` is called when a draft has changed the directory. `ticks` gives seconds that never go backwards.
        """
        self._database = database
        self._operator = operator
        self._leases = leases
        self._receive = receive
        self._transports = transports
        self._telemetry = telemetry
        self._applied = applied
        self._clock = clock
        self._ticks = ticks
        self.lease_name = f"sources/{operator}"
        self._asked = [source for source in sources if source.vendor.fetches or source.vendor.feeds]
        self._drafting = {(source.setup.vendor, source.setup.name) for source in sources if source.apply_drafts}
        self._news = asyncio.Event()
        # When a vendor that asked for time wants to be asked again, whatever of it is due: lost with the process, and
        # then it says so again.
        self._not_before_s: dict[tuple[str, str], float] = {}

    @property
    def idle(self) -> bool:
        """Tell whether no configured source is ever asked, and none has its drafts applied."""
        return not self._asked and not self._drafting

    def wake(self) -> None:
        """Look at once: a notice was stored."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def run(self) -> None:
        """Run the lanes whenever the lease is held."""
        self._leases.want([self.lease_name], gained=lambda: None)
        while True:
            held = self._leases.held([self.lease_name])
            if not held or self.idle:
                await asyncio.sleep(LOOK_INTERVAL_S)
                continue
            await self._hold(held[0])

    async def _hold(self, lease: Lease) -> None:
        turns: dict[str, Callable[[Lease], Awaitable[float]]] = {
            f"{source.setup.vendor}/{source.setup.name}": partial(self.turn, source) for source in self._asked
        }
        if self._drafting:
            turns["drafts"] = self.apply
        lanes = [asyncio.create_task(self._lane(name, turn, lease)) for name, turn in turns.items()]
        try:
            while self._leases.held([self.lease_name]) == [lease] and not any(lane.done() for lane in lanes):
                await self._measure()
                await asyncio.wait(lanes, timeout=_MEASURE_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.wait(lanes)

    async def _measure(self) -> None:
        """Show what is still to be fetched and when each source was last polled."""
        with suppress(Unavailable):
            async with self._database.begin() as conn:
                waiting, rows = await backlogs(conn, self._operator), await feed_rows(conn, self._operator)
            pending = {source.setup.vendor: 0 for source in self._asked}
            for backlog in waiting:
                pending[backlog.vendor] = pending.get(backlog.vendor, 0) + backlog.objects
            self._telemetry.sources_measured(
                pending=pending, polled={(r.vendor, r.name): r.polled_at.timestamp() for r in rows if r.polled_at}
            )

    async def _lane(self, name: str, turn: Callable[[Lease], Awaitable[float]], lease: Lease) -> None:
        """Take one turn after the other until the lease is lost."""
        while True:
            news = self._news  # what is stored from here on wakes the lane
            try:
                wait_s = await turn(lease)
            except LeaseLost:
                return
            except Unavailable as error:
                log.warning("source_waits", source=name, detail=error.detail)
                wait_s = _RECOVERY_PAUSE_S
            except Exception:  # noqa: BLE001 -- one source's fault must not end the others
                log.exception("source_failed", source=name)
                wait_s = _FAULT_PAUSE_S
            if wait_s > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await news.wait()

    async def turn(self, source: ConfiguredSource, lease: Lease) -> float:
        """Do what is due of a source; return the seconds until it should be looked at again.

        Raises LeaseLost, Unavailable.
        """
        setup, moment = source.setup, self._clock()
        async with self._database.begin() as conn:
            due = await due_fetches(
                conn,
                self._operator,
                setup.vendor,
                setup.name,
                now=moment,
                later=moment + timedelta(seconds=PAUSE_S_MAX),
                objects_max=OBJECTS_A_TURN_MAX,
            )
            of_source = await feed_rows(conn, self._operator, (setup.vendor, setup.name))
        rows = {row.feed: row for row in of_source}
        for fetch in due:
            if self._rests(source):
                return LOOK_INTERVAL_S
            await self._fetch(source, fetch, lease)
        busy = len(due) == OBJECTS_A_TURN_MAX
        if setup.fetched or source.vendor.polls_without_key:
            for name, feed in source.vendor.feeds.items():
                if not feed.polled(setup):
                    continue
                row = rows.get(name) or _first(source, name, moment)
                if _due(row, moment, source.every_s or feed.every_s) and not self._rests(source):
                    busy |= await self._poll(source, feed, row, lease)
        return 0.0 if busy else LOOK_INTERVAL_S

    async def apply(self, lease: Lease) -> float:
        """Apply what vendors say of the directory, for sources set to; return the seconds until the next look.

        Raises LeaseLost, Unavailable.
        """
        async with self._database.begin() as conn:
            await fence(conn, [lease])
            decided = await apply_open(conn, self._operator, self._drafting, now=self._clock())
        if any(one.outcome for one in decided):
            self._applied()
        return 0.0 if len(decided) == APPLIED_MAX else LOOK_INTERVAL_S

    # --- objects ------------------------------------------------------------------------------------------------------

    async def _fetch(self, source: ConfiguredSource, due: DueFetch, lease: Lease) -> None:
        setup, fetch = source.setup, source.vendor.fetches.get(due.kind)
        origin = f"{setup.vendor}/{setup.name}/{due.kind}/{due.object}"
        body = b""
        try:
            if fetch is None or not setup.fetched:
                reason = "api_key is not set" if fetch is not None else f"nothing fetches a {due.kind[:40]!r}"
                message = f"{setup.vendor} {setup.name}: {reason}; see docs/sources.md"
                raise Declined(message)
            answer = await self._ask(source, partial(fetch.request, setup, due.wanted))
            body = answer.body[:BODY_BYTES_MAX]
            items = _guarded(setup, partial(fetch.read, setup, due.wanted, answer)).items
        except (BadInput, Unavailable) as error:
            if body and isinstance(error, BadInput):
                await self._store(source, [refused(error, body)], channel="fetch", origin=origin)
            self._telemetry.source_asked(vendor=setup.vendor, outcome=_outcome(error))
            due_at = self._later(source, error, due.attempts)
            async with self._database.begin() as conn:
                await fence(conn, [lease])
                await defer_fetch(
                    conn, self._operator, setup.vendor, setup.name, due, due_at=due_at, fault=error.detail
                )
            return
        await self._store(source, items, channel="fetch", origin=origin)
        async with self._database.begin() as conn:
            await fence(conn, [lease])
            await settle_fetch(conn, self._operator, setup.vendor, setup.name, due)
        self._telemetry.source_asked(vendor=setup.vendor, outcome="answered")

    # --- polls --------------------------------------------------------------------------------------------------------

    async def _poll(self, source: ConfiguredSource, feed: Feed, row: FeedRow, lease: Lease) -> bool:
        """Poll page by page; tell whether there is more at once."""
        setup = source.setup
        origin = f"{setup.vendor}/{setup.name}/{row.feed}"
        for _ in range(PAGES_A_TURN_MAX):
            body = b""
            try:
                answer = await self._ask(source, partial(feed.request, setup, row.cursor, self._clock()))
                body = answer.body[:BODY_BYTES_MAX]
                page = _guarded(setup, partial(feed.read, setup, row.cursor, answer))
            except (BadInput, Unavailable) as error:
                if body and isinstance(error, BadInput):
                    await self._store(source, [refused(error, body)], channel="poll", origin=origin)
                self._telemetry.source_asked(vendor=setup.vendor, outcome=_outcome(error))
                due_at = self._later(source, error, row.failures)
                await self._save(replace(row, failures=row.failures + 1, fault=error.detail, due_at=due_at), lease)
                return False
            await self._store(source, page.items, channel="poll", origin=origin)
            every_s = source.every_s or feed.every_s
            moment = self._clock()
            due_at = moment if page.more else moment + timedelta(seconds=every_s)
            row = replace(row, cursor=page.cursor, due_at=due_at, polled_at=moment, failures=0, fault=None)
            await self._save(row, lease)
            self._telemetry.source_asked(vendor=setup.vendor, outcome="answered")
            if not page.more:
                return False
        return True

    async def _save(self, row: FeedRow, lease: Lease) -> None:
        async with self._database.begin() as conn:
            await fence(conn, [lease])
            await save_feed(conn, self._operator, row)

    # --- both ---------------------------------------------------------------------------------------------------------

    async def _ask(self, source: ConfiguredSource, make: Callable[[], Request]) -> Answer:
        """Return the answer. Raises BadInput and Unavailable only: what fails is due later, behind the others."""
        request = _guarded(source.setup, make)
        transport = self._transports.get(request.over)
        if transport is None:
            message = f"{source.setup.vendor} is asked by {request.over}, which this gateway does not do"
            raise Declined(message)
        return await asked(transport, source.setup, request)

    async def _store(self, source: ConfiguredSource, items: Sequence[Parsed], *, channel: Channel, origin: str) -> None:
        """Return after the commit. Raises Unavailable, where the same is asked for again."""
        if not items:
            return
        setup, received_at = source.setup, self._clock()
        await self._receive(
            [
                Arrival(
                    parsed=item,
                    channel=channel,
                    origin=origin,
                    received_at=received_at,
                    site=setup.site,
                    told_by=(setup.vendor, setup.name),
                )
                for item in items
            ]
        )

    def _rests(self, source: ConfiguredSource) -> bool:
        """Tell whether the vendor has asked for time that is not over."""
        until_s = self._not_before_s.get((source.setup.vendor, source.setup.name))
        return until_s is not None and self._ticks() < until_s

    def _later(self, source: ConfiguredSource, error: BadInput | Unavailable, attempts: int) -> datetime:
        """Return when to ask again: doubled pauses, spread, and never before the vendor wants."""
        wait_s = pause_s(error, attempts, spread=random.uniform(*SPREAD))  # noqa: S311 -- spreads retries
        if wanted := wanted_s(error):
            key = source.setup.vendor, source.setup.name
            self._not_before_s[key] = self._ticks() + wanted
        return self._clock() + timedelta(seconds=wait_s)


def _due(row: FeedRow, moment: datetime, every_s: float) -> bool:
    """Tell whether to poll; what is due later than it ever is made was due by a clock that has been set back."""
    longest_s = PAUSE_S_MAX if row.failures else every_s
    return not moment < row.due_at <= moment + timedelta(seconds=longest_s)


def _guarded(setup: Setup, read: Callable[[], Read]) -> Read:
    return guarded(read, vendor=setup.vendor, source=setup.name)


def _first(source: ConfiguredSource, feed: str, moment: datetime) -> FeedRow:
    return FeedRow(
        vendor=source.setup.vendor,
        name=source.setup.name,
        feed=feed,
        cursor=None,
        due_at=moment,
        polled_at=None,
        failures=0,
        fault=None,
    )


def _outcome(error: BadInput | Unavailable) -> str:
    if isinstance(error, Unavailable):
        return "unavailable"
    return "declined" if isinstance(error, Declined) else "unreadable"
