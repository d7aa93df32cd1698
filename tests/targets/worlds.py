"""Where a target's books are, and what goes wrong on the way there: a vendor behind a bad network, or a bad disk."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import random
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from aiohttp import web

from meter.export import authorised, durable
from meter.export.http import Channel
from meter.export.limiter import Limiter
from meter.export.targets.ledger import target as ledger
from tests.targets.case import TargetCase
from tests.targets.fakes.base import Fake
from tests.targets.proxy import Fault, FaultProxy, Odds

Answered = TypeVar("Answered")

FAULT_ODDS: Final = 0.05
# A look-up flushes once for each item and format: more than this, and hardly any would come to its end.
UNFLUSHED_ODDS: Final = 0.005
# Of a client that waits in vain the connection mostly goes before its patience does, or a run would be all waiting.
SILENCE_S: Final = 0.01
PATIENCE_S: Final = 0.5
PATIENT_EVERY: Final = 25
# More than the longest step of a vendor's own clock that any limiter here would wait for.
LOOK_S: Final = 60.0


class Killed(BaseException):
    """What kill -9 looks like from within: nothing of the worker runs any more."""


class World(ABC):
    """What holds the books of one run, in `held`. `url` is what the target is set to."""

    held: Any
    url: str

    @abstractmethod
    def tally(self) -> Mapping[str, int]:
        """Return how often each fault happened; all of them are there, those that did not happen with 0."""

    @abstractmethod
    def outage(self) -> AbstractContextManager[None]:
        """Let nothing through."""

    @abstractmethod
    def mostly_lost(self) -> AbstractContextManager[None]:
        """Take nearly everything, and let nearly no answer back."""

    @abstractmethod
    def locked_out(self) -> AbstractContextManager[None]:
        """Let nobody in with the key that was good until now."""

    @abstractmethod
    async def settled(self) -> None:
        """Wait until what was on its way has arrived."""

    @abstractmethod
    async def cut(self, work: Awaitable[Any], *, after: int) -> None:
        """Begin `work`, and end it where it is after so many requests or steps; it may be done by then."""

    @abstractmethod
    def advance(self, *, hours: float) -> None:
        """Let time pass where the books are."""


class Network(FaultProxy, World):
    """A vendor's fake behind a proxy that draws each fault for one request in twenty."""

    def __init__(self, fake: Fake, *, seed: int) -> None:
        super().__init__(fake, Odds(**dict.fromkeys(Odds.__dataclass_fields__, FAULT_ODDS)), seed=seed)
        self.held = fake
        self._seen = 0
        self._silences = 0
        self._came = asyncio.Condition()

    def tally(self) -> Mapping[str, int]:
        return {str(fault): self.counts[fault] for fault in Fault}

    @contextmanager
    def mostly_lost(self) -> Iterator[None]:
        usual = self.odds
        self.odds = Odds(error_after=0.3, hang_after=0.3, reset_after=0.3)
        try:
            yield
        finally:
            self.odds = usual

    @contextmanager
    def locked_out(self) -> Iterator[None]:
        self.held.locks_out = True
        try:
            yield
        finally:
            self.held.locks_out = False

    async def settled(self) -> None:
        """Requests that a client has written may still lie in a socket: two rounds without any are enough."""
        for _ in range(2):
            await asyncio.sleep(0.002)
            while self._forwarding:
                await asyncio.wait(set(self._forwarding))

    async def cut(self, work: Awaitable[Any], *, after: int) -> None:
        task = asyncio.ensure_future(work)
        reached = asyncio.ensure_future(self._reached(self._seen + after))
        await asyncio.wait([task, reached], return_when=asyncio.FIRST_COMPLETED)
        for one in (task, reached):
            one.cancel()
        await asyncio.gather(task, reached, return_exceptions=True)

    def advance(self, *, hours: float) -> None:
        self.held.advance(hours=hours)

    async def _reached(self, seen: int) -> None:
        async with self._came:
            await self._came.wait_for(lambda: self._seen >= seen)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        async with self._came:
            self._seen += 1
            self._came.notify_all()
        return await super()._serve(request)

    async def _silence(self, request: web.Request) -> web.Response:
        self._hang_s_max = SILENCE_S if self._silences % PATIENT_EVERY else 2 * PATIENCE_S
        self._silences += 1
        return await super()._silence(request)


