"""Events whose time is doubtful, and sources whose clocks seem to be in another zone."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web

from meter.api.routing import (
    JSON,
    InstantText,
    Limit,
    Model,
    Query,
    Route,
    json_answer,
    principal_of,
    query_instant,
    query_of,
)
from meter.api.services import Services
from meter.export.charge_json import EventKeyJson
from meter.model.doubt import reason_of
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.store.doubtful import DoubtfulAt, DoubtfulTime, ShiftedSource, doubtful_times, shifted_sources


class DoubtfulQuery(Query, kw_only=True):
    """A page of the list, in the order of times; `from` bounds them."""

    from_: InstantText | None = msgspec.field(default=None, name="from")
    flag: str | None = None
    cursor: Annotated[str, msgspec.Meta(description="The `next` of an earlier answer.")] = ""
    limit: Limit = 100


class DoubtfulJson(Model, kw_only=True):
    """An event whose time is doubtful, and why. `timed` false: that of its receipt stands in."""

    event: EventKeyJson
    type: str
    site: str
    time: InstantText
    timed: bool
    received_at: InstantText
    flag: str
    reason: str


class ShiftedJson(Model, kw_only=True):
    """A source whose events all came `late_seconds` after their time, to a minute and a half; negative: before it."""

    source: str
    events: int
    late_seconds: int
    last: InstantText


class DoubtfulPage(Model, kw_only=True):
    """What is listed, in order; `sources` on the first page only; `next` is null at the end."""

    doubtful: list[DoubtfulJson]
    sources: list[ShiftedJson]
    next: str | None


def routes(services: Services) -> list[Route]:
    """Return the route of the list."""

    async def show(request: web.Request) -> web.StreamResponse:
        query, site = query_of(request, DoubtfulQuery), principal_of(request).site
        after = _after(query.cursor) if query.cursor else None
        since = query_instant(query.from_, what="from") if query.from_ else None
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            found = await doubtful_times(
                conn, operator, since=since, flag=query.flag, site=site, after=after, rows_max=query.limit
            )
            shifted = [] if after is not None else await shifted_sources(conn, operator, since=since, site=site)
        return json_answer(
            DoubtfulPage(
                doubtful=[doubtful_json(one) for one in found],
                sources=[shifted_json(one) for one in shifted],
                next=_cursor(place_of(found[-1])) if len(found) == query.limit else None,
            )
        )

    return [
        Route(
            method="GET",
            path="/v1/doubtful",
            handler=show,
            tag="work lists",
            summary="Events whose time is doubtful, and sources whose clocks seem to be in another zone",
            description="An entry leaves the list when its event is voided, or is no longer ahead of the clock.",
            scope="usage:read",
            open_to=frozenset({"site"}),
            query=DoubtfulQuery,
            answers={JSON: DoubtfulPage},
        )
    ]


def doubtful_json(one: DoubtfulTime) -> DoubtfulJson:
    """Return an entry of the list as it leaves."""
    return DoubtfulJson(
        event=EventKeyJson(source=one.source, id=one.id),
        type=one.type,
        site=one.site,
        time=instant_text(one.time),
        timed=one.timed,
        received_at=instant_text(one.received_at),
        flag=one.flag,
        reason=reason_of(one.flag),
    )


def shifted_json(one: ShiftedSource) -> ShiftedJson:
    """Return a source as it leaves."""
    return ShiftedJson(source=one.source, events=one.events, late_seconds=one.late_s, last=instant_text(one.last))


def place_of(one: DoubtfulTime) -> DoubtfulAt:
    """Return where an entry is in the list."""
    return DoubtfulAt(one.time, one.source, one.id, one.flag)


def _cursor(at: DoubtfulAt) -> str:
    return "d" + urlsafe_b64encode(msgspec.json.encode(at)).decode().rstrip("=")


def _after(cursor: str) -> DoubtfulAt:
    """Return the place in a cursor of `_cursor`'s. Raises BadInput (`bad_cursor`)."""
    try:
        body = urlsafe_b64decode(cursor[1:] + "=" * (-len(cursor[1:]) % 4))
        at = DoubtfulAt(*msgspec.json.decode(body, type=tuple[datetime, str, str, str]))
        if b"\\u0000" not in body and _cursor(at) == cursor:
            return at
    except (ValueError, msgspec.MsgspecError):
        pass
    message = f"{cursor[:60]!r} is no cursor; use the `next` of an earlier answer unchanged, or none to begin"
    raise BadInput(message, code="bad_cursor")
