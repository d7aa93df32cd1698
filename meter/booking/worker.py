"""The rating worker: takes new events and changed facts, and books what differs, in one transaction a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from meter import failpoints
from meter.booking.accounts import AccountFold, Accounts
from meter.booking.books import Books, keep_books, write_books
from meter.booking.facts import Facts, FactsCache
from meter.booking.shards import Held, Shards
from meter.booking.step import TURN, Intake, notice_earlier, release_due, sort_in
from meter.booking.turns import next_requests, put_off
from meter.clock import Clock
from meter.log import log
from meter.store import booking as store
from meter.store.closes import due_wakes, set_wakes
from meter.store.engine import Database
from meter.store.leases import LeaseKeeper, fence
from meter.store.shards import settle_shards, stay_settled
from meter.store.unread import change_unread
from meter.store.usage import Arrived, Cursor, read_tail
from meter.telemetry import Telemetry

# A transaction of about 100 ms when busy: long enough to carry its fixed cost, short enough to keep readers near.
STEP_EVENTS_MAX: Final = 1000
REFOLDS_MAX: Final = 200
HELD_MAX: Final = 200
WAKES_MAX: Final = 200
# An account whose fold fails is tried again after this long; its events wait, its neighbours do not.
FAILED_ACCOUNT_RETRY_S: Final = 60
# An event is live when it was received within this long of its time; only such tell how fast the way is.
LIVE_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """Where a step reads: the shards that stand at `start`, and the place where the next ones wait."""

    shards: frozenset[int]
    start: Cursor
    bound: Cursor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    """What there is to do at `now`; `end` is where the tail was read up to."""

    end: Cursor
    arrived: Sequence[Arrived]
    requests: Sequence[store.Refold]
    held_due: bool
    woken: Sequence[str]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What a step did: `end` is where its shards stand now.

    `arrived` is without what waits for its account's turn; those whose turn it was have `waited_s` for it.
    """

    end: Cursor
    arrived: Sequence[Arrived] = ()
    folds: Sequence[AccountFold] = ()
    books: Books = field(default_factory=Books)
    requests: int = 0
    waited_s: Sequence[float] = ()


