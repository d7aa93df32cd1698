"""A server that holds every request against a vendor's interface, remembers it, and refuses what breaks it.

It runs in a thread with a loop of its own: clients of every kind and tests of every loop scope reach it.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

from aiohttp import web

_KEPT_MAX = 10_000  # requests of one test; older ones are forgotten
_BODY_BYTES_MAX = 16 << 20
PLAIN = "code=204"
"""The preference for no body: Prism takes up to three seconds to make one up after a large schema."""
VIOLATIONS = "sl-violations"
"""The header that lists (JSON) what was wrong with a request: absent from the answer to one that fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request, read whole. `query` is as it was sent; names of `headers` are in lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def query_pairs(self) -> list[tuple[str, str]]:
        """Return the query's parameters, decoded."""
        return parse_qsl(self.query, keep_blank_values=True)

    def json(self) -> Any:
        """Return the body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the interface says of a request, and the answer to it. It fits where there are no `violations`."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    violations: tuple[str, ...] = ()


Judge: TypeAlias = Callable[[Sent], Verdict]


class Asked(Protocol):
    """A request as a fake of `tests/targets` has it."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class ContractServer:
    """The server, between entering and leaving it. `base_url` is what stands in place of the vendor's address.

    `judged` has every request since `forget`, with its verdict. `answers` holds JSON to be answered in place of the
    interface's example, by method and path, where a request fits. `prefer` asks Prism for another answer
    (`code=429`, `example=Name`, `dynamic=true`).
    """

    def __init__(self, judge: Judge, *, base_path: str = "") -> None:
        self.base_url = ""
        self.judged: deque[tuple[Sent, Verdict]] = deque(maxlen=_KEPT_MAX)
        self.answers: dict[tuple[str, str], Any] = {}
        self.prefer = ""
        self._judge, self._base_path = judge, base_path
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="contract server")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()

    @property
    def sent(self) -> list[Sent]:
        """Return the requests since `forget`, in their order."""
        return [sent for sent, _ in self.judged]

    @property
    def violations(self) -> list[str]:
        """Return what was wrong with the requests since `forget`, each with its method and path."""
        return [f"{sent.method} {sent.path}: {wrong}" for sent, verdict in self.judged for wrong in verdict.violations]

    def assert_accepted(self) -> None:
        """Fail unless there were requests, and all of them fit."""
        assert self.judged, "nothing was sent to the contract server"
        assert not self.violations, "\n".join(self.violations)

    def check(self, call: Asked) -> str | None:
        """Return what is wrong with a request that came elsewhere: the `check_request` of a fake."""
        verdict = self._verdict(
            Sent(
                method=call.method,
                path=call.path,
                query=urlencode(call.query),
                headers=call.headers,
                body=call.body,
            ),
            prefer=self.prefer or PLAIN,  # nobody reads the answer
        )
        return "; ".join(verdict.violations) or None

    def forget(self) -> None:
        """Forget what was sent and what was to be answered: each test begins with this."""
        self.judged.clear()
        self.answers.clear()
        self.prefer = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, _: type[BaseException] | None, __: object, ___: TracebackType | None) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=_BODY_BYTES_MAX)
        app.router.add_route("*", "/{rest:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            self.base_url = f"http://{host}:{port}{self._base_path}"
            self._loop = asyncio.get_running_loop()
            self._started.set()
            await self._ended.wait()
        finally:
            self._started.set()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        sent = Sent(
            method=request.method,
            path=urlsplit(request.raw_path).path,
            query=urlsplit(request.raw_path).query,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        # In a thread of its own: the judge may ask another process.
        verdict = await asyncio.to_thread(self._verdict, sent, prefer=self.prefer)
        return web.Response(status=verdict.status, body=verdict.body, headers=dict(verdict.headers))

    def _verdict(self, sent: Sent, *, prefer: str) -> Verdict:
        asked = sent
        if self._base_path:
            if not sent.path.startswith(self._base_path):
                asked = Sent(method=sent.method, path="/not-below-the-base-path" + sent.path)
            else:
                asked = _changed(sent, path=sent.path.removeprefix(self._base_path))
        if prefer:
            asked = _changed(asked, headers={**asked.headers, "prefer": prefer})
        verdict = self._judge(asked)
        if not verdict.violations and (sent.method, sent.path) in self.answers:
            body = json.dumps(self.answers[sent.method, sent.path]).encode()
            verdict = Verdict(status=200, headers={"Content-Type": "application/json"}, body=body)
        self.judged.append((sent, verdict))
        return verdict


def _changed(sent: Sent, *, path: str | None = None, headers: Mapping[str, str] | None = None) -> Sent:
    return Sent(
        method=sent.method,
        path=sent.path if path is None else path,
        query=sent.query,
        headers=sent.headers if headers is None else headers,
        body=sent.body,
    )


def assert_accepted(response: Any) -> None:
    """Fail unless the request fitted that this answers: a response of aiohttp or httpx."""
    status = getattr(response, "status", None) or response.status_code
    assert VIOLATIONS not in response.headers, response.headers[VIOLATIONS]
    assert status < 400, status
