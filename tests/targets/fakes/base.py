"""A vendor's server in memory: it keeps state, honours keys as the vendor does, and records what it was asked.

The handlers of a fake are plain functions: between two of its lines no other request is worked on.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from types import TracebackType
from typing import ClassVar, Self, TypeAlias

from aiohttp import web

from tests.targets.fakes.clock import Clock
from tests.targets.fakes.http import Answer, Call, Recorded, Refuse
from tests.targets.fakes.keys import KeyInUse, KeyMemory, KeyMisused

Handler: TypeAlias = Callable[[Call], Answer]
RequestCheck: TypeAlias = Callable[[Call], str | None]

_REQUESTS_KEPT_MAX = 100_000  # of a long fault run; older ones are forgotten
_BODY_BYTES_MAX = 16 << 20  # the largest is a file for the data lake


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One thing that a vendor holds, in figures to compare: major units, credits negative.

    `reference` is what the vendor keeps of our key (metadata, DocNumber, narration, note); `amount` is without `tax`.
    `details` are metadata, where a vendor has it. `state` is the vendor's word. What is void or deleted is not held.
    """

    id: str
    kind: str
    reference: str
    customer: str
    amount: Decimal
    tax: Decimal = Decimal(0)
    currency: str = ""
    state: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """One line of a journal that a vendor holds; debit positive, major units."""

    entry: str
    reference: str
    date: str
    account: str
    amount: Decimal
    customer: str = ""
    dimensions: tuple[str, ...] = ()


@dataclass(slots=True)
class _Failure:
    status: int
    committed: bool
    path: str
    method: str


@dataclass(slots=True)
class _Gate:
    open: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))


