"""Asking over HTTP: bounded in time and size, no redirects, access tokens had once and kept until they run out."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from meter.clock import Clock, monotonic_s, now
from meter.ingest.fetching.transport import Declined, TryLater
from meter.sources.spec import Answer, Request, Setup, Token

# Vendors answer within seconds or not at all; a page of any of them is far smaller.
_TIMEOUT_S: Final = 30.0
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
# A token is asked for anew so long before it runs out, and after this where nothing says when it does.
_TOKEN_MARGIN_S: Final = 30.0
_TOKEN_LASTS_S: Final = 300.0
# For whom a vendor's "retry after" of days was meant, it is asked tomorrow.
_RETRY_AFTER_MAX_S: Final = 86_400.0
_GONE: Final = (404, 410)
_PASSING: Final = (408, 425, 429)


class HttpTransport:
    """One client for all sources. Close it with `close`."""

    def __init__(self, *, clock: Clock = now) -> None:
        """Connect to nothing yet. Make it inside a running loop."""
        self._clock = clock
        self._client = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S), cookie_jar=aiohttp.DummyCookieJar()
        )
        self._tokens: dict[str, tuple[str, float]] = {}

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def ask(self, setup: Setup, request: Request) -> Answer:
        """Return the answer. Raises TryLater and Declined."""
        headers = dict(request.headers)
        if request.token is not None:
            headers["Authorization"] = f"Bearer {await self._token(request.token, verify_tls=request.verify_tls)}"
        answer = await self._call(
            request.method,
            request.url,
            headers=headers,
            query=dict(request.query),
            body=request.body,
            verify_tls=request.verify_tls,
        )
        if answer.status == 401 and request.token is not None:
            self._tokens.pop(_key(request.token), None)  # taken back before its time: the next attempt asks for another
        if 200 <= answer.status < 300 or answer.status in _GONE:
            return answer
        raise failure_of(setup, answer, now_=self._clock())

    async def _call(
        self, method: str, url: str, *, headers: dict[str, str], query: dict[str, str], body: bytes, verify_tls: bool
    ) -> Answer:
        target = URL(url)
        if target.scheme not in {"http", "https"} or not target.host:
            message = f"{url[:200]!r} is no http or https URL; check api_base in the source's settings"
            raise Declined(message)
        try:
            async with self._client.request(
                method,
                target.update_query(query) if query else target,
                headers=headers,
                data=body or None,
                allow_redirects=False,
                ssl=verify_tls,
            ) as response:
                content = await response.content.read(ANSWER_BYTES_MAX + 1)
                while len(content) <= ANSWER_BYTES_MAX and (more := await response.content.read(ANSWER_BYTES_MAX)):
                    content += more
                received = {name.lower(): value for name, value in response.headers.items()}
                status = response.status
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            message = f"{target.host}: its certificate is not trusted ({error}); see the source's options"
            raise Declined(message) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise TryLater(f"{target.host} does not answer: {reason[:200]}") from error
        if len(content) > ANSWER_BYTES_MAX:
            message = f"{target.host} answered more than {ANSWER_BYTES_MAX} bytes; ask for smaller pages"
            raise Declined(message)
        return Answer(status=status, headers=received, body=content, received_at=self._clock())

    async def _token(self, token: Token, *, verify_tls: bool) -> str:
        """Return an access token (RFC 6749 section 5.1), the kept one while it lasts."""
        key = _key(token)
        kept = self._tokens.get(key)
        if kept is not None and monotonic_s() < kept[1]:
            return kept[0]
        answer = await self._call(
            "POST",
            token.url,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            query={},
            body=urlencode(token.form).encode(),
            verify_tls=verify_tls,
        )
        try:
            told = json.loads(answer.body) if answer.status == 200 else {}
            access, lasts_s = told["access_token"], float(told.get("expires_in", _TOKEN_LASTS_S))
        except (ValueError, KeyError, TypeError) as error:
            if answer.status in _PASSING or answer.status >= 500:
                raise TryLater(f"no access token: the vendor answered {answer.status}") from error
            message = f"no access token: the vendor answered {answer.status}; check api_key and the source's options"
            raise Declined(message) from error
        if not isinstance(access, str):
            raise Declined("no access token: the vendor's answer holds none; check api_base")
        self._tokens[key] = (access, monotonic_s() + max(0.0, lasts_s - _TOKEN_MARGIN_S))
        return access


def _key(token: Token) -> str:
    return json.dumps([token.url, sorted(token.form.items())])


def failure_of(setup: Setup, answer: Answer, *, now_: datetime) -> TryLater | Declined:
    """Return how an answer failed that is neither 2xx nor 404 or 410: whether to wait, or to mend a setting."""
    said = answer.body[:200].decode("utf-8", "replace").replace("\n", " ")
    if answer.status in _PASSING or answer.status >= 500:
        message = f"{setup.vendor} answered {answer.status}: {said}"
        return TryLater(message, after_s=retry_after_s(answer.headers.get("retry-after"), now_=now_))
    remedy = "check api_key" if answer.status in {401, 403} else "check api_base and the source's options"
    return Declined(f"{setup.vendor} answered {answer.status}: {said}; {remedy}")


def retry_after_s(value: str | None, *, now_: datetime) -> float | None:
    """Return the seconds that a Retry-After header (RFC 9110, 10.2.3: seconds or a date) asks for; None: nothing."""
    if value is None:
        return None
    if value.strip().isdecimal() and value.isascii():
        return min(float(value), _RETRY_AFTER_MAX_S)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # a year that no clock shows
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return min(max(0.0, (until - now_).total_seconds()), _RETRY_AFTER_MAX_S)
