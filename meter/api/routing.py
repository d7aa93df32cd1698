"""Routes as data: one table makes both what is served and what the OpenAPI document says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from aiohttp import web

from meter.model import texts
from meter.model.errors import BadInput
from meter.model.instant import parse_instant
from meter.store.keys import Principal, Restriction, Scope
from meter.transport.http_body import read_body

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
TEXT: Final = "text/plain"
HTML: Final = "text/html"
# Instead of a scope: whoever has a key may ask.
ANY: Final = "any"


class Model(msgspec.Struct, kw_only=True):
    """Base of what leaves as JSON."""


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of what comes in as JSON: a field that nobody reads is refused, so a typing error never passes unseen."""


class Query(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of a route's query parameters."""


class NoQuery(Query):
    """No parameters at all."""


Limit: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1000, description="At most so many.")]
InstantText: TypeAlias = texts.InstantText
DecimalText: TypeAlias = texts.DecimalText


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation.

    `scope` None: open to everyone; "any": to every key. `open_to`: the kinds of restricted keys that may call it,
    because its handler keeps to the restriction on every object. `query` names all parameters; `lenient_query` lets
    others pass unread. `bodies` and `answers` map media types to msgspec types (`bytes`: not described further).
    `status` is that of success.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Handler
    tag: str
    summary: str
    scope: Scope | Literal["any"] | None
    description: str = ""
    open_to: frozenset[Restriction] = frozenset()
    query: type[Query] = NoQuery
    lenient_query: bool = False
    bodies: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


PRINCIPAL: Final = web.RequestKey("principal", Principal)
QUERY: Final = web.RequestKey("query", Query)


def principal_of(request: web.Request) -> Principal:
    """Return who calls. Only within a route that has a scope."""
    return request[PRINCIPAL]


def query_of(request: web.Request, kind: type[T]) -> T:
    """Return the query parameters, which the route's guard has read as its `query` type."""
    query = request[QUERY]
    if not isinstance(query, kind):
        message = f"the route reads {type(query).__name__}, its handler wants {kind.__name__}"
        raise TypeError(message)
    return query


def read_query(request: web.Request, route: Route) -> Query:
    """Return the query parameters as the route's type. Raises BadInput (`bad_query`) naming the parameter at fault."""
    known = {item.encode_name for item in msgspec.structs.fields(route.query)}
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            if route.lenient_query:
                continue
            offer = ", ".join(sorted(known)) or "none"
            message = f"{name[:60]!r} is no query parameter of {route.path}; there are: {offer}"
            raise BadInput(message, code="bad_query")
        if name in given:
            message = f"query parameter {name!r} is given more than once; give it once"
            raise BadInput(message, code="bad_query")
        if "\0" in value:
            raise BadInput(f"query parameter {name!r} holds a NUL character; nothing here has one", code="bad_query")
        if value:
            given[name] = value
    try:
        found = msgspec.convert(given, route.query, strict=False)
    except msgspec.ValidationError as error:
        message = f"query: {error}; see /openapi.json for what each parameter takes"
        raise BadInput(message, code="bad_query") from error
    for item in msgspec.structs.fields(route.query):
        # The word null would drop a filter: it is read as none at all where a number or a date is asked for.
        if item.encode_name in given and getattr(found, item.name) is None:
            message = f"query parameter {item.encode_name!r} is {given[item.encode_name]!r}; leave it out instead"
            raise BadInput(message, code="bad_query")
    return found


def query_instant(given: str, *, what: str) -> datetime:
    """Return the instant of a query parameter. Raises BadInput (`bad_time`).

    An offset's `+` that was not percent-encoded arrives as a space, which stands nowhere else so near the end.
    """
    head, space, offset = given.rpartition(" ")
    return parse_instant(f"{head}+{offset}" if space and len(offset) == len("01:00") else given, what=what)


async def json_of(request: web.Request) -> Any:
    """Return the body as decoded JSON, numbers int or Decimal.

    Raises BadInput: `unsupported_media_type`, `bad_json`. The size and the time it may take are bounded by the server.
    """
    return _decoded(request, await read_body(request), Any)


async def body_of(request: web.Request, kind: type[T]) -> T:
    """Return the body as `kind`. Raises BadInput as `json_of` does, and `bad_body` naming the field at fault."""
    return _decoded(request, await read_body(request), kind)


def _decoded(request: web.Request, body: bytes, kind: type[T]) -> T:
    media = request.content_type
    if media != JSON and not media.endswith("+json"):
        message = f"Content-Type is {media[:80]!r}; send {JSON}"
        raise BadInput(message, code="unsupported_media_type")
    # JSON can say it, PostgreSQL cannot keep it. A backslash before it is refused too: nobody means that either.
    if b"\\u0000" in body:
        raise BadInput("the body holds a NUL character (\\u0000); leave it out", code="bad_body")
    try:
        return msgspec.json.Decoder(kind, float_hook=Decimal).decode(body)
    except msgspec.ValidationError as error:
        raise BadInput(f"body: {error}", code="bad_body") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"the body is no JSON: {error}", code="bad_json") from error


def json_answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return `value` (a Model or plain data) as JSON; Decimals leave as strings."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type=JSON, headers=headers)