class Fake(ABC):
    """A server on a free port of the loopback interface, for as long as its context is entered.

    `check_request` holds each request against a specification before anything is looked at: it returns what is wrong.
    """

    keys_kept: ClassVar[timedelta | None] = None
    """How long the vendor keeps an idempotency key and its answer; None: it knows no keys."""
    keeps_errors: ClassVar[bool] = False
    """Whether an error is an answer under a key, too."""
    replay_headers: ClassVar[dict[str, str]] = {}

    def __init__(self, *, clock: Clock | None = None, check_request: RequestCheck | None = None) -> None:
        self.clock = clock or Clock()
        self.check_request = check_request
        self.requests: deque[Recorded] = deque(maxlen=_REQUESTS_KEPT_MAX)
        self.in_flight = 0
        self.locks_out = False
        """Whether nobody is let in: the key was withdrawn."""
        self.turned_away = 0
        self.answers_after_s = 0.0  # what a vendor far away takes; of the real clock
        self._url = ""
        self._runner: web.AppRunner | None = None
        self._failures: list[_Failure] = []
        self._gate: _Gate | None = None
        self._crash: Exception | None = None
        self._keys = KeyMemory(self.clock, kept=self.keys_kept or timedelta(0))
        self._ids = 0

    @abstractmethod
    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        """Return method, path pattern and handler of all that is served."""

    @abstractmethod
    def fault(self, status: int) -> Answer:
        """Return the vendor's answer to something that failed with `status` before it looked at the request."""

    @abstractmethod
    def books(self) -> tuple[Held, ...]:
        """Return what the vendor holds for the customers, in the order of creation."""

    def admit(self, call: Call) -> None:  # noqa: B027  most have nothing to turn away
        """Raise Refuse where the vendor turns the request away unread: tokens, limits, headers."""

    def locked_out(self, call: Call) -> Answer:
        """Return the answer to whoever comes with a key that was withdrawn."""
        self.turned_away += 1
        if call.method == "POST" and call.path.endswith(("/token", "/bearer")):
            return Answer(status=400, content={"error": "invalid_grant"})
        return self.fault(401)

    def key_of(self, _call: Call) -> tuple[str, str] | None:
        """Return the idempotency key with the fingerprint of what came under it; None where there is none."""
        return None

    def key_misused(self, _key: str) -> Answer:
        """Return the answer to a key that comes with other parameters."""
        return self.fault(400)

    def key_in_use(self, _key: str) -> Answer:
        """Return the answer to a key whose first request is not answered."""
        return self.fault(409)

    def is_checked(self, _call: Call) -> bool:
        """Return whether the specification behind `check_request` speaks of the request at all."""
        return True

    def malformed(self, why: str) -> Answer:
        """Return the answer to a request that its specification does not allow."""
        return Answer(status=400, content={"message": why})

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return self._url

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Move the vendor's clock on."""
        self.clock.advance(days=days, hours=hours, minutes=minutes, seconds=seconds)

    def fail_next(self, status: int = 500, *, committed: bool, path: str = "", method: str = "") -> None:
        """Answer the next request with this method whose path contains `path` with `status`.

        After its work was done, or without it.
        """
        self._failures.append(_Failure(status, committed, path, method))

    @asynccontextmanager
    async def held_back(self) -> AsyncIterator[Callable[[], Awaitable[object]]]:
        """Begin requests, answer none until the context is left; awaiting what is yielded waits for one to arrive."""
        self._gate = gate = _Gate()
        try:
            yield gate.waiting.acquire
        finally:
            self._gate = None
            gate.open.set()

    def calls(self, method: str = "", path: str = "") -> list[Recorded]:
        """Return the requests with this method whose path contains `path`."""
        return [one for one in self.requests if method in {"", one.call.method} and path in one.call.path]

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_BODY_BYTES_MAX)
        for method, path, handler in self.routes():
            app.router.add_route(method, path, self._served(handler))
        app.router.add_route("*", "/{rest:.*}", self._served(self._unknown))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self._url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._crash is not None and kind is None:
            raise self._crash

    def _served(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def serve(request: web.Request) -> web.Response:
            call = Call(
                method=request.method,
                path=request.path,
                parts=dict(request.match_info),
                query=tuple(request.query.items()),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=await request.read(),
                target=request.raw_path,
            )
            self.in_flight += 1
            try:
                answer = await self._answer(call, handler)
            finally:
                self.in_flight -= 1
            self.requests.append(Recorded(call=call, status=answer.status, at=self.clock.now()))
            headers = {"Content-Type": "application/json", **answer.headers}
            return web.Response(status=answer.status, body=answer.encoded(), headers=headers)

        return serve

    async def _answer(self, call: Call, handler: Handler) -> Answer:
        try:
            if self.locks_out:
                return self.locked_out(call)
            self.admit(call)
            if self.check_request and self.is_checked(call) and (wrong := self.check_request(call)):
                return self.malformed(wrong)
            known = self.key_of(call)
            if known is None:
                await self._passed()
                return self._run(call, handler)[0]
            return await self._once(call, handler, *known)
        except Refuse as refused:
            return refused.answer
        except Exception as crash:  # noqa: BLE001  the fake is wrong: the test has to fail, not the client to retry
            self._crash = self._crash or crash
            return self.fault(500)

    async def _once(self, call: Call, handler: Handler, key: str, fingerprint: str) -> Answer:
        try:
            first = self._keys.begin(key, fingerprint)
        except KeyMisused:
            return self.key_misused(key)
        except KeyInUse:
            return self.key_in_use(key)
        if first is not None:
            return Answer(status=first.status, body=first.encoded(), headers={**first.headers, **self.replay_headers})
        kept: Answer | None = None
        try:
            await self._passed()
            given, kept = self._run(call, handler)
            return given
        finally:
            if kept is None:
                self._keys.drop(key)
            else:
                self._keys.finish(key, kept)

    def _run(self, call: Call, handler: Handler) -> tuple[Answer, Answer | None]:
        """Return what is answered, and what is kept under the key."""
        planned = next(
            (one for one in self._failures if one.path in call.path and one.method in {"", call.method}), None
        )
        if planned is not None:
            self._failures.remove(planned)
        try:
            done = self.fault(planned.status) if planned and not planned.committed else handler(call)
        except Refuse as refused:
            done = refused.answer
        # What is given again later is what was said now, whatever becomes of the object.
        done = Answer(status=done.status, body=done.encoded(), headers=done.headers)
        given = self.fault(planned.status) if planned else done
        if self.keeps_errors:
            return given, given
        return given, done if done.status < 400 else None

    async def _passed(self) -> None:
        if self.answers_after_s:
            await asyncio.sleep(self.answers_after_s)
        if self._gate is not None:
            gate = self._gate
            gate.waiting.release()
            await gate.open.wait()

    def _unknown(self, call: Call) -> Answer:
        return Answer(status=404, content={"message": f"{call.method} {call.path} is not served by this fake"})

    def new_number(self) -> int:
        """Return a number that no other object of this fake has."""
        self._ids += 1
        return self._ids
