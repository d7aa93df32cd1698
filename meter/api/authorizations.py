"""Asking before acting: may this member have that, and what would it cost? `POST /v1/authorizations` and its list."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from aiohttp import web

from meter.api.authorization_json import AuthorizationJson, AuthorizationsPage, authorization_json
from meter.api.routing import (
    JSON,
    Body,
    DecimalText,
    InstantText,
    Limit,
    Query,
    Route,
    body_of,
    json_answer,
    principal_of,
    query_of,
)
from meter.api.services import Services
from meter.booking.authorizing import Authorizer, Offline, OfflineReason, Wanted
from meter.clock import monotonic_s
from meter.model import card_number
from meter.model.errors import BadInput
from meter.model.instant import parse_instant
from meter.model.money import parse_decimal
from meter.model.strict_json import strict_json
from meter.rating.quote import Reason
from meter.store.authorizations import (
    Authorization,
    find_authorization,
    list_authorizations,
    not_known,
    release_authorization,
)
from meter.store.keys import Principal
from meter.transport.http_body import read_body
from meter.transport.looking import looked

# As long as a document takes to print or a guest to find the locker, unless the asker says how long it is.
EXPIRES_S: Final = 300
EXPIRES_S_MAX: Final = 86_400
# What an event says that a price is a percentage of: some numbers, never a document.
_DATA_BYTES_MAX: Final = 8192
_PATH: Final = "/v1/authorizations"
# The answer is an earlier one: what it says of credit was so then.
REPLAYED: Final = "Idempotent-Replayed"

_Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class OfflineBody(Body, kw_only=True):
    """What an agent on site answered by itself, and when, by its corrected clock."""

    asked_at: InstantText
    allowed: bool
    reasons: list[Reason | OfflineReason] = msgspec.field(default_factory=list)


class AskBody(Body, kw_only=True):
    """Who wants what: one of `member` and `identity` (`kind:value`) is set. `id` is the asker's, new for each ask.

    `quantity` is in the meter's unit. `dimensions` are as in a charge. `data` is what the event will say, which only a
    price that is a percentage of a field reads. What is allowed is reserved for `expires_s` seconds. With
    `offline` it is no question: an agent tells what it has answered while it heard nothing.
    """

    id: _Name
    site: _Name
    meter: _Name
    member: _Name | None = None
    identity: str | None = None
    quantity: DecimalText = "1"
    dimensions: dict[str, Any] = msgspec.field(default_factory=dict)
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    expires_s: Annotated[int, msgspec.Meta(ge=1, le=EXPIRES_S_MAX)] = EXPIRES_S
    offline: OfflineBody | None = None


class AuthorizationsQuery(Query, kw_only=True):
    """A page of the list, the newest first."""

    account: Annotated[str, msgspec.Meta(description="Only this account's.")] = ""
    open: Annotated[bool, msgspec.Meta(description="Only what reserves something now.")] = False
    unused: Annotated[bool, msgspec.Meta(description="Only what was allowed and expired without an event.")] = False
    offline: Annotated[bool, msgspec.Meta(description="Only what an agent on site answered by itself.")] = False
    cursor: Annotated[str, msgspec.Meta(description="The `next` of an earlier answer.")] = ""
    limit: Limit = 100


def routes(services: Services) -> list[Route]:
    """Return the routes of asking, of letting go and of the list."""
    known: dict[str, Authorizer] = {}

    async def ask(request: web.Request) -> web.StreamResponse:
        started = monotonic_s()
        operator = await services.require_operator()
        wanted = await _wanted(request)
        authorizer = known.get(operator)
        if authorizer is None:
            authorizer = known[operator] = Authorizer(services.db, operator, clock=services.clock)
        found = await authorizer.ask(wanted)
        answered = "allowed" if found.authorization.allowed else "refused"
        outcome = "repeated" if found.repeated else answered if wanted.offline is None else "offline"
        services.telemetry.authorized(outcome, seconds=monotonic_s() - started)
        headers = {REPLAYED: "true"} if found.repeated else None
        return json_answer(authorization_json(found.authorization, at=services.clock()), headers=headers)

    async def show(request: web.Request) -> web.StreamResponse:
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            found = await find_authorization(conn, operator, request.match_info["id"])
        seen = _seen(found, request.match_info["id"], principal_of(request))
        return json_answer(authorization_json(seen, at=services.clock()))

    async def release(request: web.Request) -> web.StreamResponse:
        operator, name, at = await services.require_operator(), request.match_info["id"], services.clock()
        async with services.db.begin() as conn:
            before = _seen(await find_authorization(conn, operator, name), name, principal_of(request))
            found = await release_authorization(conn, operator, name, at=at)
        if found is not None and found.released_at != before.released_at:
            services.telemetry.authorization_released()
        return json_answer(authorization_json(found or before, at=at))

    async def show_all(request: web.Request) -> web.StreamResponse:
        query, principal, at = query_of(request, AuthorizationsQuery), principal_of(request), services.clock()
        operator = await services.require_operator()
        if principal.account is not None and query.account not in {"", principal.account}:
            return json_answer(AuthorizationsPage(authorizations=[], next=None))
        async with services.db.begin() as conn:
            found = await list_authorizations(
                conn,
                operator,
                account=principal.account or query.account or None,
                site=principal.site,
                open_at=at if query.open else None,
                unused_at=at if query.unused else None,
                offline=query.offline,
                before=_before(query.cursor) if query.cursor else None,
                limit=query.limit,
            )
        following = _cursor(found[-1]) if len(found) == query.limit else None
        listed = [authorization_json(one, at=at) for one in found]
        return json_answer(AuthorizationsPage(authorizations=listed, next=following))

    return [
        Route(
            method="POST",
            path=_PATH,
            handler=ask,
            tag="authorizations",
            summary="Ask before acting: may this member have that, and what would it cost?",
            description="The same ask under the same id is answered as the first time, with the header"
            " `Idempotent-Replayed: true`; another one is a conflict.",
            scope="authorizations:write",
            open_to=frozenset({"site", "account"}),
            bodies={JSON: AskBody},
            answers={JSON: AuthorizationJson},
        ),
        Route(
            method="GET",
            path=_PATH,
            handler=show_all,
            tag="authorizations",
            summary="What was asked for, the newest first, and what became of it",
            scope="usage:read",
            open_to=frozenset({"site", "account"}),
            query=AuthorizationsQuery,
            answers={JSON: AuthorizationsPage},
        ),
        Route(
            method="GET",
            path=f"{_PATH}/{{id}}",
            handler=show,
            tag="authorizations",
            summary="One ask, its answer, and what became of it",
            scope="authorizations:write",
            open_to=frozenset({"site", "account"}),
            answers={JSON: AuthorizationJson},
        ),
        Route(
            method="DELETE",
            path=f"{_PATH}/{{id}}",
            handler=release,
            tag="authorizations",
            summary="Let a reservation go: nothing will come of it",
            description="What is settled, released or expired already stays so.",
            scope="authorizations:write",
            open_to=frozenset({"site", "account"}),
            answers={JSON: AuthorizationJson},
        ),
    ]


async def _wanted(request: web.Request) -> Wanted:
    """Return what the body asks for, within what the key may ask. Raises BadInput."""
    raw = await read_body(request)
    if (where := (await looked(lambda: card_number.masked_body(raw)[1], [raw]))) is not None:
        raise card_number.refused(where)
    body, principal = await body_of(request, AskBody), principal_of(request)
    if (body.member is None) == (body.identity is None):
        raise BadInput("the ask must name one of `member` and `identity`", code="bad_body")
    if principal.site not in {None, body.site}:
        raise BadInput(f"this key is not for site {body.site[:60]!r}", code="forbidden")
    # Again and strictly: numbers as they are written, no deeper than an event may be.
    given = strict_json(raw)
    data = given.get("data", {})
    if len(msgspec.json.encode(data)) > _DATA_BYTES_MAX:
        raise BadInput(f"`data` has more than {_DATA_BYTES_MAX} bytes; send what the price reads", code="bad_body")
    return Wanted(
        id=body.id,
        identity=body.identity if body.identity is not None else f"member:{body.member}",
        site=body.site,
        meter=body.meter,
        quantity=parse_decimal(body.quantity, what="quantity"),
        expires_s=body.expires_s,
        key=principal.key,
        for_account=principal.account,
        dimensions=given.get("dimensions", {}),
        data=data,
        offline=None
        if body.offline is None
        else Offline(
            asked_at=parse_instant(body.offline.asked_at, what="offline.asked_at"),
            allowed=body.offline.allowed,
            reasons=tuple(body.offline.reasons),
        ),
    )


def _seen(found: Authorization | None, name: str, principal: Principal) -> Authorization:
    """Return what the key may see. Raises BadInput (`not_found`) for the rest as for what is not there."""
    if found is None or principal.site not in {None, found.site} or principal.account not in {None, found.account}:
        raise not_known(name)
    return found


def _cursor(last: Authorization) -> str:
    place = msgspec.json.encode((last.asked_at.isoformat(), last.id))
    return "a" + urlsafe_b64encode(place).decode().rstrip("=")


def _before(cursor: str) -> tuple[datetime, str]:
    """Return the place in a cursor of `_cursor`'s. Raises BadInput (`bad_cursor`)."""
    try:
        body = urlsafe_b64decode(cursor[1:] + "=" * (-len(cursor[1:]) % 4))
        asked_at, name = msgspec.json.decode(body, type=tuple[str, str])
        if cursor[:1] == "a" and b"\\u0000" not in body:
            return parse_instant(asked_at), name
    except (ValueError, msgspec.MsgspecError, BadInput):
        pass
    message = f"{cursor[:60]!r} is no cursor; use the `next` of an earlier answer unchanged, or none to begin"
    raise BadInput(message, code="bad_cursor")
