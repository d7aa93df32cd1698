"""The spool for everything that runs on the event loop: one thread writes, whoever waits is committed together.

    put ─┐                       ┌─ places, or Full
    put ─┼▶ queue ─▶ one commit ─┼─ places
    ack ─┘   ▲          │        └─ let go
             └ fills while it runs

Nothing waits for company: a commit begins as soon as the one before has ended, with all that is there by then. A lone
event costs one fsync, a hundred that came during one cost one as well.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar

from edge import failpoints
from edge.spool.errors import SpoolFailed
from edge.spool.file import Act, Batch, Committed, Spool
from edge.spool.records import PUT_BYTES_MAX, Acknowledgement, Depth, Item, Measurement, Place, Put, Stored, Stretch
from edge.spool.spans import Run
from edge.spool.state import State
from edge.spool.transaction import Transaction
from meter.model.errors import MeterError, Unavailable

T = TypeVar("T")

# A commit of so many takes some 20 ms of a Raspberry Pi beside its fsync; what comes meanwhile is in the next.
BATCH_EVENTS_MAX: Final = 2_000
BATCH_BYTES_MAX: Final = PUT_BYTES_MAX
# What waits in memory beyond that waits in its collector's connection: some batches of small events, or some puts of
# the largest size, and far below the memory of the smallest machine.
QUEUE_EVENTS_MAX: Final = 10_000
QUEUE_BYTES_MAX: Final = 8 * 1024 * 1024
# What is to be removed is hours old; devices are never kept waiting for it for long.
_UPKEEP_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One caller and what is to be written for it."""

    work: Put | Act | Acknowledgement | Measurement
    done: asyncio.Future[Any]

    @property
    def events(self) -> int:
        return len(self.work.items) if isinstance(self.work, Put) else int(isinstance(self.work, Act))

    @property
    def bytes(self) -> int:
        return self.work.size if isinstance(self.work, Put) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chore:
    """Something else for the writing thread, between two commits."""

    action: Callable[[], Any]
    done: asyncio.Future[Any]


_Queued: TypeAlias = _Job | _Chore


