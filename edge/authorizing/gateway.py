"""Asking the gateway, and telling it: one HTTP call each, with an end that a door can wait for."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import aiohttp
import msgspec

from edge.authorizing.answer import ANSWER, Answer
from edge.clock import monotonic_s
from meter.model.errors import BadInput, Unavailable

_PATH: Final = "/v1/authorizations"
_REPLAYED: Final = "Idempotent-Replayed"
_PROBLEM: Final = "application/problem+json"
_ANSWER_BYTES_MAX: Final = 256 * 1024
# As many as the gateway answers side by side for an account.
_CALLS_MAX: Final = 8
# Who asks within so long after a call that nobody answered in time is not made to wait for another.
_AWAY_S: Final = 5.0
# The code of a fault of its own, which the next body need not meet.
FAILED: Final = "gateway_failed"
# What may pass; anything else of 400 and more is the gateway's last word on that body.
_PASSES: Final = frozenset({408, 425, 429})
# The agent's own fault: the key is wrong, was revoked, or is for something else.
_KEY: Final = frozenset({401, 403})


class Declined(BadInput):
    """The gateway will not have it: `status` and `body` are its answer, for whoever asked."""

    def __init__(self, status: int, body: bytes, problem: _Problem) -> None:
        """Keep what it said."""
        super().__init__(problem.detail, code=problem.code)
        self.status = status
        self.body = body


class NotLetIn(Unavailable):
    """The gateway is there and does not let the agent in: nothing is decided without it then."""

    default_code = "gateway_refuses"


class _Problem(msgspec.Struct, frozen=True):
    code: str
    detail: str = ""


_PROBLEMS: Final = msgspec.json.Decoder(_Problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer of the gateway's, as it came and as it is read. `replayed`: it was given before."""

    body: bytes
    answer: Answer
    replayed: bool


class AskedGateway:
    """The gateway's door for asks. Make it inside a running loop, and close it with `close`."""

    def __init__(self, url: str, *, key: str | None, tls: ssl.SSLContext | None, within_s: float) -> None:
        """Call nothing yet. A call ends `within_s` seconds, whatever happens."""
        self._url = url.rstrip("/")
        self._tls: ssl.SSLContext | bool = True if tls is None else tls
        self._within_s = within_s
        self._away_until_s = monotonic_s()
        self._room = asyncio.Semaphore(_CALLS_MAX)
        self._client = aiohttp.ClientSession(
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def ask(self, body: bytes) -> Said:
        """Return the answer to an ask. Raises Unavailable (nobody answers in time), NotLetIn, Declined."""
        if monotonic_s() < self._away_until_s:
            raise Unavailable(f"the gateway {self._url} did not answer a moment ago", code="gateway_unavailable")
        return await self._call("POST", _PATH, body)

    async def tell(self, body: bytes) -> Said:
        """Tell of an answer that was given here. Raises as `ask`, but tries in any case."""
        return await self._call("POST", _PATH, body)

    async def show(self, id: str) -> Said:
        """Return what became of an ask. Raises as `ask`."""
        return await self._call("GET", f"{_PATH}/{quote(id, safe='')}")

    async def let_go(self, id: str) -> Said:
        """Let a reservation go. Raises as `ask`."""
        return await self._call("DELETE", f"{_PATH}/{quote(id, safe='')}")

    async def _call(self, method: str, path: str, body: bytes | None = None) -> Said:
        headers = {} if body is None else {"Content-Type": "application/json"}
        began_s = monotonic_s()
        try:
            async with (
                asyncio.timeout(self._within_s),
                self._room,
                self._client.request(
                    method, self._url + path, data=body, headers=headers, allow_redirects=False, ssl=self._tls
                ) as response,
            ):
                content = await response.content.read(_ANSWER_BYTES_MAX)
                while len(content) < _ANSWER_BYTES_MAX and (more := await response.content.read(_ANSWER_BYTES_MAX)):
                    content += more
                status, media = response.status, response.content_type
                replayed = response.headers.get(_REPLAYED) == "true"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if monotonic_s() - began_s > self._within_s / 2:
                self._away_until_s = monotonic_s() + _AWAY_S
            raise self._unavailable(str(error) or type(error).__name__) from error
        return self._read(status, media, content, replayed=replayed)

    def _read(self, status: int, media: str, content: bytes, *, replayed: bool) -> Said:
        """Return the answer. What is no gateway's (a captive portal, a proxy) is taken for none."""
        try:
            if status == 200:
                answer = ANSWER.decode(content)
                self._away_until_s = monotonic_s()
                return Said(body=content, answer=answer, replayed=replayed)
            problem = _PROBLEMS.decode(content) if media == _PROBLEM else None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._unavailable(f"it answered {status} and not as a gateway does ({error})") from error
        if problem is not None and status == 500:
            raise Unavailable(f"the gateway {self._url} failed: {problem.detail[:200]}", code=FAILED)
        if problem is None or status > 500:
            raise self._unavailable(f"it answered {status}")
        if status in _KEY:
            message = f"the gateway {self._url} does not let this agent ask ({problem.code}: {problem.detail}); check "
            raise NotLetIn(message + "METER_EDGE_GATEWAY__API_KEY: it needs the scope authorizations:write")
        raise Declined(status, content, problem)

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(f"the gateway {self._url} cannot be asked: {why[:200]}", code="gateway_unavailable")


def is_final(declined: Declined) -> bool:
    """Tell whether the same body would be declined again."""
    return declined.status not in _PASSES and declined.code != "no_catalog"
