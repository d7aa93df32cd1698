"""Square's interface through its own client library, over our own channel: one attempt, no redirects.

    Api.read, Api.write ──▶ AsyncSquare ──▶ _Wire ──▶ Channel.request ──▶ Square

The library knows paths, headers and the version of the interface; answers are judged here, as Square wrote them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias, cast

import httpx
from square import AsyncSquare
from square.core.request_options import RequestOptions

from meter.export.contract import Refused
from meter.export.http import Answer, Channel, Ends, Fault, Unsent, outcome_of_error, outcome_of_question
from meter.export.targets.reading import objects_of, text_of
from meter.export.targets.square.replies import content_of, outcome_of_answer
from meter.model.instant import instant_text

Json: TypeAlias = dict[str, Any]

PRODUCTION: Final = "https://connect.squareup.com"
SANDBOX: Final = "https://connect.squareupsandbox.com"
# What the library believes to talk to: the channel has the address.
_ANYWHERE: Final = "http://square"
_OPTIONS: Final[RequestOptions] = {"max_retries": 0}
# Orders of some hundred lines each: a page stays below what an answer may be (http.ANSWER_BYTES_MAX).
PAGE_ORDERS: Final = 20
PAGE_INVOICES: Final = 200
PAGE_REFUNDS: Final = 100
# What a list may come to: a hundred thousand invoices of one location.
PAGES_MAX: Final = 500
# The connection's, not the request's.
_UNSENT_HEADERS: Final = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})


class NotTaken(Ends):
    """Square refused a request as it stands: certainly nothing changed."""


class Api:
    """One account at Square. Close it with `close`."""

    def __init__(self, channel: Channel, api_key: str) -> None:
        """Ask over `channel`."""
        self._channel = channel
        self._api_key = api_key

    async def close(self) -> None:
        """Close every connection."""
        await self._channel.close()

    async def asked(self, call: str, **arguments: Any) -> Answer:
        """Return the answer to a call of the library (`orders.create`), whatever its status. Raises Fault."""
        wire = _Wire(self._channel)
        async with httpx.AsyncClient(transport=wire, trust_env=False) as http:
            method = _method(AsyncSquare(token=self._api_key, base_url=_ANYWHERE, httpx_client=http), call)
            try:
                await method(**arguments, request_options=_OPTIONS)
            except Exception:
                # The library raises for what is not 2xx, and fails on an answer of another shape.
                if wire.answer is None:
                    raise
        if wire.answer is None:
            raise Unsent("Square's library sent nothing")
        return wire.answer

    async def read(self, call: str, **arguments: Any) -> Json:
        """Return an answer's content. Raises Ends (Retry, Refused): nothing was changed by it."""
        try:
            answer = await self.asked(call, **arguments)
        except Fault as error:
            raise Ends(outcome_of_question(outcome_of_error(error))) from error
        content = content_of(answer)
        if content is None:
            raise Ends(outcome_of_question(outcome_of_answer(answer)))
        return content

    async def write(self, call: str, **arguments: Any) -> Json:
        """Return what Square made of it. Raises NotTaken where it certainly made nothing; Ends for all else."""
        try:
            answer = await self.asked(call, **arguments)
        except Fault as error:
            raise Ends(outcome_of_error(error)) from error
        content = content_of(answer)
        if content is not None:
            return content
        outcome = outcome_of_answer(answer)
        if isinstance(outcome, Refused) or answer.status == 409:
            raise NotTaken(outcome)
        raise Ends(outcome)

    async def orders(self, location: str, since: datetime, **wanted: Any) -> AsyncIterator[Json]:
        """Give the location's orders made since, the newest first; `wanted` are further filters. Raises Ends."""
        query = {
            "filter": {"date_time_filter": {"created_at": {"start_at": instant_text(since)}}, **wanted},
            "sort": {"sort_field": "CREATED_AT", "sort_order": "DESC"},
        }
        arguments = {"location_ids": [location], "query": query, "limit": PAGE_ORDERS}
        async for order in self._pages("orders.search", "orders", arguments):
            yield order

    async def invoices(self, location: str, customer: str | None = None) -> AsyncIterator[Json]:
        """Give the location's invoices, or those of one customer. Raises Ends."""
        wanted = {"location_ids": [location]} | ({"customer_ids": [customer]} if customer else {})
        arguments = {"query": {"filter": wanted}, "limit": PAGE_INVOICES}
        async for invoice in self._pages("invoices.search", "invoices", arguments):
            yield invoice

    async def refunds(self, location: str, since: datetime) -> AsyncIterator[Json]:
        """Give the location's refunds made since. Raises Ends."""
        arguments = {"location_id": location, "begin_time": instant_text(since), "limit": PAGE_REFUNDS}
        async for refund in self._pages("refunds.list", "refunds", arguments):
            yield refund

    async def _pages(self, call: str, name: str, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        cursor: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            content = await self.read(call, **arguments, **cursor)
            for one in objects_of(content, name):
                yield dict(one)
            following = text_of(content, "cursor")
            if not following:
                return
            cursor = {"cursor": following}
        raise Ends(Refused(f"the list of {name} has more than {PAGES_MAX} pages; that is more than one location's"))


class _Wire(httpx.AsyncBaseTransport):
    """Passes the library's one call on to the channel, and keeps the answer as it was."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.answer: Answer | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response, wholly read. Raises Fault."""
        sent = {name: value for name, value in request.headers.items() if name.lower() not in _UNSENT_HEADERS}
        answer = await self._channel.request(
            request.method, request.url.raw_path.decode(), headers=sent, body=await request.aread() or None
        )
        self.answer = answer
        return httpx.Response(answer.status, json={} if answer.status < 300 else {"errors": []}, request=request)


def _method(client: AsyncSquare, call: str) -> Callable[..., Awaitable[Any]]:
    room, name = call.split(".")
    return cast("Callable[..., Awaitable[Any]]", getattr(getattr(client, room), name))
