"""What no meter could count: missing values, ends without a start, refunds of more than is left."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web

from meter.api.routing import JSON, InstantText, Limit, Model, Query, Route, json_answer, principal_of, query_of
from meter.api.services import Services
from meter.export.charge_json import EventKeyJson
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.store.unread import UnreadAt, UnreadCode, UnreadValue, unread_values


class UnreadQuery(Query, kw_only=True):
    """A page of the list, in the order of accounts and times."""

    account: str | None = None
    meter: str | None = None
    cursor: Annotated[str, msgspec.Meta(description="The `next` of an earlier answer.")] = ""
    limit: Limit = 100


class UnreadJson(Model, kw_only=True):
    """What a meter could not count of an event, and why.

    `code`: `unread` (a value is missing or no number), `orphan` (an end without a start) or `refund` (more than is left
    of the sale). `element` is that of the event's array, from 0.
    """

    code: UnreadCode
    account: str
    meter: str
    event: EventKeyJson
    element: int
    time: InstantText
    reason: str


class UnreadPage(Model, kw_only=True):
    """What is listed, in order; `next` is null at the end."""

    unread: list[UnreadJson]
    next: str | None


def routes(services: Services) -> list[Route]:
    """Return the route of the list."""

    async def show(request: web.Request) -> web.StreamResponse:
        query, principal = query_of(request, UnreadQuery), principal_of(request)
        if principal.account is not None and query.account not in {None, principal.account}:
            message = f"this key is restricted to another account than {query.account!r:.60}"
            raise BadInput(message, code="forbidden")
        after = _after(query.cursor) if query.cursor else None
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            found = await unread_values(
                conn,
                operator,
                account=principal.account or query.account,
                meter=query.meter,
                site=principal.site,
                after=after,
                rows_max=query.limit,
            )
        following = _cursor(place_of(*found[-1])) if len(found) == query.limit else None
        return json_answer(UnreadPage(unread=[unread_json(account, value) for account, value in found], next=following))

    return [
        Route(
            method="GET",
            path="/v1/unread",
            handler=show,
            tag="work lists",
            summary="What no meter could count: missing values, ends without a start, refunds of more than is left",
            description="An entry leaves the list when an amendment, a void or a late event settles it.",
            scope="usage:read",
            open_to=frozenset({"site", "account"}),
            query=UnreadQuery,
            answers={JSON: UnreadPage},
        )
    ]


def unread_json(account: str, value: UnreadValue) -> UnreadJson:
    """Return an entry of the list as it leaves."""
    return UnreadJson(
        code=value.code,
        account=account,
        meter=value.meter,
        event=EventKeyJson(source=value.source, id=value.id),
        element=value.element,
        time=instant_text(value.place.time),
        reason=value.reason,
    )


def place_of(account: str, value: UnreadValue) -> UnreadAt:
    """Return where an entry is in the list."""
    return UnreadAt(account, value.place.time, value.source, value.id, value.meter, value.element)


def _cursor(at: UnreadAt) -> str:
    return "n" + urlsafe_b64encode(msgspec.json.encode(at)).decode().rstrip("=")


def _after(cursor: str) -> UnreadAt:
    """Return the place in a cursor of `_cursor`'s. Raises BadInput (`bad_cursor`)."""
    try:
        body = urlsafe_b64decode(cursor[1:] + "=" * (-len(cursor[1:]) % 4))
        at = UnreadAt(*msgspec.json.decode(body, type=tuple[str, datetime, str, str, str, int]))
        if b"\\u0000" not in body and _cursor(at) == cursor:
            return at
    except (ValueError, msgspec.MsgspecError):
        pass
    message = f"{cursor[:60]!r} is no cursor; use the `next` of an earlier answer unchanged, or none to begin"
    raise BadInput(message, code="bad_cursor")