class Keeper:
    """Use as `async with Keeper(spool) as keeper`; it closes the spool. Belongs to one event loop.

    `on_commit` are called on the loop after each commit that stored, let go or reopened something: hints, which must
    not raise. `failed` is done once the spool has failed: the process then ends by `errors.leave`.
    """

    def __init__(self, spool: Spool) -> None:
        """Keep for `spool`, which nobody else uses any more."""
        self._spool = spool
        self._queue: deque[_Queued] = deque()
        self._queued_events = 0
        self._queued_bytes = 0
        self._in_hand: list[asyncio.Future[Any]] = []
        self._room: deque[asyncio.Future[None]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._failure: SpoolFailed | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._writing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool-write")
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool-read")
        self.on_commit: list[Callable[[], None]] = []
        self.failed = asyncio.Event()
        self.commits = 0
        self.unchecked = spool.opening.unchecked

    async def __aenter__(self) -> Self:
        """Begin to write."""
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._tend_regularly())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is queued, then close."""
        await self.close()

    # --- what it holds ------------------------------------------------------------------------------------------------

    @property
    def boot(self) -> int:
        """Return the boot that new events get."""
        return self._spool.boot

    @property
    def depth(self) -> Depth:
        """Return how much waits for the gateway and how much is kept, as committed."""
        return self._spool.depth

    @property
    def last(self) -> Place | None:
        """Return the highest number given of the boot in use."""
        return self._spool.last

    @property
    def waiting_boots(self) -> list[int]:
        """Return the boots of which something waits, older first."""
        return self._spool.waiting_boots

    @property
    def kept(self) -> Mapping[int, Sequence[Run]]:
        """Return which sequences of each boot the gateway has acknowledged, as far as they are still here."""
        return self._spool.kept

    @property
    def proven(self) -> bool:
        """Return whether the gateway has acknowledged something to this process; until then not all is sent."""
        return self._spool.proven

    @property
    def failure(self) -> SpoolFailed | None:
        """Return why nothing is taken any more."""
        return self._failure

    async def unsent(self, boot: int, after: int, *, events_max: int, bytes_max: int) -> list[Stored]:
        """Return what waits of a boot after a sequence, in order, within these bounds (see `Spool.unsent`)."""

        def read() -> list[Stored]:
            return self._spool.unsent(boot, after, events_max=events_max, bytes_max=bytes_max)

        found = await self._read(read)
        if not found and boot == self._spool.boot and self._spool.is_held_back:
            try:
                await self._chore(self._spool.allow_first)
            except Unavailable:
                return []  # on a full disk what was there when the process began is sent first, and makes room
            found = await self._read(read)
        return found

    async def oldest(self) -> Stored | None:
        """Return the oldest event that waits."""
        return await self._read(self._spool.oldest)

    async def positions(self) -> Mapping[str, str]:
        """Return how far each collector has read, as stored with its last events."""
        return await self._read(self._spool.positions)

    async def read(self, action: Callable[[sqlite3.Connection, State], T]) -> T:
        """Return what `action` reads beside the events."""
        return await self._read(partial(self._spool.read, action))

    async def measurements(self) -> Mapping[str, Measurement]:
        """Return what was measured of machines' boots, by their names."""
        return await self._read(self._spool.measurements)

    # --- what changes it ----------------------------------------------------------------------------------------------

    async def put(self, items: Iterable[Item], positions: Mapping[str, str] | None = None) -> tuple[Place, ...]:
        """Store the events and positions, all or none, and return their numbers: they are safe then.

        Waits while the queue is full. Raises Full, BadInput, Unavailable: nothing of it is stored. Raises SpoolFailed:
        nobody knows. Cancelled, it is stored or not, as a whole.
        """
        job = self._job(Put(items=tuple(items), positions=positions or {}))
        await self._await_room(job)
        places: tuple[Place, ...] = await self._enqueue(job)
        return places

    async def act(self, action: Callable[[Transaction], T]) -> T:
        """Write something beside the events, all or nothing, and return the result: it is on the disk then.

        Waits and raises as `put` does.
        """
        job = self._job(Act(action=action))
        await self._await_room(job)
        result: T = await self._enqueue(job)
        return result

    async def acknowledge(self, boot: int, up_to: int, also: Iterable[int] = ()) -> None:
        """Let go of what the gateway has committed. Raises Full or Unavailable where that could not be written."""
        await self._enqueue(self._job(Acknowledgement(boot=boot, up_to=up_to, also=tuple(also))))

    async def measure(self, measurement: Measurement) -> None:
        """Keep what an instant of a machine's boot truly was."""
        await self._enqueue(self._job(measurement))

    async def replay(self, *, since: datetime | None = None, stretches: Iterable[Stretch] = ()) -> int:
        """Let what is kept wait for the gateway again (see `Spool.replay`), and return how many events it is."""
        return await self._chore(partial(self._spool.replay, since=since, stretches=stretches))

    async def upkeep(self) -> None:
        """Remove what was kept long enough and look at some more of a file that was not closed, in slices."""
        while await self._chore(self._spool.expire):
            pass
        after: int | None = 0
        while self.unchecked and after is not None:
            after = await self._read(partial(self._spool.check, after))
        self.unchecked = False

    async def close(self) -> None:
        """Write what is queued, close the spool and end the threads. After a failure only the threads."""
        self._closing = True
        self._wake.set()
        if self._tasks:
            writing, tending = self._tasks
            tending.cancel()
            await asyncio.gather(writing, tending, return_exceptions=True)
            self._tasks = []
        self._refuse_queued(Unavailable("the agent stops: nothing more is taken", code="stopping"))
        self._reading.shutdown()
        await asyncio.get_running_loop().run_in_executor(self._writing, self._spool.close)
        self._writing.shutdown()

    # --- the writing thread -------------------------------------------------------------------------------------------

    def _job(self, work: Put | Act | Acknowledgement | Measurement) -> _Job:
        return _Job(work=work, done=asyncio.get_running_loop().create_future())

    async def _await_room(self, job: _Job) -> None:
        while not self._fits(job):
            room = asyncio.get_running_loop().create_future()
            self._room.append(room)
            await room

    def _fits(self, job: _Job) -> bool:
        if not self._queue or self._failure is not None or self._closing:
            return True  # alone it is taken whatever its size; a refusal needs no room
        return (
            self._queued_events + job.events <= QUEUE_EVENTS_MAX and self._queued_bytes + job.bytes <= QUEUE_BYTES_MAX
        )

    async def _enqueue(self, queued: _Queued) -> Any:
        if self._failure is not None:
            raise self._failure
        if self._closing:
            raise Unavailable("the agent stops: nothing more is taken", code="stopping")
        self._queue.append(queued)
        if isinstance(queued, _Job):
            self._queued_events += queued.events
            self._queued_bytes += queued.bytes
        self._wake.set()
        return await queued.done

    async def _chore(self, action: Callable[[], T]) -> T:
        result: T = await self._enqueue(_Chore(action=action, done=asyncio.get_running_loop().create_future()))
        return result

    async def _read(self, action: Callable[[], T]) -> T:
        if self._failure is not None:
            raise self._failure
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reading, action)
        except SpoolFailed as failure:
            self._fail(failure)
            raise

    async def _write(self) -> None:
        try:
            await self._write_on()
        except Exception as error:  # noqa: BLE001  nobody else would hear of it, and every device would wait for ever
            self._fail(SpoolFailed(f"the spool's writer met what it does not know ({error!r}); the agent stops"))

    async def _write_on(self) -> None:
        while self._failure is None and not (self._closing and not self._queue):
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            if isinstance(chore := self._queue[0], _Chore):
                self._queue.popleft()
                self._in_hand = [chore.done]
                await self._do(chore)
            else:
                jobs = self._take()
                self._in_hand = [job.done for job in jobs]
                await self._commit(jobs)

    async def _on_thread(self, action: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writing, action)

    def _take(self) -> list[_Job]:
        """Return the jobs of the next commit: in order, up to the next chore, within the bounds but for the first."""
        jobs: list[_Job] = []
        events = size = 0
        while self._queue and isinstance(job := self._queue[0], _Job):
            events += job.events
            size += job.bytes
            if jobs and (events > BATCH_EVENTS_MAX or size > BATCH_BYTES_MAX):
                break
            self._queue.popleft()
            self._queued_events -= job.events
            self._queued_bytes -= job.bytes
            # Its caller has gone, and nothing is stored for nobody.
            if not job.done.cancelled():
                jobs.append(job)
        return jobs

    async def _commit(self, jobs: list[_Job]) -> None:
        self._make_room()
        if not jobs:
            return
        batch = Batch(
            puts=tuple(job.work for job in jobs if isinstance(job.work, Put)),
            acts=tuple(job.work for job in jobs if isinstance(job.work, Act)),
            acknowledgements=tuple(job.work for job in jobs if isinstance(job.work, Acknowledgement)),
            measurements=tuple(job.work for job in jobs if isinstance(job.work, Measurement)),
        )
        try:
            committed = await self._on_thread(partial(self._spool.commit, batch))
        except SpoolFailed as failure:
            self._fail(failure)
            return
        except MeterError as error:
            for job in jobs:
                _answer(job.done, error)
            return
        self.commits += 1
        self._tell(jobs, committed)
        failpoints.reach("after_told")
        await self._tend()

    def _tell(self, jobs: list[_Job], committed: Committed) -> None:
        outcomes, results = iter(committed.outcomes), iter(committed.results)
        for job in jobs:
            kind = type(job.work)
            _answer(job.done, next(outcomes) if kind is Put else next(results) if kind is Act else None)
        self._hint()

    def _hint(self) -> None:
        for hook in self.on_commit:
            hook()

    async def _tend(self) -> None:
        try:
            await self._on_thread(self._spool.tend)
        except SpoolFailed as failure:
            self._fail(failure)

    async def _do(self, chore: _Chore) -> None:
        if chore.done.cancelled():
            return
        try:
            result = await self._on_thread(chore.action)
        except SpoolFailed as failure:
            self._fail(failure)
        except MeterError as error:
            _answer(chore.done, error)
        else:
            _answer(chore.done, result)
            if result:
                self._hint()

    async def _tend_regularly(self) -> None:
        while self._failure is None:
            try:
                await self.upkeep()
            except SpoolFailed:
                return  # everybody was told
            except Unavailable:
                pass  # the disk is full or somebody holds the file: at the next turn
            await asyncio.sleep(_UPKEEP_S)

    def _make_room(self) -> None:
        """Let those look again who wait for room, in their order."""
        waiting, self._room = self._room, deque()
        for room in waiting:
            _answer(room, None)

    def _fail(self, failure: SpoolFailed) -> None:
        self._failure = self._failure or failure
        for done in self._in_hand:
            _answer(done, failure)
        self._refuse_queued(failure)
        self.failed.set()
        self._wake.set()

    def _refuse_queued(self, error: MeterError) -> None:
        while self._queue:
            _answer(self._queue.popleft().done, error)
        self._make_room()


def _answer(future: asyncio.Future[Any], result: object) -> None:
    """Give the caller its result, or its error, unless it has gone."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
