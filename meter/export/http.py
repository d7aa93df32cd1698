"""Asking a target over HTTP: bounded in time, size and rate, and what an answer or its absence makes of an item.

What left the machine decides: a connection that was refused is certain, an answer that was lost is not (decision 0014).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from meter.clock import Ticks, monotonic_s
from meter.export.contract import Barred, Delivered, Limits, Outcome, Refused, Retry, Uncertain
from meter.export.limiter import RETRY_AFTER_MAX_S, Limiter, take_of_all
from meter.export.redact import credentials_in, secrets_among
from meter.model.errors import BadInput, Broken, MeterError, Unavailable
from meter.transport.outgoing import Guard, forbidden_in

# Vendors answer within seconds or not at all; three requests for one item still fit into a call.
TIMEOUT_S: Final = 25.0
CONNECT_TIMEOUT_S: Final = 10.0
# Shorter than what servers keep an idle connection for: one that they close while we write is an answer lost.
KEEPALIVE_S: Final = 10.0
# The longest answers are pages of a listing.
ANSWER_BYTES_MAX: Final = 8 << 20
# Whoever has to wait longer for its turn than this gives the call back.
TURN_WAIT_S_MAX: Final = 5.0
REASON_CHARS_MAX: Final = 300
# What to do about a 401 or 403 where a target has no words of its own for it.
ACCESS: Final = "check the target's credentials and what they may do"

# Tells whether another process has taken the lane over that this task works for. A process that was stopped and goes
# on finds it out before its next request, not only when it records: the other one sends what this one had begun.
overtaken: ContextVar[Callable[[], bool]] = ContextVar("overtaken", default=lambda: False)


class Fault(Exception):
    """A request without an answer; `outcome_of_error` says what it makes of an item."""


class Unsent(Fault):
    """Nothing left: no connection was made, so the target certainly holds nothing of it."""


class Unanswered(Fault):
    """The request, or a part of it, left, and no answer came, or none that could be read."""


class Throttled(Fault):
    """Nothing left: the target is to be left alone for `after_s`."""

    def __init__(self, after_s: float) -> None:
        super().__init__(f"not to be asked for another {after_s:.0f} s")
        self.after_s = after_s


class Unauthorised(Fault):
    """Nothing left: there is nothing that the target would let us in with. The text says what a person has to do."""


class Ends(Exception):
    """What settles an item before all that was to be asked for it has been; `outcome` is what became of the item."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(getattr(outcome, "reason", ""))
        self.outcome = outcome

    def as_error(self, remedy: str = "") -> MeterError:
        """Return it as an error of the target's, where there is no item; `remedy`: what may help if it refuses."""
        if isinstance(self.outcome, Refused | Barred):
            return BadInput("; ".join(filter(None, (str(self), remedy))), code="target_refuses")
        return Unavailable(str(self), code="target_down")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of whatever status; names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON. Raises msgspec.DecodeError."""
        return msgspec.json.decode(self.body)


class Channel:
    """The way to one target for one operator. Make it inside a running loop; close it with `close`."""

    def __init__(
        self,
        base_url: str,
        limits: Limits,
        *,
        headers: Mapping[str, str] | None = None,
        secrets: Iterable[str | None] = (),
        timeout_s: float = TIMEOUT_S,
        clock: Ticks = monotonic_s,
        guard: Guard = Guard(),  # noqa: B008 -- it never changes
    ) -> None:
        """Connect to nothing yet. `headers` go with every request, `clock` is the limiter's, `guard` says where to.

        No answer and no fault shows any of `secrets`, nor what a request proves with who we are.
        """
        self.limiter = Limiter(rate_per_s=limits.rate_per_s, burst=limits.burst, clock=clock)
        self._limits, self._clock = limits, clock
        self._endpoints: dict[str, Limiter] = {}
        self._base = URL(base_url if base_url.endswith("/") else base_url + "/")
        self._guard, self._secure = guard, self._base.scheme == "https"
        self._secrets = [*secrets, self._base.password, *credentials_in(headers or {})]
        self._turns = asyncio.Semaphore(limits.in_flight)
        self._session = aiohttp.ClientSession(
            connector=guard.connector(secure=self._secure, limit=limits.in_flight, keepalive_timeout=KEEPALIVE_S),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[_tracing()],
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    @asynccontextmanager
    async def slot(self, endpoint: str | None = None) -> AsyncIterator[None]:
        """Wait for the turn of one request that a client library makes by itself; tell `heard` what came of it.

        `request` waits for its own turn: not inside of this. Raises Throttled where the turn is too far off, Unsent
        where another process has taken the target over.
        """
        limiters = self._limiters(endpoint)
        async with self._turns:
            while wait_s := take_of_all(limiters):
                if wait_s > TURN_WAIT_S_MAX:
                    raise Throttled(wait_s)
                await asyncio.sleep(wait_s)
            if overtaken.get()():
                raise Unsent("another process has taken the target over")
            yield

    def heard(self, status: int, headers: Mapping[str, str], endpoint: str | None = None) -> None:
        """Learn from an answer how fast the target may be asked."""
        for limiter in self._limiters(endpoint):
            if status == 429:
                limiter.throttled(retry_after_s(headers))
            elif status < 500:
                limiter.succeeded()

    def _limiters(self, endpoint: str | None) -> list[Limiter]:
        """Return what limits a request: the target's rate, and that of its endpoint where these have one."""
        rate_per_s, burst = self._limits.endpoint_rate_per_s, self._limits.endpoint_burst
        if endpoint is None or rate_per_s is None:
            return [self.limiter]
        if endpoint not in self._endpoints:
            self._endpoints[endpoint] = Limiter(rate_per_s=rate_per_s, burst=burst, clock=self._clock)
        return [self.limiter, self._endpoints[endpoint]]

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        endpoint: str | None = None,
    ) -> Answer:
        """Return the answer of `path` below the base address, whatever its status. Raises Fault.

        A redirect is an answer like others: whoever is sent elsewhere is not the target that was set. `endpoint` is
        the vendor's name for what is asked, one of a few: each has a rate of its own where `Limits` says so.
        """
        url = self._base.join(URL(path.lstrip("/")))
        if url.origin() != self._base.origin():
            raise Broken(f"{path[:80]!r} leads away from {self._base.origin()}", code="foreign_address")
        sent = SimpleNamespace(headers=False)
        secrets = secrets_among((*self._secrets, *credentials_in(headers or {})))
        async with self.slot(endpoint):
            try:
                self._guard.check_literal(self._base.host, secure=self._secure)
                async with self._session.request(
                    method,
                    url.update_query(query) if query else url,
                    headers=headers,
                    data=body,
                    allow_redirects=False,
                    trace_request_ctx=sent,
                ) as response:
                    content = secrets.hide(await _bounded(response))
                    received = {name.lower(): secrets.hidden(value) for name, value in response.headers.items()}
                    answer = Answer(status=response.status, headers=received, body=content)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                refused = forbidden_in(error)
                said = f"{self._base.host}: {_said_of(error)}" if refused is None else str(refused.strerror)
                reason = secrets.hidden(said)[:REASON_CHARS_MAX]
                raise (Unanswered if sent.headers else Unsent)(reason) from error
        self.heard(answer.status, answer.headers, endpoint)
        return answer


