"""Arrivals to batches, bounded; nobody is told anything before the commit (decision 0007).

submit ──▶ queue (bounded: events, bytes) ──▶ batch (500 events, or 5 ms) ──▶ commit (2 side by side) ──▶ done(receipts)
             │ full: `submit` raises, whoever reads from a socket stops               │
             └────────────────────────── tried again until it commits ◀── Unavailable ┘
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from meter import failpoints
from meter.clock import monotonic_s
from meter.ingest.arrival import Arrival, Outcome, Receipt
from meter.log import log
from meter.model.errors import Unavailable

# Measured: 500 rows a transaction cost a tenth of single ones; beyond it little is won and everyone waits longer.
BATCH_EVENTS_MAX: Final = 500
# What a lone event waits for company. Under load batches fill while two commits are under way.
FLUSH_INTERVAL_S: Final = 0.005
# One commit waits for the disk while the other computes; more contend for the same rows.
COMMITS_MAX: Final = 2
# Two seconds at full speed: enough to ride out a checkpoint, little enough to hold in memory.
QUEUE_EVENTS_MAX: Final = 20_000
QUEUE_BYTES_MAX: Final = 64 * 1024 * 1024
_BACKOFF_FIRST_S: Final = 0.1
_BACKOFF_MAX_S: Final = 5.0
# How long a stopping gateway tries to write what it holds; the senders keep what it cannot.
DRAIN_S: Final = 10.0

Accept = Callable[[Sequence[Arrival]], Awaitable[Outcome]]
Done = Callable[[Sequence[Receipt]], None]


class QueueFull(Unavailable):
    """The queue holds as much as it may: read no more until `on_room`, or ask the sender to come back."""

    default_code = "overloaded"


# Stands in the place of a receipt until its part is written; never handed out.
_UNKNOWN: Final = Receipt(id=None, source=None, status="rejected")


class _Ticket:
    """What one submission waits for; its arrivals may end in several batches."""

    __slots__ = ("done", "missing", "receipts")

    def __init__(self, arrivals: int, done: Done) -> None:
        self.receipts: list[Receipt] = [_UNKNOWN] * arrivals
        self.missing = arrivals
        self.done = done


class _Part:
    """Arrivals of one ticket that go into one batch."""

    __slots__ = ("arrivals", "bytes", "offset", "ticket")

    def __init__(self, ticket: _Ticket, offset: int, arrivals: Sequence[Arrival]) -> None:
        self.ticket = ticket
        self.offset = offset
        self.arrivals = arrivals
        self.bytes = sum(len(arrival.parsed.body) for arrival in arrivals)


class Batcher:
    """Collects arrivals and has them accepted in batches. `run` does the work; stop it with `stop`.

    `on_room` callbacks are called when the queue has room again; `on_commit` ones after each commit.
    """

    def __init__(
        self,
        accept: Accept,
        *,
        queue_events_max: int = QUEUE_EVENTS_MAX,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
    ) -> None:
        """Start empty; nothing is written before `run`."""
        self._accept = accept
        self._events_max = queue_events_max
        self._bytes_max = queue_bytes_max
        self._parts: deque[_Part] = deque()
        self._events = 0  # queued and being written
        self._bytes = 0
        self._waiting = 0  # queued only
        self._committing = 0
        self._changed = asyncio.Event()
        self._stopped_at: float | None = None
        self.on_room: list[Callable[[], None]] = []
        self.on_commit: list[Callable[[Outcome], None]] = []

    @property
    def full(self) -> bool:
        """Tell whether `submit` would raise."""
        return self._events >= self._events_max or self._bytes >= self._bytes_max or self._stopped_at is not None

    def submit(self, arrivals: Sequence[Arrival], done: Done) -> None:
        """Queue `arrivals`; `done` is called with their receipts, in order, after the commit, or never.

        The last submission before the queue is full may overshoot by its own size. Raises QueueFull.
        """
        if self.full:
            message = f"{self._events} events wait to be written; send again shortly"
            raise QueueFull(message)
        ticket = _Ticket(len(arrivals), done)
        if not arrivals:
            done([])
            return
        was_empty = not self._parts
        for offset in range(0, len(arrivals), BATCH_EVENTS_MAX):
            part = _Part(ticket, offset, arrivals[offset : offset + BATCH_EVENTS_MAX])
            self._parts.append(part)
            self._events += len(part.arrivals)
            self._waiting += len(part.arrivals)
            self._bytes += part.bytes
        if was_empty or self._waiting >= BATCH_EVENTS_MAX:
            self._changed.set()

    async def receive(self, arrivals: Sequence[Arrival]) -> Sequence[Receipt]:
        """Return the receipts of `arrivals` after their commit. Raises QueueFull.

        A caller that gives up does not take its arrivals back: they may be stored, and are duplicates when sent again.
        """
        waiter: asyncio.Future[Sequence[Receipt]] = asyncio.get_running_loop().create_future()

        def done(receipts: Sequence[Receipt]) -> None:
            if not waiter.done():
                waiter.set_result(receipts)

        self.submit(arrivals, done)
        return await waiter

    async def run(self) -> None:
        """Write batches until `stop`, and then what is queued, for at most `DRAIN_S`."""
        async with asyncio.TaskGroup() as commits:
            while await self._batch_is_due():
                self._committing += 1
                commits.create_task(self._commit(self._take()))

    def stop(self) -> None:
        """Take no more; `run` ends when what is queued is written, or cannot be."""
        self._stopped_at = monotonic_s()
        self._changed.set()

    async def _batch_is_due(self) -> bool:
        """Wait for a batch; False when stopping with nothing queued.

        A full one may be written beside another. One that is not waits for company while another is written.
        """
        waited = False
        while True:
            stopping = self._stopped_at is not None
            full = stopping or self._waiting >= BATCH_EVENTS_MAX
            if not self._parts:
                if stopping:
                    return False
                await self._change()
            elif self._committing >= (COMMITS_MAX if full else 1):
                waited = True
                await self._change()
            elif full or waited:
                return True
            else:
                waited = True
                with suppress(TimeoutError):
                    async with asyncio.timeout(FLUSH_INTERVAL_S):
                        await self._change()

    async def _change(self) -> None:
        """Wait until something arrives at an empty queue, a batch is full, or a commit has ended."""
        self._changed.clear()
        await self._changed.wait()

    def _take(self) -> list[_Part]:
        taken: list[_Part] = []
        events = 0
        while self._parts and events + len(self._parts[0].arrivals) <= BATCH_EVENTS_MAX:
            taken.append(self._parts.popleft())
            events += len(taken[-1].arrivals)
        self._waiting -= events
        return taken

    async def _commit(self, parts: Sequence[_Part]) -> None:
        try:
            outcome = await self._outcome([arrival for part in parts for arrival in part.arrivals])
        finally:
            self._committing -= 1
            self._changed.set()
            was_full = self.full
            for part in parts:
                self._events -= len(part.arrivals)
                self._bytes -= part.bytes
        if outcome is not None:
            start = 0
            for part in parts:
                _settle(part, outcome.receipts[start : start + len(part.arrivals)])
                start += len(part.arrivals)
            for told in self.on_commit:
                _call(told, outcome)
            failpoints.reach("acknowledged")
        if was_full and not self.full:
            for told_room in self.on_room:
                _call(told_room)

    async def _outcome(self, arrivals: Sequence[Arrival]) -> Outcome | None:
        """Return the outcome, tried until there is one: nobody was told anything, so nothing may be given up.

        None: stopping, and the store did not answer for `DRAIN_S`; the senders keep what they sent.
        """
        backoff_s = _BACKOFF_FIRST_S
        while True:
            try:
                return await self._accept(arrivals)
            except Unavailable as error:
                log.warning("ingest_unavailable", code=error.code, detail=error.detail, events=len(arrivals))
            except Exception:  # noqa: BLE001 -- whatever it is, what waits must not be lost with it
                # A fault of ours. What waits is still at its senders; the queue fills and pushes back.
                log.exception("ingest_failed", events=len(arrivals))
            if self._stopped_at is not None and monotonic_s() > self._stopped_at + DRAIN_S:
                return None
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1))  # noqa: S311 -- spreads retries
            backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)


def _settle(part: _Part, receipts: Sequence[Receipt]) -> None:
    ticket = part.ticket
    ticket.receipts[part.offset : part.offset + len(receipts)] = receipts
    ticket.missing -= len(receipts)
    if ticket.missing == 0:
        _call(ticket.done, ticket.receipts)


def _call(function: Callable[..., None], *arguments: object) -> None:
    """Call back; whatever one caller's callback does, the others hear theirs."""
    try:
        function(*arguments)
    except Exception:  # noqa: BLE001 -- see above
        log.exception("callback_failed", callback=getattr(function, "__qualname__", repr(function)))
