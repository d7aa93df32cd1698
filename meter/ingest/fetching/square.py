"""Asking Square through its SDK: one attempt each, bounded in time and size, the answer as Square wrote it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import httpx
from square import AsyncSquare
from square.core.api_error import ApiError
from square.core.request_options import RequestOptions

from meter.clock import Clock, now
from meter.model.errors import Broken
from meter.sources.spec import Answer, Request, Setup
from meter.transport.asking.transport import ANSWER_BYTES_MAX, Declined, TryLater, http_host, judged, too_large

# Square answers within seconds; connecting and each read are bounded by it, and the whole by the worker.
_TIMEOUT_S: Final = 20.0
_OPTIONS: Final[RequestOptions] = {
    "max_retries": 0,
    "timeout_in_seconds": int(_TIMEOUT_S),
    "additional_headers": {"Accept-Encoding": "identity"},
}
# The calls of the SDK that sources make: what a Request names is never looked up elsewhere.
_CALLS: Final[Mapping[str, Callable[[AsyncSquare], Callable[..., Awaitable[Any]]]]] = {
    "locations.list": lambda client: client.locations.list,
    "orders.batch_get": lambda client: client.orders.batch_get,
    "orders.get": lambda client: client.orders.get,
    "orders.search": lambda client: client.orders.search,
    "payments.get": lambda client: client.payments.get,
    "payments.list": lambda client: client.payments.list,
    "refunds.get": lambda client: client.refunds.get,
    "refunds.list": lambda client: client.refunds.list,
}


class SquareTransport:
    """One pool of connections for all sources. Close it with `close`."""

    def __init__(self, *, clock: Clock = now) -> None:
        """Connect to nothing yet."""
        self._clock = clock
        self._pool = httpx.AsyncHTTPTransport()

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def ask(self, setup: Setup, request: Request) -> Answer:
        """Return the answer. Raises TryLater and Declined."""
        call = _CALLS.get(request.call)
        if call is None:
            message = f"the Square source asks for {request.call[:60]!r}, which is no call of this transport's; add it"
            raise Broken(message)
        if setup.api_base is not None:
            http_host(setup.api_base)
        wire = _Wire(self._pool, self._clock)
        try:
            # Closed after the one call; the pool is not.
            async with httpx.AsyncClient(transport=wire, timeout=_TIMEOUT_S, follow_redirects=False) as http:
                client = AsyncSquare(token=setup.api_key or "", base_url=setup.api_base, httpx_client=http)
                await call(client)(**request.arguments, request_options=_OPTIONS)
        except Declined:
            raise
        except httpx.HTTPError as error:
            raise TryLater(f"Square does not answer: {str(error)[:200] or type(error).__name__}") from error
        except Exception as error:
            # The SDK raises for what is not 2xx, and fails on an answer of another shape: the answer is judged here,
            # and its content by the source's reader.
            if wire.answered is None:
                raise
            if wire.answered.status < 300 and isinstance(error, ApiError):
                raise TryLater(
                    f"{setup.vendor} answered {wire.answered.status} without JSON, as a proxy may"
                ) from error
        if wire.answered is None:
            raise TryLater("Square's SDK sent nothing; the next attempt asks again")
        return judged(setup, wire.answered)


class _Wire(httpx.AsyncBaseTransport):
    """Passes one call on to the pool and keeps what was answered, as bytes: the SDK's models are not the vendor's JSON.

    Raises Declined where it is too large.
    """

    def __init__(self, pool: httpx.AsyncHTTPTransport, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self.answered: Answer | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response, wholly read."""
        response = await self._pool.handle_async_request(request)
        try:
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    raise too_large("Square", ANSWER_BYTES_MAX)
        finally:
            await response.aclose()
        headers = {name.lower(): value for name, value in response.headers.items()}
        self.answered = Answer(status=response.status_code, headers=headers, body=body, received_at=self._clock())
        whole = [(name, value) for name, value in headers.items() if name not in _FRAMING]
        return httpx.Response(response.status_code, headers=whole, content=body, request=request)


# Of the body as it was sent; it is decoded now.
_FRAMING: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})
