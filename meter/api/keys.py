"""API keys over HTTP, for administrators."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from aiohttp import web

from meter.api.auth import Authenticator
from meter.api.routing import JSON, Body, InstantText, Model, Route, body_of, json_answer
from meter.api.services import Services
from meter.model.instant import instant_text
from meter.store.keys import ApiKey, Scope, create_key, list_keys, revoke_key


class NewKey(Body, kw_only=True):
    """What a new key may do; optionally at one site or for one account only."""

    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1)]
    site: str | None = None
    account: str | None = None


class KeyJson(Model, kw_only=True):
    """A key without its secret."""

    id: str
    scopes: list[str]
    site: str | None
    account: str | None
    created_at: InstantText
    revoked_at: InstantText | None


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
        "scopes": list(key.scopes),
        "site": key.site,
        "account": key.account,
        "created_at": instant_text(key.created_at),
        "revoked_at": None if key.revoked_at is None else instant_text(key.revoked_at),
    }


def routes(services: Services, authenticator: Authenticator) -> list[Route]:
    """Return the routes of keys; one that is revoked here stops working here at once."""

    async def create(request: web.Request) -> web.StreamResponse:
        wanted = await body_of(request, NewKey)
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            key, secret = await create_key(
                conn, operator, scopes=frozenset(wanted.scopes), site=wanted.site, account=wanted.account
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
        authenticator.forget()
        return json_answer(KeyJson(**key_fields(key)))

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
            method="DELETE",
            path="/v1/keys/{id}",
            handler=revoke,
            tag="keys",
            summary="Revoke a key: within seconds no gateway takes it any more",
            scope="admin",
            answers={JSON: KeyJson},
        ),
    ]
