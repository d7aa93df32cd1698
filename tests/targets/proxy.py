"""A network that fails, in front of a fake: what a test asks for happens to each request at seeded random.

           forwarded?   the client gets
too_many       no       429, with Retry-After every other time
error_before   no       500
error_after    yes      500 instead of the answer
hang_after     yes      nothing until it gives up
reset_before   no       a reset connection
reset_after    yes      a reset connection
outage         no       nothing until it gives up
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from tests.targets.fakes.base import Fake

_HANG_S_MAX = 30.0  # far beyond the time-out of any client under test: it bounds a client that has none
_BODY_BYTES_MAX = 16 << 20
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length"}
)
_OWN = frozenset({"date", "server"})  # the proxy has its own


class Fault(StrEnum):
    TOO_MANY = "too_many"
    ERROR_BEFORE = "error_before"
    ERROR_AFTER = "error_after"
    HANG_AFTER = "hang_after"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    OUTAGE = "outage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """The probability of each fault for one request; at most one happens, so they sum to at most 1."""

    too_many: float = 0.0
    error_before: float = 0.0
    error_after: float = 0.0
    hang_after: float = 0.0
    reset_before: float = 0.0
    reset_after: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= sum(astuple(self)) <= 1 or min(astuple(self)) < 0:
            raise ValueError(f"{self} are no probabilities: each is 0 or more, and together they are 1 at most")

    @classmethod
    def evenly(cls, total: float) -> Odds:
        """Return the same probability for each, `total` together."""
        return cls(**dict.fromkeys(cls.__dataclass_fields__, total / len(cls.__dataclass_fields__)))

    def drawn(self, number: float) -> Fault | None:
        """Return what happens where `number`, from 0 to 1, was drawn."""
        for name in self.__dataclass_fields__:
            number -= getattr(self, name)
            if number < 0:
                return Fault(name)
        return None


class FaultProxy:
    """A server on a free port that forwards to `fake`, in the time between entering and leaving it.

    Paths that begin with one of `pass_only` always pass, but for an outage. `counts` says how often a fault happened.
    `affects` narrows the random faults to the requests (method, path) for which it is true.
    """

    def __init__(
        self,
        fake: Fake,
        odds: Odds | None = None,
        *,
        seed: int = 0,
        pass_only: Sequence[str] = (),
        affects: Callable[[str, str], bool] = lambda _method, _path: True,
        retry_after_s: int = 1,
        hang_s_max: float = _HANG_S_MAX,
    ) -> None:
        self.odds = odds or Odds()
        self.counts: Counter[Fault] = Counter()
        self.forwarded = 0
        self.url = ""
        self._fake, self._pass_only, self._affects = fake, tuple(pass_only), affects
        self._retry_after_s, self._hang_s_max = retry_after_s, hang_s_max
        self._random = random.Random(seed)  # noqa: S311  seeded on purpose
        self._planned: deque[Fault] = deque()
        self._down = False
        self._down_until: datetime | None = None
        self._forwarding: set[asyncio.Task[web.Response]] = set()
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    def plan(self, *faults: Fault) -> None:
        """Let these happen to the next requests, one each, before chance has its turn again."""
        self._planned.extend(faults)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Swallow every request until the context is left."""
        self._down = True
        try:
            yield
        finally:
            self._down = False

    def outage_for(self, span: timedelta) -> None:
        """Swallow every request until the fake's clock has moved on by `span`."""
        self._down_until = self._fake.clock.now() + span

    async def __aenter__(self) -> Self:
        # Nothing is sent that the client did not send.
        own = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
        self._session = aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=own)
        app = web.Application(client_max_size=_BODY_BYTES_MAX)
        app.router.add_route("*", "/{rest:.*}", self._serve)
        # With cancellation, a handler that keeps a client waiting ends when the client gives up.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, _: type[BaseException] | None, __: object, ___: TracebackType | None) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        await asyncio.gather(*self._forwarding, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fault = self._fault_for(request)
        if fault is not None:
            self.counts[fault] += 1
        match fault:
            case Fault.TOO_MANY:
                return self._refusal(429)
            case Fault.ERROR_BEFORE:
                return self._refusal(500)
            case Fault.RESET_BEFORE:
                return self._reset(request)
            case Fault.OUTAGE:
                return await self._silence(request)
        answer = await self._forwarded(request, body)
        match fault:
            case Fault.ERROR_AFTER:
                return self._refusal(500)
            case Fault.HANG_AFTER:
                return await self._silence(request)
            case Fault.RESET_AFTER:
                return self._reset(request)
        return answer

    def _fault_for(self, request: web.Request) -> Fault | None:
        if self._down or (self._down_until is not None and self._fake.clock.now() < self._down_until):
            return Fault.OUTAGE
        if request.path.startswith(self._pass_only) and self._pass_only:
            return None
        if self._planned:
            return self._planned.popleft()
        if not self._affects(request.method, request.path):
            return None
        return self.odds.drawn(self._random.random())

    async def _forwarded(self, request: web.Request, body: bytes) -> web.Response:
        task = asyncio.create_task(self._forward(request, body))
        self._forwarding.add(task)
        task.add_done_callback(self._forwarding.discard)
        # A client that gives up does not call back what is on its way.
        return await asyncio.shield(task)

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        assert self._session is not None
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP]
        address = self._fake.url + request.raw_path
        self.forwarded += 1
        async with self._session.request(
            request.method, URL(address, encoded=True), data=body, headers=headers, allow_redirects=False
        ) as answer:
            # What HEAD is answered with says how long the body would be.
            dropped = _HOP_BY_HOP - ({"content-length"} if request.method == "HEAD" else set())
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in dropped | _OWN]
            return web.Response(status=answer.status, body=await answer.read(), headers=CIMultiDict(kept))

    def _refusal(self, status: int) -> web.Response:
        answer = self._fake.fault(status)
        headers = {"Content-Type": "application/json", **answer.headers}
        headers.pop("Retry-After", None)
        if status == 429 and self.counts[Fault.TOO_MANY] % 2:
            headers["Retry-After"] = str(self._retry_after_s)
        return web.Response(status=status, body=answer.encoded(), headers=headers)

    async def _silence(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self._hang_s_max)
        return self._reset(request)

    def _reset(self, request: web.Request) -> web.Response:
        transport = request.transport
        if transport is not None:
            # Closing with a linger of zero sends RST instead of FIN.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        return web.Response(status=500)