class Disk(World):
    """A directory whose file system fails, and on which a worker dies in the midst of a write."""

    KINDS: Final = ("full", "unflushed", "torn", "locked", "read_only")

    def __init__(self, held: Any, *, seed: int) -> None:
        self.held = held
        self.url = str(held.directory)
        self.read_only = False
        self._odds = FAULT_ODDS
        self._dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
        self._counted: Counter[str] = Counter()
        self._steps_left: int | None = None

    def tally(self) -> Mapping[str, int]:
        return {kind: self._counted[kind] for kind in self.KINDS}

    @contextmanager
    def outage(self) -> Iterator[None]:
        self.read_only = True
        try:
            yield
        finally:
            self.read_only = False

    @contextmanager
    def mostly_lost(self) -> Iterator[None]:
        self._odds = 0.3
        try:
            yield
        finally:
            self._odds = FAULT_ODDS

    def locked_out(self) -> AbstractContextManager[None]:
        return nullcontext()  # a directory has no key

    async def settled(self) -> None:
        """What a file system was told, it has done."""

    async def cut(self, work: Awaitable[Any], *, after: int) -> None:
        self._steps_left = after
        try:
            await work
        except Killed:
            self._counted["torn"] += 1
        finally:
            self._steps_left = None

    def advance(self, *, hours: float) -> None:
        """Files keep what they hold for ever."""

    def fails(self, kind: str, code: int, *, times: float = 1.0) -> None:
        """Raise OSError now and then."""
        if self._dice.random() < times * self._odds:
            self._counted[kind] += 1
            raise OSError(code, os.strerror(code))

    def lives_on(self) -> bool:
        """Return whether the worker has a further step in it."""
        if self._steps_left is not None:
            self._steps_left -= 1
        return self._steps_left is None or self._steps_left > 0

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        if self.read_only and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self._counted["read_only"] += 1
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return os.open(path, flags, mode)

    def write(self, descriptor: int, content: Any) -> int:
        if not self.lives_on():
            os.write(descriptor, bytes(content)[: len(content) // 2])
            raise Killed
        try:
            self.fails("full", errno.ENOSPC)
        except OSError:
            os.write(descriptor, bytes(content)[: len(content) // 2])
            raise
        return os.write(descriptor, content)

    def fsync(self, _descriptor: int) -> None:
        if not self.lives_on():
            raise Killed
        self.fails("unflushed", errno.EIO, times=UNFLUSHED_ODDS / FAULT_ODDS)

    def flock(self, descriptor: int, operation: int) -> None:
        self.fails("locked", errno.EWOULDBLOCK)
        fcntl.flock(descriptor, operation)


class _Instead:
    """A module, some of whose functions are another's."""

    def __init__(self, module: Any, other: object, *names: str) -> None:
        self._module = module
        self.__dict__.update({name: getattr(other, name) for name in names})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


@asynccontextmanager
async def world_of(case: TargetCase, *, seed: int) -> AsyncIterator[World]:
    """The case's fake, and the way there."""
    held = case.fake()
    if isinstance(held, Fake):
        async with held, Network(held, seed=seed) as network:
            yield network
        return
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        held.directory = Path(directory)
        disk = Disk(held, seed=seed)
        for module in (durable, ledger):
            patch.setattr(module, "os", _Instead(os, disk, "open", "write", "fsync"))
        patch.setattr(ledger, "fcntl", _Instead(fcntl, disk, "flock"))
        yield disk


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Let no target wait: whenever a limiter looks at its clock a minute has passed, and nobody is patient."""
    begin = Limiter.__init__

    def hurried(self: Limiter, *, rate_per_s: float | None, burst: int = 1, clock: object = None) -> None:
        del clock
        looks = count(step=int(LOOK_S))
        begin(self, rate_per_s=rate_per_s, burst=burst, clock=lambda: float(next(looks)))

    patch.setattr(Limiter, "__init__", hurried)
    patch.setattr(authorised, "RENEWAL_INTERVAL_S", 0.0)
    defaults = Channel.__init__.__kwdefaults__
    assert defaults is not None
    patch.setitem(defaults, "timeout_s", PATIENCE_S)
