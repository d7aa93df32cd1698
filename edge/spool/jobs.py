"""Who waits for the spool's writing thread, in order and within bounds. For one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from edge.spool.file import Act
from edge.spool.records import PUT_BYTES_MAX, Acknowledgement, Measurement, Put
from meter.model.errors import MeterError

# A commit of so many takes some 20 ms of a Raspberry Pi beside its fsync; what comes meanwhile is in the next.
BATCH_EVENTS_MAX: Final = 2_000
BATCH_BYTES_MAX: Final = PUT_BYTES_MAX
# What waits in memory beyond that waits in its collector's connection: some batches of small events, or some puts of
# the largest size, and far below the memory of the smallest machine.
QUEUE_EVENTS_MAX: Final = 10_000
QUEUE_BYTES_MAX: Final = 8 * 1024 * 1024

Work: TypeAlias = Put | Act | Acknowledgement | Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One caller and what is to be written for it."""

    work: Work
    done: asyncio.Future[Any]

    @property
    def events(self) -> int:
        """Return how many events it counts as."""
        return len(self.work.items) if isinstance(self.work, Put) else int(isinstance(self.work, Act))

    @property
    def bytes(self) -> int:
        """Return about how many bytes it holds."""
        return self.work.size if isinstance(self.work, Put) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """Something else for the writing thread, between two commits."""

    action: Callable[[], Any]
    done: asyncio.Future[Any]


class Jobs:
    """The queue. `refusal`: why nothing more is taken; `added` is set by whatever the writer may want to see."""

    def __init__(self) -> None:
        """Begin empty and open."""
        self._queue: deque[Job | Chore] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.events = 0
        self.bytes = 0
        self.refusal: MeterError | None = None
        self.added = asyncio.Event()

    def __len__(self) -> int:
        """Return how many wait to be written."""
        return len(self._queue)

    @property
    def waiting(self) -> int:
        """Return how many wait for room."""
        return len(self._waiting)

    async def write(self, work: Work) -> Any:
        """Return what became of it once it is written. Raises what it was refused with."""
        return await self._add(Job(work=work, done=asyncio.get_running_loop().create_future()))

    async def write_in_turn(self, work: Work) -> Any:
        """Wait for room first: what comes from devices, who wait themselves."""
        job = Job(work=work, done=asyncio.get_running_loop().create_future())
        while not self._fits(job):
            room = asyncio.get_running_loop().create_future()
            self._waiting.append(room)
            await room
        return await self._add(job)

    async def do(self, action: Callable[[], Any]) -> Any:
        """Return the action's result, done on the writing thread between two commits."""
        return await self._add(Chore(action=action, done=asyncio.get_running_loop().create_future()))

    def _fits(self, job: Job) -> bool:
        if not self._queue or self.refusal is not None:
            return True  # alone it is taken whatever its size; a refusal needs no room
        return self.events + job.events <= QUEUE_EVENTS_MAX and self.bytes + job.bytes <= QUEUE_BYTES_MAX

    async def _add(self, queued: Job | Chore) -> Any:
        if self.refusal is not None:
            raise self.refusal
        self._queue.append(queued)
        if isinstance(queued, Job):
            self.events += queued.events
            self.bytes += queued.bytes
        self.added.set()
        return await queued.done

    def take(self) -> Chore | list[Job]:
        """Return what is next: a chore, or the jobs of one commit.

        Those are in order, up to the next chore, and within the bounds but for the first. Who has gone is left out.
        """
        if isinstance(chore := self._queue[0], Chore):
            self._queue.popleft()
            # It may have been the last, for which somebody waits whose work is larger than the bounds.
            self._let_look()
            return chore
        jobs: list[Job] = []
        events = size = 0
        while self._queue and isinstance(job := self._queue[0], Job):
            events += job.events
            size += job.bytes
            if jobs and (events > BATCH_EVENTS_MAX or size > BATCH_BYTES_MAX):
                break
            self._queue.popleft()
            self.events -= job.events
            self.bytes -= job.bytes
            if not job.done.cancelled():
                jobs.append(job)
        self._let_look()
        return jobs

    def refuse(self, refusal: MeterError) -> None:
        """Take nothing more, and tell everybody who waits why."""
        self.refusal = refusal
        while self._queue:
            answer(self._queue.popleft().done, refusal)
        self.events = self.bytes = 0
        self._let_look()
        self.added.set()

    def _let_look(self) -> None:
        """Let those look again who wait for room, in their order."""
        waiting, self._waiting = self._waiting, deque()
        for room in waiting:
            answer(room, None)


def answer(future: asyncio.Future[Any], result: object) -> None:
    """Give the caller its result, or its error, unless it has gone."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
