"""Asking over HTTP: bounded in time and size, no redirects, access tokens had once and kept until they run out."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from meter.clock import Clock, monotonic_s, now
from meter.sources.spec import Answer, Request, Setup, Token
from meter.transport.asking.transport import (
    ANSWER_BYTES_MAX,
    Declined,
    TryLater,
    http_host,
    judged,
    passes,
    too_large,
)
from meter.transport.outgoing import Guard, forbidden_in
from meter.transport.silence import silence

# Vendors answer within seconds or not at all.
_TIMEOUT_S: Final = 30.0
# A token is asked for anew so long before it runs out, and after this where nothing says when it does.
_TOKEN_MARGIN_S: Final = 30.0
_TOKEN_LASTS_S: Final = 300.0


class HttpTransport:
    """One client for all sources, and one for those whose connection anybody could take over. Close it with `close`."""

    def __init__(self, *, clock: Clock = now, guard: Guard = Guard()) -> None:  # noqa: B008 -- it never changes
        """Connect to nothing yet. Make it inside a running loop. `guard` says where calls may lead."""
        self._clock = clock
        self._guard = guard
        self._clients = {secure: _client(guard, secure=secure) for secure in (True, False)}
        self._tokens: dict[str, tuple[str, float]] = {}

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.close()

    async def ask(self, setup: Setup, request: Request) -> Answer:
        """Return the answer. Raises TryLater and Declined."""
        headers = dict(request.headers)
        if request.token is not None:
            headers["Authorization"] = f"Bearer {await self._token(request.token, verify_tls=request.verify_tls)}"
        answer = await self.call(
            request.method,
            request.url,
            headers=headers,
            query=dict(request.query),
            body=request.body,
            verify_tls=request.verify_tls,
        )
        if answer.status == 401 and request.token is not None:
            self._tokens.pop(_key(request.token), None)  # taken back before its time: the next attempt asks for another
        return judged(setup, answer)

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        verify_tls: bool = True,
    ) -> Answer:
        """Return the answer, whatever its status. Raises TryLater and Declined."""
        host, target = http_host(url), URL(url)
        secure = target.scheme == "https" and verify_tls
        try:
            self._guard.check_literal(target.host, secure=secure)
            async with self._clients[secure].request(
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
            message = f"{host}: its certificate is not trusted ({error}); see the source's options"
            raise Declined(message) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if (refused := forbidden_in(error)) is not None:
                raise Declined(str(refused.strerror)) from error
            raise TryLater(f"{host} does not answer: {silence(error)}") from error
        if len(content) > ANSWER_BYTES_MAX:
            raise too_large(host, ANSWER_BYTES_MAX)
        return Answer(status=status, headers=received, body=content, received_at=self._clock())

    async def _token(self, token: Token, *, verify_tls: bool) -> str:
        """Return an access token (RFC 6749 section 5.1), the kept one while it lasts."""
        key = _key(token)
        kept = self._tokens.get(key)
        if kept is not None and monotonic_s() < kept[1]:
            return kept[0]
        answer = await self.call(
            "POST",
            token.url,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            body=urlencode(token.form).encode(),
            verify_tls=verify_tls,
        )
        try:
            told = json.loads(answer.body) if answer.status == 200 else {}
            access, lasts_s = told["access_token"], float(told.get("expires_in", _TOKEN_LASTS_S))
        except (ValueError, KeyError, TypeError) as error:
            if passes(answer.status):
                raise TryLater(f"no access token: the vendor answered {answer.status}") from error
            message = f"no access token: the vendor answered {answer.status}; check api_key and the source's options"
            raise Declined(message) from error
        if not isinstance(access, str):
            raise Declined("no access token: the vendor's answer holds none; check api_base")
        self._tokens[key] = (access, monotonic_s() + max(0.0, lasts_s - _TOKEN_MARGIN_S))
        return access


def _client(guard: Guard, *, secure: bool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=guard.connector(secure=secure),
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def _key(token: Token) -> str:
    return json.dumps([token.url, sorted(token.form.items())])