class RatingWorker:
    """Rates the accounts of the shards whose leases this process holds.

    After any error everything kept in memory is dropped and read again.
    """

    def __init__(
        self,
        *,
        database: Database,
        operator: str,
        shards: int,
        leases: LeaseKeeper,
        telemetry: Telemetry,
        clock: Clock,
        booked: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare to rate `operator`; `booked` is called after each commit of charges."""
        self._database = database
        self._operator = operator
        self.shards = Shards(operator, shards, leases)
        self._telemetry = telemetry
        self._clock = clock
        self._booked = booked
        self.facts = FactsCache(operator)
        self._accounts = Accounts(operator)
        # The facts that were held when the tail was read last.
        self._read_by = -1
        self._cursors: dict[int, Cursor] = {}
        # As noted in the database, where this process has noted it.
        self._wakes: dict[str, datetime | None] = {}

    async def settle(self) -> None:
        """Have accounts divided as this process does from now on. Raises Unavailable while others do otherwise."""
        count = len(self.shards.lease_names)
        async with self._database.begin() as connection:
            former = await settle_shards(connection, self._operator, count)
        if former is not None:
            log.warning("rating_shards_changed", former=former, now=count)

    async def step(self) -> bool:
        """Do one transaction's work; return whether there was any, so that there may be more.

        Raises Unavailable where the database is away or a lease was lost; nothing was written then.
        """
        with self.shards.holding() as held:
            if not held.shards:
                self._forget()
                return False
            try:
                async with self._database.begin() as connection:
                    reading = await self._reading(connection, held.shards)
                    step = await self._step(connection, reading, held)
                    failpoints.reach("before_rating_commit")
            except BaseException:
                self._forget()
                raise
        failpoints.reach("after_rating_commit")
        for shard in reading.shards:
            self._cursors[shard] = step.end
        self._tell(step)
        if step.books.charges or step.books.entries or step.books.closed:
            self._booked()
        return step.end != reading.start or step.requests > 0

    def _forget(self) -> None:
        """Drop everything that is true only while this process is the one that writes."""
        self._accounts.forget()
        self._cursors.clear()
        self._wakes.clear()

    async def _reading(self, connection: AsyncConnection, shards: frozenset[int]) -> _Reading:
        """Return where to read: shards go together, and one taken over lately alone until it has caught up."""
        if self._cursors.keys() != shards:
            self._accounts.forget()
            self._cursors = await store.read_cursors(connection, self._operator, shards)
        places = sorted(set(self._cursors.values()))
        behind = frozenset(shard for shard, cursor in self._cursors.items() if cursor == places[0])
        return _Reading(shards=behind, start=places[0], bound=places[1] if len(places) > 1 else None)

    async def _news(self, connection: AsyncConnection, reading: _Reading) -> _News:
        arrived = await read_tail(connection, self._operator, reading.start, events_max=STEP_EVENTS_MAX)
        if reading.bound is not None:
            arrived = [one for one in arrived if one.cursor <= reading.bound]
        requests = [
            request
            for request in await store.due_refolds(connection, self._operator, rows_max=REFOLDS_MAX)
            if self.shards.of(request.account) in reading.shards
        ]
        now = self._clock()
        held_due = 0 in reading.shards and await store.any_held_due(connection, self._operator, now)
        woken = [
            account
            for account in await due_wakes(connection, self._operator, now, rows_max=WAKES_MAX)
            if self.shards.of(account) in reading.shards
        ]
        end = arrived[-1].cursor if arrived else reading.bound or reading.start
        return _News(end=end, arrived=arrived, requests=requests, held_due=held_due, woken=woken, now=now)

    async def _step(self, connection: AsyncConnection, reading: _Reading, held: Held) -> _Step:
        news = await self._news(connection, reading)
        if news.end == reading.start and not (news.requests or news.held_due or news.woken):
            return _Step(end=news.end)
        # Before the fence: whoever changes facts for long would keep every lease of the process from being renewed.
        facts = await self.facts.current(connection)
        if facts is None:
            return _Step(end=reading.start)
        if facts.version != self._read_by:
            # Read while they changed, it may name whom nothing names any more.
            news = await self._news(connection, reading)
            self._read_by = facts.version
        await fence(connection, held.leases)
        arrived, requests, held_due, woken, now = news.arrived, news.requests, news.held_due, news.woken, news.now
        await stay_settled(connection, self._operator, len(self.shards.lease_names))
        waiting = frozenset(request.account for request in requests)
        requests = await next_requests(connection, self._operator, facts, requests)
        # First, because what fails below asks again.
        await store.delete_refolds(connection, self._operator, [request.id for request in requests])
        intake = Intake(woken=set(woken))
        for request in requests:
            intake.again(request.account, request.since, request.reason)
        if held_due:
            await release_due(connection, self._operator, facts, intake, now=now, events_max=HELD_MAX)
        fresh = [one.event for one in arrived if not one.held]
        await sort_in(
            connection,
            self._operator,
            fresh,
            facts,
            intake,
            mine=lambda name: self.shards.of(name) in reading.shards,
        )
        await notice_earlier(connection, self._operator, fresh, facts)
        xid_of = {one.event.key: one.cursor.xid for one in arrived}
        self._accounts.make_room()
        postponed = await put_off(
            connection,
            self._operator,
            facts,
            intake,
            self._accounts.cold(intake, xid_of),
            waiting=waiting,
            now=now,
        )
        folds = await self._accounts.fold(connection, facts, intake, xid_of, until=now)
        await self._note_wakes(connection, folds, woken)
        failpoints.reach("accounts_folded")
        books = await self._write(connection, facts, intake, folds)
        failpoints.reach("charges_written")
        await store.write_cursors(connection, self._operator, reading.shards, news.end)
        return _Step(
            end=news.end,
            arrived=[one for one in arrived if one.event.key not in postponed],
            folds=folds,
            books=books,
            requests=len(requests) + int(held_due) + len(woken),
            waited_s=[request.waited_s for request in requests if request.reason == TURN],
        )

    async def _write(
        self, connection: AsyncConnection, facts: Facts, intake: Intake, folds: Sequence[AccountFold]
    ) -> Books:
        sound = [fold for fold in folds if fold.fault is None]
        books = await keep_books(
            connection, self._operator, sound, facts, booked_at=self._clock(), closes_of=self._accounts.closes
        )
        await write_books(connection, self._operator, books)
        self._accounts.closes_booked(books.closed)
        changes = [fold.unread for fold in sound if fold.unread is not None]
        await change_unread(connection, self._operator, changes)
        for fold in folds:
            if fold.fault is not None:
                await store.request_refold(
                    connection,
                    self._operator,
                    account=fold.warm.account,
                    since=fold.since,
                    reason="its fold failed",
                    delay_s=FAILED_ACCOUNT_RETRY_S,
                )
        await store.unpark(connection, self._operator, intake.unpark)
        await store.park(connection, self._operator, intake.park)
        return books

    async def _note_wakes(
        self, connection: AsyncConnection, folds: Sequence[AccountFold], woken: Sequence[str]
    ) -> None:
        """Note when the clock makes the next difference to each account that was folded."""
        wakes: dict[str, datetime | None] = dict.fromkeys(woken)
        for fold in folds:
            if fold.folded is not None:
                wakes[fold.warm.account] = fold.folded.wakes
            else:  # asked for again, which notes it then
                wakes.setdefault(fold.warm.account)
        changed = {
            account: due for account, due in wakes.items() if account in woken or self._wakes.get(account) != due
        }
        await set_wakes(connection, self._operator, changed)
        self._wakes.update(wakes)

    def _tell(self, step: _Step) -> None:
        now = self._clock()
        for one in step.arrived:
            age_s = (one.received_at - one.event.time).total_seconds()
            self._telemetry.rated(
                lag_s=(now - one.received_at).total_seconds(),
                live_s=(now - one.event.time).total_seconds() if 0 <= age_s < LIVE_S else None,
            )
        for waited_s in step.waited_s:
            self._telemetry.rated(lag_s=waited_s, live_s=None)
        self._telemetry.entries_suspended(sum(entry.suspense for entry in step.books.entries))
        for charge in step.books.charges:
            line = charge.line
            self._telemetry.charge_booked(meter=line.meter, kind=charge.kind, unpriced=line.unpriced)
        for fold in step.folds:
            if fold.fault is not None:
                self._telemetry.fold_failed(fault=fold.fault)
            elif fold.folded is not None:
                if fold.reason is not None:
                    self._telemetry.account_refolded(reason=fold.reason, differences=len(fold.differences))
                for unread in () if fold.unread is None else fold.unread.fresh:
                    self._telemetry.value_unread(
                        meter=unread.meter, code=unread.code, source=unread.source, event_id=unread.id
                    )
