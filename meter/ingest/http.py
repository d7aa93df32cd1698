"""`POST /v1/events`: CloudEvents in structured, batched and binary mode, a result for each after the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from meter.clock import Clock, now
from meter.ingest.arrival import Arrival, Channel, Receipt
from meter.ingest.batcher import Batcher
from meter.ingest.shut_out import REVOKED
from meter.model.errors import BadInput, Unavailable
from meter.model.wire import Parsed
from meter.store.directory import NO_CATALOG
from meter.store.keys import Principal
from meter.transport.cloudevents_http import read_request
from meter.transport.http_body import read_body

# Longer than a commit ever takes, shorter than callers wait: then they are asked to send again, which changes nothing.
COMMIT_WAIT_S: Final = 15.0

# The operator served; None before the first catalog.
OperatorName: TypeAlias = Callable[[], Awaitable[str | None]]


def event_receiver(
    batcher: Batcher, *, operator: OperatorName, pace: Callable[[], Awaitable[None]] | None = None, clock: Clock = now
) -> Callable[[web.Request, Principal], Awaitable[web.StreamResponse]]:
    """Return the handler behind `POST /v1/events`.

    It raises BadInput for a body that cannot be read as a whole (`not_json` and the like, `unsupported_media_type`),
    which is kept among the rejections all the same, and Unavailable under pressure. Agents are answered after `pace`.
    Where an agent must not take the results for an acknowledgement there are none: BadInput (`edge_revoked`),
    Unavailable.
    """

    async def receive(request: web.Request, principal: Principal) -> web.StreamResponse:
        await require_operator(operator)
        body = await read_body(request)
        parsed, unreadable = read_request(request, body)
        arrivals = arrivals_of(
            request, parsed, channel="http", received_at=clock(), site=principal.site, edge=principal.edge
        )
        receipts = await committed(batcher, arrivals)
        if pace is not None and any(item.edge is not None for item in parsed):
            await pace()
        if unreadable is not None:
            raise unreadable
        shut_out = next((receipt for receipt in receipts if receipt.code == REVOKED), None)
        if shut_out is not None:
            raise BadInput(shut_out.detail or "", code=REVOKED)
        if any(receipt.unmarked for receipt in receipts):
            message = (
                "the events are stored, but their agent has too many holes before them; send what is missing first"
            )
            raise Unavailable(message, code="too_many_holes")
        return results_answer(receipts)

    return receive


async def require_operator(operator: OperatorName) -> None:
    """Raise Unavailable (`no_catalog`) before the first catalog: whose events these are is not known yet."""
    if await operator() is None:
        raise Unavailable(NO_CATALOG, code="no_catalog")


def arrivals_of(
    request: web.Request,
    items: Sequence[Parsed],
    *,
    channel: Channel,
    received_at: datetime,
    site: str | None,
    edge: str | None = None,
    query: Mapping[str, str] | None = None,
    told_by: tuple[str, str] | None = None,
) -> list[Arrival]:
    """Return what came in by one request, each item as an arrival; `query` is what of the address belongs to it."""
    origin = f"{request.method} {request.path}" + (f"?{urlencode(query)}" if query else "")
    content_type = request.headers.get("Content-Type", "")[:200] or None
    return [
        Arrival(
            parsed=item,
            channel=channel,
            origin=origin,
            received_at=received_at,
            content_type=content_type,
            site=site,
            edge=edge,
            told_by=told_by,
        )
        for item in items
    ]


async def committed(batcher: Batcher, arrivals: Sequence[Arrival]) -> Sequence[Receipt]:
    """Return the receipts after the commit. Raises Unavailable where it takes too long; it may still happen."""
    try:
        async with asyncio.timeout(COMMIT_WAIT_S):
            return await batcher.receive(arrivals)
    except TimeoutError as error:
        message = f"the store did not answer within {COMMIT_WAIT_S:g} s; send the same events again"
        raise Unavailable(message, code="commit_pending") from error


def results_answer(receipts: Sequence[Receipt]) -> web.Response:
    """Return one result for each event, in order."""
    return web.Response(body=msgspec.json.encode({"results": receipts}), content_type="application/json")