def _said_of(error: Exception) -> str:
    """Return what went wrong without the address, which these would show: a webhook's may be a secret."""
    match error:
        case aiohttp.ClientResponseError():
            said = error.message
        case aiohttp.ConnectionTimeoutError():
            said = "no connection in time"
        case _:
            said = str(error)
    return said or type(error).__name__


def _tracing() -> aiohttp.TraceConfig:
    """Return a trace that notes in a request's context that it begins to leave, just before its first byte does."""
    tracing = aiohttp.TraceConfig()

    async def leaves(_session: aiohttp.ClientSession, context: SimpleNamespace, _given: Any) -> None:
        context.trace_request_ctx.headers = True

    tracing.on_request_headers_sent.append(leaves)
    return tracing


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    content = b""
    while more := await response.content.read(ANSWER_BYTES_MAX + 1 - len(content)):
        content += more
        if len(content) > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError(f"its answer is longer than {ANSWER_BYTES_MAX} bytes")
    return content


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return what `Retry-After` asks for in seconds, by the answer's own `Date` where it names one (RFC 9110 10.2.3).

    None where it is not there or says nothing that can be read.
    """
    given = {name.lower(): value for name, value in headers.items()}
    asked = given.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return min(float(asked[:9]), RETRY_AFTER_MAX_S)
    until, sent = _date(asked), _date(given.get("date", ""))
    if until is None or sent is None:
        return None
    return min(max((until - sent).total_seconds(), 0.0), RETRY_AFTER_MAX_S)


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def outcome_of(
    status: int, headers: Mapping[str, str], body: bytes, *, keeps_errors: bool = False, access: str = ACCESS
) -> Outcome:
    """Return what an answer makes of an item; of a good one, Delivered without the target's name for it.

    `keeps_errors`: the target keeps a 5xx with the key and would only repeat it. `access` is what to do where it lets
    us in no more (401, 403).
    """
    if 200 <= status < 300:
        return Delivered()
    said = " ".join(body[: 4 * REASON_CHARS_MAX].decode(errors="replace").split())[:REASON_CHARS_MAX]
    reason = f"answered {status}: {said}" if said else f"answered {status}"
    if status == 429:
        return Retry(reason, after_s=retry_after_s(headers), throttled=True)
    if status >= 500:
        return Uncertain(reason, answered=keeps_errors)
    if status in BARRING:
        return barred(reason, access, status)
    if status in _PASSING:
        return Retry(reason, after_s=retry_after_s(headers))
    if 300 <= status < 400:
        return Refused(f"{reason}; it sends us elsewhere, check the target's base_url")
    return Refused(reason)


# Who we are is not known, or may not do this (RFC 9110 15.5.2 and 15.5.4).
BARRING: Final = frozenset({401, 403})
# Not read to its end in time; the same key is at work; too early.
_PASSING: Final = frozenset({408, 409, 425})


def barred(reason: str, remedy: str, status: int | None = None) -> Barred:
    """Return that nobody is let in, with what to do about it in the reason, too."""
    return Barred(f"{reason}; {remedy}", remedy, status=status)


def outcome_of_question(outcome: Outcome) -> Outcome:
    """Return what a question that came to `outcome` makes of its item: nothing was changed by it, whatever became."""
    return Retry(outcome.reason) if isinstance(outcome, Uncertain) else outcome


def outcome_of_error(error: BaseException, *, sent: bool = True) -> Outcome:
    """Return what a failed request makes of an item. `sent`: whether a byte may have left; a Fault knows by itself."""
    reason = str(error) or type(error).__name__
    match error:
        case Throttled(after_s=after_s):
            return Retry(reason, after_s=after_s, throttled=True)
        case Unauthorised():
            return Barred(reason, reason)
        case Unsent():
            return Retry(reason)
        case Unanswered():
            return Uncertain(reason)
        case _:
            return Uncertain(reason) if sent else Retry(reason)
