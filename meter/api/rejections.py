"""What was refused: listed with its reason and bytes, handed in again, put aside."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import web

from meter.api.routing import JSON, InstantText, Limit, Model, Query, Route, json_answer, principal_of, query_of
from meter.api.services import Services
from meter.model.doubt import FUTURE
from meter.model.errors import BadInput, Unavailable
from meter.model.instant import instant_text
from meter.store.rejections import (
    HeldEvent,
    ListedRejection,
    find_rejection,
    list_held,
    list_rejections,
    mark_rejection,
)

# What a list shows of each body; the single rejection shows all of it.
EXCERPT_CHARS: Final = 400
_EXACT_BYTES_MAX: Final = 2_048


class RejectionsQuery(Query, kw_only=True):
    """A page of the list, the newest first."""

    status: Literal["open", "retried", "discarded", "all"] = "open"
    code: Annotated[str, msgspec.Meta(description="Only those refused for this reason.")] = ""
    before: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1, description="The `next` of an earlier answer.")] | None = (
        None
    )
    limit: Limit = 100


class RejectionJson(Model, kw_only=True):
    """One refusal, `count` times. `body` is its text; `body_base64` is exact, in lists where the text is not.

    `stands` is the event that a conflict ran into. An event ahead of the clock is listed with the code
    `future_time`, the status `held` and no id: it is accepted, and counts when the clock reaches it.
    """

    id: int | None
    code: str
    detail: str
    status: Literal["open", "retried", "discarded", "held"]
    channel: str | None
    origin: str | None
    site: str | None
    source: str | None
    event_id: str | None
    count: int
    first: InstantText
    last: InstantText
    body: str | None
    stands: str | None = None
    body_base64: str | None = None


class RejectionsPage(Model, kw_only=True):
    """Rejections, held events before them on the first page; `next` is null at the end."""

    rejections: list[RejectionJson]
    next: int | None


class Retried(Model, kw_only=True):
    """What became of the bytes this time, event by event."""

    results: list[Any]


def routes(services: Services) -> list[Route]:
    """Return the routes of the list and its actions."""

    async def show_all(request: web.Request) -> web.StreamResponse:
        query, site = query_of(request, RejectionsQuery), principal_of(request).site
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            held = []
            if query.before is None and query.status in {"open", "all"} and query.code in {"", FUTURE}:
                held = await list_held(conn, operator, site=site, limit=query.limit)
            found = await list_rejections(
                conn,
                operator,
                status=None if query.status == "all" else query.status,
                code=query.code or None,
                site=site,
                before=query.before,
                limit=query.limit,
            )
        following = found[-1].id if len(found) == query.limit else None
        listed = [held_json(item) for item in held] + [rejection_json(item) for item in found]
        return json_answer(RejectionsPage(rejections=listed, next=following))

    async def show(request: web.Request) -> web.StreamResponse:
        number, operator = _number(request), await services.require_operator()
        async with services.db.begin() as conn:
            found = await find_rejection(conn, operator, number)
        site = principal_of(request).site
        if found is None or site not in {None, found.site}:
            raise _unknown(number)
        return json_answer(rejection_json(found, whole=True))

    async def discard(request: web.Request) -> web.StreamResponse:
        number, operator = _number(request), await services.require_operator()
        async with services.db.begin() as conn:
            found = await mark_rejection(conn, operator, number, "discarded")
        if found is None:
            raise _unknown(number)
        return json_answer(rejection_json(found))

    async def retry(request: web.Request) -> web.StreamResponse:
        number = _number(request)
        await services.require_operator()
        if services.retry_rejection is None:
            raise Unavailable("this gateway takes no events in; ask one with the role ingest", code="no_ingest")
        return json_answer(Retried(results=list(await services.retry_rejection(number))))

    return [
        Route(
            method="GET",
            path="/v1/rejections",
            handler=show_all,
            tag="work lists",
            summary="What was refused, with reason and bytes, and what lies ahead of the clock",
            scope="usage:read",
            open_to=frozenset({"site"}),
            query=RejectionsQuery,
            answers={JSON: RejectionsPage},
        ),
        Route(
            method="GET",
            path="/v1/rejections/{id}",
            handler=show,
            tag="work lists",
            summary="One rejection with all of its bytes",
            scope="usage:read",
            open_to=frozenset({"site"}),
            answers={JSON: RejectionJson},
        ),
        Route(
            method="POST",
            path="/v1/rejections/{id}/retry",
            handler=retry,
            tag="work lists",
            summary="Hand the bytes in again",
            scope="events:write",
            answers={JSON: Retried},
        ),
        Route(
            method="POST",
            path="/v1/rejections/{id}/discard",
            handler=discard,
            tag="work lists",
            summary="Put it aside; its bytes stay",
            scope="events:write",
            answers={JSON: RejectionJson},
        ),
    ]


def _number(request: web.Request) -> int:
    text = request.match_info["id"]
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise BadInput(f"there is no rejection {text[:40]!r}", code="not_found")
    return int(text)


def _unknown(number: int) -> BadInput:
    return BadInput(f"there is no rejection {number}", code="not_found")


def rejection_json(item: ListedRejection, *, whole: bool = False) -> RejectionJson:
    """Return a rejection as it leaves; `whole`: with every byte."""
    return RejectionJson(
        id=item.id,
        code=item.code,
        detail=item.detail,
        status=item.status,
        channel=item.channel,
        origin=item.origin,
        site=item.site,
        source=item.source,
        event_id=item.event_id,
        count=item.count,
        first=instant_text(item.first_at),
        last=instant_text(item.last_at),
        body=_text(item.body, whole=whole),
        stands=None if item.stands is None else _text(item.stands, whole=whole),
        body_base64=b64encode(item.body).decode() if whole or _inexact(item.body) else None,
    )


def held_json(item: HeldEvent) -> RejectionJson:
    """Return an event ahead of the clock as it is listed."""
    moment = instant_text(item.received_at)
    return RejectionJson(
        id=None,
        code=FUTURE,
        detail=f"time {instant_text(item.time)} is ahead of the clock; the event counts when the clock reaches it",
        status="held",
        channel=None,
        origin=None,
        site=item.site,
        source=item.source,
        event_id=item.id,
        count=1,
        first=moment,
        last=moment,
        body=None,
    )


def _inexact(body: bytes) -> bool:
    """Tell whether a short body is not the text that a list shows of it."""
    return len(body) <= _EXACT_BYTES_MAX and _text(body, whole=False).encode() != body


def _text(body: bytes, *, whole: bool) -> str:
    text = body.decode(errors="replace")
    return text if whole or len(text) <= EXCERPT_CHARS else text[:EXCERPT_CHARS] + "…"
