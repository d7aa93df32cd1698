"""GET /v1/charges: the booked lines, in booking order, for whoever keeps up with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec
from aiohttp import web

from meter.api.charge_json import ChargeLine, charge_line, csv_header, csv_rows
from meter.api.negotiate import best_media
from meter.api.routing import (
    CSV,
    JSON,
    NDJSON,
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
from meter.clock import monotonic_s
from meter.export.charge_json import ChargeJson, charge_json
from meter.model.errors import BadInput
from meter.store.keys import Principal
from meter.store.readers import ChargeFilter, ChargePage, charges_after, cursor_text, parse_cursor
from meter.store.usage import BEGINNING, Cursor

LIMIT_DEFAULT: Final = 100
# Rows read at once while streaming: some 200 kB of JSON, and work of about 15 ms before others have their turn.
STREAM_PAGE_CHARGES: Final = 200
# A reader that takes nothing for so long holds a connection for nothing.
WRITE_DEADLINE_S: Final = 60.0
WAIT_MAX_S: Final = 30
# Held requests look again so often where no hint comes (another process booked), and so soon after one: the line
# shows once older transactions have ended, some milliseconds after its own commit.
POLL_S: Final = 1.0
POLL_AFTER_HINT_S: Final = 0.05
# Below the bound on all requests, so that those who wait cannot keep everyone else out.
WAITING_MAX: Final = 200

Read = Callable[[Cursor, int], Awaitable[ChargePage]]


class ChargesQuery(Query, kw_only=True):
    """Filters are conjunctive; `from` and `to` bound a charge's `time`, half-open."""

    cursor: Annotated[str, msgspec.Meta(description="The `next` of an earlier answer; none: from the beginning.")] = ""
    limit: Limit | None = None
    account: str | None = None
    member: str | None = None
    site: str | None = None
    meter: str | None = None
    from_: InstantText | None = msgspec.field(default=None, name="from")
    to: InstantText | None = None
    wait: Annotated[
        int, msgspec.Meta(ge=0, le=WAIT_MAX_S, description="Hold the answer so many seconds until there is a charge.")
    ] = 0


class ChargesPage(Model, kw_only=True):
    """Charges in booking order. `next` is always a cursor to go on from, also where there is nothing yet."""

    charges: list[ChargeJson]
    next: str


def routes(services: Services) -> list[Route]:
    """Return the route of the charges."""
    reader = _ChargesReader(services)
    return [
        Route(
            method="GET",
            path="/v1/charges",
            handler=reader.answer,
            tag="charges",
            summary="Charges in booking order, from a cursor on",
            description=(
                "The cursor never skips a line that commits later and stays good for ever. JSON gives a page of "
                "`limit` (100), with `Link: rel=next` where more is there already. NDJSON and CSV give everything from "
                "the cursor on, or a page where `limit` is given; each of their lines carries the cursor behind it, so "
                "a reader that was cut off goes on from its last whole line."
            ),
            scope="usage:read",
            open_to=frozenset({"site", "account"}),
            query=ChargesQuery,
            answers={JSON: ChargesPage, NDJSON: ChargeLine, CSV: str},
        )
    ]


def filter_of(query: ChargesQuery, principal: Principal) -> ChargeFilter:
    """Return what `query` asks for, kept to what the key is restricted to. Raises BadInput."""
    for name, own, asked in (("site", principal.site, query.site), ("account", principal.account, query.account)):
        if own is not None and asked not in (None, own):
            raise BadInput(f"this key is restricted to another {name} than {asked!r:.60}", code="forbidden")
    return ChargeFilter(
        account=principal.account or query.account,
        member=query.member,
        site=principal.site or query.site,
        meter=query.meter,
        start=query_instant(query.from_, what="from") if query.from_ else None,
        end=query_instant(query.to, what="to") if query.to else None,
    )


class _ChargesReader:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._waiting = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        query = query_of(request, ChargesQuery)
        media = best_media(request, (JSON, NDJSON, CSV))
        wanted = filter_of(query, principal_of(request))
        cursor = parse_cursor(query.cursor) if query.cursor else BEGINNING
        operator = await self._services.require_operator()

        async def read(after: Cursor, charges_max: int) -> ChargePage:
            async with self._services.db.begin() as conn:
                return await charges_after(conn, operator, after, wanted, charges_max=charges_max)

        whole = media != JSON and query.limit is None
        page_max = query.limit or (STREAM_PAGE_CHARGES if whole else LIMIT_DEFAULT)
        if query.wait:
            page = await self._hold(request, read, cursor, page_max, query.wait)
        else:
            page = await read(cursor, page_max)
        if whole and request.method != "HEAD":
            return await _stream(request, media, read, page)
        headers = {"Link": next_link(request, page.next)} if page.more else {}
        if media == JSON:
            charges = [charge_json(charge) for charge, _ in page.charges]
            return json_answer(ChargesPage(charges=charges, next=cursor_text(page.next)), headers=headers)
        body = (csv_header() if media == CSV else "").encode() + _encoded(media, page)
        return web.Response(body=body, headers={**headers, "Content-Type": _content_type(media)})

    async def _hold(self, request: web.Request, read: Read, cursor: Cursor, page_max: int, wait_s: int) -> ChargePage:
        """Return the next page once it has a charge, or when the time is over or the caller gone."""
        if self._waiting >= WAITING_MAX:
            message = f"{WAITING_MAX} callers wait already; ask without wait, or again shortly"
            raise BadInput(message, code="too_many_waiting")
        self._waiting += 1
        try:
            deadline_s = monotonic_s() + wait_s
            pause_s, rest_s = POLL_S, POLL_AFTER_HINT_S
            while True:
                hint = self._services.booked.next()
                page = await read(cursor, page_max)
                left_s = deadline_s - monotonic_s()
                if page.charges or left_s <= 0 or self._services.stopping.is_set() or _gone(request):
                    return page
                cursor = page.next
                if await _heard(hint, min(pause_s, left_s)):
                    await asyncio.sleep(min(rest_s, left_s))
                    # Hints that were about others' charges come without end on a busy day: look ever less often.
                    pause_s = rest_s = min(2 * rest_s, POLL_S)
                else:
                    pause_s = min(2 * pause_s, POLL_S)
        finally:
            self._waiting -= 1


async def _heard(hint: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await hint.wait()
    except TimeoutError:
        return False
    return True


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def _stream(request: web.Request, media: str, read: Read, page: ChargePage) -> web.StreamResponse:
    """Send page after page; each is read in a transaction of its own, so that a slow reader holds up nobody."""
    response = web.StreamResponse(headers={"Content-Type": _content_type(media)})
    await response.prepare(request)
    if media == CSV:
        await response.write(csv_header().encode())
    while page.charges:
        async with asyncio.timeout(WRITE_DEADLINE_S):
            await response.write(_encoded(media, page))
        if not page.more:
            break
        page = await read(page.next, STREAM_PAGE_CHARGES)
    await response.write_eof()
    return response


def _encoded(media: str, page: ChargePage) -> bytes:
    lines = [charge_line(charge, cursor_text(cursor)) for charge, cursor in page.charges]
    if media == CSV:
        return csv_rows(lines).encode()
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def _content_type(media: str) -> str:
    return "text/csv; charset=utf-8; header=present" if media == CSV else media


def next_link(request: web.Request, cursor: Cursor) -> str:
    """Return where the next page is, with the same filters (RFC 8288)."""
    return f'<{request.rel_url.update_query(cursor=cursor_text(cursor))}>; rel="next"'
