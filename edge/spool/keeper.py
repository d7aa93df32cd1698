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
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from edge import failpoints
from edge.spool.errors import SpoolFailed
from edge.spool.file import Act, Batch, Committed, Spool
from edge.spool.jobs import Chore, Job, Jobs, answer
from edge.spool.records import Acknowledgement, Depth, Item, Measurement, Place, Put, Stored, Stretch
from edge.spool.spans import Run
from edge.spool.state import State
from edge.spool.transaction import Transaction
from meter.model.errors import MeterError, Unavailable

T = TypeVar("T")

# What is to be removed is hours old; devices are never kept waiting for it for long.
_UPKEEP_S: Final = 60.0


class Keeper:
    """Use as `async with Keeper(spool) as keeper`; it closes the spool. Belongs to one event loop.

    `on_commit` are called on the loop after each commit that stored, let go or reopened something: hints, which must
    not raise. `failed` is done once the spool has failed: the process then ends by `errors.leave`.
    """

    def __init__(self, spool: Spool) -> None:
        """Keep for `spool`, which nobody else uses any more."""
        self._spool = spool
        self._jobs = Jobs()
        self._in_hand: list[asyncio.Future[Any]] = []
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
        put = Put(items=tuple(items), positions=positions or {})
        places: tuple[Place, ...] = await self._jobs.write_in_turn(put)
        return places

    async def act(self, action: Callable[[Transaction], T]) -> T:
        """Write something beside the events, all or nothing, and return the result: it is on the disk then.

        Waits and raises as `put` does.
        """
        result: T = await self._jobs.write_in_turn(Act(action=action))
        return result

    async def acknowledge(self, boot: int, up_to: int, also: Iterable[int] = ()) -> None:
        """Let go of what the gateway has committed. Raises Full or Unavailable where that could not be written."""
        await self._jobs.write(Acknowledgement(boot=boot, up_to=up_to, also=tuple(also)))

    async def measure(self, measurement: Measurement) -> None:
        """Keep what an instant of a machine's boot truly was."""
        await self._jobs.write(measurement)

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
        stopping = Unavailable("the agent stops: nothing more is taken", code="stopping")
        self._jobs.refusal = self._jobs.refusal or stopping
        self._jobs.added.set()
        if self._tasks:
            writing, tending = self._tasks
            tending.cancel()
            await asyncio.gather(writing, tending, return_exceptions=True)
            self._tasks = []
        self._jobs.refuse(self._jobs.refusal)
        self._reading.shutdown()
        await asyncio.get_running_loop().run_in_executor(self._writing, self._spool.close)
        self._writing.shutdown()

    # --- the writing thread -------------------------------------------------------------------------------------------

    async def _chore(self, action: Callable[[], T]) -> T:
        result: T = await self._jobs.do(action)
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
        while self._failure is None:
            if self._jobs:
                await self._write_next()
            elif self._jobs.refusal is not None:
                return  # closing
            else:
                self._jobs.added.clear()
                await self._jobs.added.wait()

    async def _write_next(self) -> None:
        taken = self._jobs.take()
        if isinstance(taken, Chore):
            self._in_hand = [taken.done]
            await self._do(taken)
        else:
            self._in_hand = [job.done for job in taken]
            await self._commit(taken)

    async def _on_thread(self, action: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writing, action)

    async def _commit(self, jobs: list[Job]) -> None:
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
                answer(job.done, error)
            return
        self.commits += 1
        self._tell(jobs, committed)
        failpoints.reach("after_told")
        await self._tend()

    def _tell(self, jobs: list[Job], committed: Committed) -> None:
        outcomes, results = iter(committed.outcomes), iter(committed.results)
        for job in jobs:
            kind = type(job.work)
            answer(job.done, next(outcomes) if kind is Put else next(results) if kind is Act else None)
        self._hint()

    def _hint(self) -> None:
        for hook in self.on_commit:
            hook()

    async def _tend(self) -> None:
        try:
            await self._on_thread(self._spool.tend)
        except SpoolFailed as failure:
            self._fail(failure)

    async def _do(self, chore: Chore) -> None:
        if chore.done.cancelled():
            return
        try:
            result = await self._on_thread(chore.action)
        except SpoolFailed as failure:
            self._fail(failure)
        except MeterError as error:
            answer(chore.done, error)
        else:
            answer(chore.done, result)
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

    def _fail(self, failure: SpoolFailed) -> None:
        self._failure = self._failure or failure
        for done in self._in_hand:
            answer(done, failure)
        self._jobs.refuse(self._failure)
        self.failed.set()
