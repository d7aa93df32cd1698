"""API keys over HTTP, for administrators."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from aiohttp import web

from meter.api.routing import JSON, Body, InstantText, Model, Route, body_of, json_answer
from meter.api.services import Services
from meter.model.instant import instant_text, parse_instant
from meter.store.keys import (
    OVERLAP_HOURS,
    OVERLAP_HOURS_MAX,
    ApiKey,
    Scope,
    create_key,
    list_keys,
    revoke_key,
    rotate_key,
)
from meter.transport.http_body import read_body


class NewKey(Body, kw_only=True):
    """What a new key may do; optionally at one site or for one account only."""

    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1)]
    site: str | None = None
    account: str | None = None
    label: str | None = None
    expires_at: InstantText | None = None


class Rotation(Body, kw_only=True):
    """How long the former key goes on working."""

    overlap_hours: Annotated[int, msgspec.Meta(ge=0, le=OVERLAP_HOURS_MAX)] = OVERLAP_HOURS


class KeyJson(Model, kw_only=True):
    """A key without its secret. Keys of one `client` follow one another; `last_used_at` is right to a minute."""

    id: str
    label: str | None
    client: str
    scopes: list[str]
    site: str | None
    account: str | None
    created_at: InstantText
    revoked_at: InstantText | None
    expires_at: InstantText | None
    last_used_at: InstantText | None


class CreatedKey(KeyJson, kw_only=True):
    """A new key. Its secret is shown this once."""

    secret: str


class Keys(Model, kw_only=True):
    """Every key, the oldest first."""

    keys: list[KeyJson]


def key_fields(key: ApiKey) -> dict[str, Any]:
    """Return the fields of `KeyJson`."""
    return {
        "id": key.id,
        "label": key.label,
        "client": key.client,
        "scopes": list(key.scopes),
        "site": key.site,
        "account": key.account,
        "created_at": instant_text(key.created_at),
        "revoked_at": _told(key.revoked_at),
        "expires_at": _told(key.expires_at),
        "last_used_at": _told(key.last_used_at),
    }


def _told(instant: datetime | None) -> str | None:
    return None if instant is None else instant_text(instant)


def routes(services: Services) -> list[Route]:
    """Return the routes of keys; one that is revoked here stops working here at once."""

    async def create(request: web.Request) -> web.StreamResponse:
        wanted = await body_of(request, NewKey)
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            key, secret = await create_key(
                conn,
                operator,
                scopes=frozenset(wanted.scopes),
                site=wanted.site,
                account=wanted.account,
                label=wanted.label,
                expires_at=None if wanted.expires_at is None else parse_instant(wanted.expires_at, what="expires_at"),
                at=services.clock(),
            )
        return json_answer(CreatedKey(**key_fields(key), secret=secret), status=201)

    async def show(_request: web.Request) -> web.StreamResponse:
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            keys = await list_keys(conn, operator)
        return json_answer(Keys(keys=[KeyJson(**key_fields(key)) for key in keys]))

    async def revoke(request: web.Request) -> web.StreamResponse:
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            key = await revoke_key(conn, operator, request.match_info["id"], at=services.clock())
        services.keys.heard()
        return json_answer(KeyJson(**key_fields(key)))

    async def rotate(request: web.Request) -> web.StreamResponse:
        wanted = await body_of(request, Rotation) if await read_body(request) else Rotation()
        operator = await services.require_operator()
        overlap = timedelta(hours=wanted.overlap_hours)
        async with services.db.begin() as conn:
            key, secret = await rotate_key(
                conn, operator, request.match_info["id"], overlap=overlap, at=services.clock()
            )
        services.keys.heard()
        return json_answer(CreatedKey(**key_fields(key), secret=secret), status=201)

    return [
        Route(
            method="POST",
            path="/v1/keys",
            handler=create,
            tag="keys",
            summary="Make a key; its secret is shown this once",
            scope="admin",
            bodies={JSON: NewKey},
            answers={JSON: CreatedKey},
            status=201,
        ),
        Route(
            method="GET",
            path="/v1/keys",
            handler=show,
            tag="keys",
            summary="All keys, revoked ones too",
            scope="admin",
            answers={JSON: Keys},
        ),
        Route(
            method="POST",
            path="/v1/keys/{id}/rotate",
            handler=rotate,
            tag="keys",
            summary="Make the key that follows; the former works on for a while",
            description="Both work until the former one's end. 409 where it is not good any more, or two are already.",
            scope="admin",
            bodies={JSON: Rotation},
            answers={JSON: CreatedKey},
            status=201,
        ),
        Route(
            method="DELETE",
            path="/v1/keys/{id}",
            handler=revoke,
            tag="keys",
            summary="Revoke a key: within seconds no gateway takes it any more",
            scope="admin",
            answers={JSON: KeyJson},
        ),
    ]
