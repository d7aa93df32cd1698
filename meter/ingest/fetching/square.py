"""Asking Square through its SDK, over our own client: one attempt each, the answer as Square wrote it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import httpx
from square import AsyncSquare
from square.core.api_error import ApiError
from square.core.request_options import RequestOptions

from meter.model.errors import Broken
from meter.sources.spec import Answer, Request, Setup
from meter.transport.asking.http import HttpTransport
from meter.transport.asking.transport import Declined, TryLater, http_host, judged

_OPTIONS: Final[RequestOptions] = {"max_retries": 0, "additional_headers": {"Accept-Encoding": "identity"}}
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
    """The SDK's calls, over the client of the other sources."""

    def __init__(self, http: HttpTransport) -> None:
        """Connect to nothing yet."""
        self._http = http

    async def ask(self, setup: Setup, request: Request) -> Answer:
        """Return the answer. Raises TryLater and Declined."""
        call = _CALLS.get(request.call)
        if call is None:
            message = f"the Square source asks for {request.call[:60]!r}, which is no call of this transport's; add it"
            raise Broken(message)
        if setup.api_base is not None:
            http_host(setup.api_base)
        wire = _Wire(self._http)
        try:
            async with httpx.AsyncClient(transport=wire, trust_env=False) as http:
                client = AsyncSquare(token=setup.api_key or "", base_url=setup.api_base, httpx_client=http)
                await call(client)(**request.arguments, request_options=_OPTIONS)
        except (Declined, TryLater):
            raise
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
    """Passes one call on and keeps what was answered, as bytes: the SDK's models are not the vendor's JSON."""

    def __init__(self, http: HttpTransport) -> None:
        self._http = http
        self.answered: Answer | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response, wholly read. Raises Declined and TryLater."""
        sent = {name: value for name, value in request.headers.items() if name not in _UNSENT}
        body = await request.aread()
        self.answered = answer = await self._http.call(request.method, str(request.url), headers=sent, body=body)
        whole = [(name, value) for name, value in answer.headers.items() if name not in _FRAMING]
        return httpx.Response(answer.status, headers=whole, content=answer.body, request=request)


# Of the body as it was sent; it is decoded now.
_FRAMING: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})
# The connection's, not the request's.
_UNSENT: Final = frozenset({"host", "connection", "content-length", "transfer-encoding"})
