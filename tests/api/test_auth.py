"""Every route crossed with every kind of caller. What a restricted key may see of a route is in that route's tests."""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest

from meter.api import auth
from meter.api.app import AUTHENTICATOR, ROUTES
from meter.api.routing import Route
from meter.clock import monotonic_s
from meter.store.keys import SCOPES, Scope
from tests.api.conftest import ADMIN_KEY, Api, unthrottled
from tests.owning import as_owner

# Every route with the scope that was decided for it; "any": every key; None: open to everyone, or proven otherwise.
EXPECTED: dict[tuple[str, str], Scope | Literal["any"] | None] = {
    ("POST", "/v1/events"): "events:write",
    ("GET", "/v1/clock"): "any",
    ("GET", "/v1/edges/{site}/{edge}/stored"): "events:write",
    ("POST", "/hooks/{vendor}/{source}"): None,
    ("GET", "/v1/charges"): "usage:read",
    ("GET", "/v1/charges/{id}/explain"): "usage:read",
    ("GET", "/v1/accounts/{id}/balances"): "usage:read",
    ("GET", "/v1/accounts/{id}/invoices"): "usage:read",
    ("GET", "/v1/accounts/{id}/statement"): "usage:read",
    ("GET", "/v1/unresolved"): "usage:read",
    ("GET", "/v1/unresolved/{identity}/suggestions"): "catalog:write",
    ("POST", "/v1/unresolved/{identity}/claim"): "catalog:write",
    ("GET", "/v1/drafts"): "catalog:write",
    ("POST", "/v1/drafts/{vendor}/{name}/{kind}/{id}/apply"): "catalog:write",
    ("POST", "/v1/drafts/{vendor}/{name}/{kind}/{id}/dismiss"): "catalog:write",
    ("GET", "/v1/unread"): "usage:read",
    ("GET", "/v1/doubtful"): "usage:read",
    ("POST", "/v1/authorizations"): "authorizations:write",
    ("GET", "/v1/authorizations"): "usage:read",
    ("GET", "/v1/authorizations/{id}"): "authorizations:write",
    ("DELETE", "/v1/authorizations/{id}"): "authorizations:write",
    ("PUT", "/v1/accounts/{id}"): "catalog:write",
    ("PUT", "/v1/members/{id}"): "catalog:write",
    ("POST", "/v1/members/{id}/merge"): "catalog:write",
    ("GET", "/v1/identities"): "catalog:write",
    ("PUT", "/v1/identities/{id}"): "catalog:write",
    ("DELETE", "/v1/identities/{id}"): "catalog:write",
    ("PUT", "/v1/subscriptions/{id}"): "catalog:write",
    ("POST", "/v1/accounts/{id}/grants"): "catalog:write",
    ("PUT", "/v1/catalog"): "catalog:write",
    ("GET", "/v1/rejections"): "usage:read",
    ("GET", "/v1/rejections/{id}"): "usage:read",
    ("POST", "/v1/rejections/{id}/retry"): "events:write",
    ("POST", "/v1/rejections/{id}/discard"): "events:write",
    ("GET", "/v1/edges"): "usage:read",
    ("POST", "/v1/edges/{site}/{edge}/enrollment"): "admin",
    ("POST", "/v1/enrollments"): None,
    ("POST", "/v1/edges/{site}/{edge}/certificate"): "events:write",
    ("POST", "/v1/edges/{site}/{edge}/revoke"): "admin",
    ("GET", "/v1/edges/crl"): "usage:read",
    ("GET", "/v1/edges/ca"): "usage:read",
    ("GET", "/v1/edges/acl"): "usage:read",
    ("POST", "/v1/edges/{site}/{edge}/retire"): "admin",
    ("GET", "/v1/sources"): "usage:read",
    ("POST", "/v1/sources/{vendor}/{source}/poll"): "catalog:write",
    ("GET", "/v1/journal"): "usage:read",
    ("GET", "/v1/journal/balances"): "usage:read",
    ("GET", "/v1/deliveries"): "usage:read",
    ("GET", "/v1/deliveries/summary"): "usage:read",
    ("GET", "/v1/deliveries/{id}"): "usage:read",
    ("POST", "/v1/deliveries/{id}/retry"): "admin",
    ("POST", "/v1/deliveries/{id}/resend"): "admin",
    ("POST", "/v1/keys"): "admin",
    ("GET", "/v1/keys"): "admin",
    ("POST", "/v1/keys/{id}/rotate"): "admin",
    ("DELETE", "/v1/keys/{id}"): "admin",
    ("GET", "/v1/audit"): "admin",
    ("GET", "/health/live"): None,
    ("GET", "/health/ready"): None,
    ("GET", "/metrics"): None,
    ("GET", "/openapi.json"): None,
    ("GET", "/docs"): None,
    ("GET", "/docs/{file}"): None,
}


def _routes(api: Api) -> tuple[Route, ...]:
    return api.app[ROUTES]


def _path(route: Route) -> str:
    return re.sub(r"\{[^}]*\}", "x", route.path)


async def _call(api: Api, route: Route, key: str | None) -> int:
    options: dict[str, Any] = {"json": {}} if route.bodies else {}
    return (await api.call(route.method, _path(route), key=key, **options)).status


async def test_every_route_has_the_scope_that_was_decided_for_it(api: Api) -> None:
    scopes = {(route.method, route.path): route.scope for route in _routes(api)}
    assert scopes == EXPECTED


async def test_no_route_lets_in_a_caller_without_its_scope(api: Api) -> None:
    unthrottled(api)
    callers: dict[str, tuple[str | None, Any]] = {
        "nobody": (None, frozenset()),
        "unknown": ("mk_" + "A" * 43, frozenset()),
        "too short": ("mk_", frozenset()),
        "nearly the administrator": (ADMIN_KEY[:-1] + "X", frozenset()),
        "administrator": (ADMIN_KEY, frozenset(SCOPES)),
    }
    for scope in SCOPES:
        callers[scope] = (await api.key(scope), frozenset(SCOPES) if scope == "admin" else frozenset({scope}))
    for route in _routes(api):
        for name, (key, scopes) in callers.items():
            status = await _call(api, route, key)
            what = f"{route.method} {route.path} by {name}: {status}"
            if route.scope is None or route.scope in scopes or (route.scope == "any" and scopes):
                assert status not in {401, 403, 500}, what
            else:
                assert status == (403 if scopes else 401), what


@pytest.mark.parametrize("restriction", ["site", "account"])
async def test_a_restricted_key_meets_403_wherever_its_restriction_is_not_kept(api: Api, restriction: str) -> None:
    for scope in SCOPES:
        if scope == "admin":
            continue
        key = await api.key(scope, **{restriction: "x"})
        for route in _routes(api):
            status = await _call(api, route, key)
            what = f"{route.method} {route.path} with {scope}: {status}"
            if route.scope is None or (route.scope in {scope, "any"} and restriction in route.open_to):
                assert status not in {401, 403, 500}, what
            else:
                assert status == 403, what


async def test_a_refusal_says_how_to_be_let_in_and_nothing_of_keys(api: Api) -> None:
    refused = await api.get("/v1/charges", key=None)
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert refused.headers["Content-Type"] == "application/problem+json"
    wrong = await api.get("/v1/charges", key="mk_" + "B" * 43)
    assert "BBBB" not in wrong.text
    forbidden = await api.get("/v1/charges", key=await api.key("events:write"))
    assert "usage:read" in forbidden.json["detail"]


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer  ", f"Basic {ADMIN_KEY}", ADMIN_KEY, "Bearer \u00e9", "Bearer mk_\u00e4" + "A" * 42],
)
async def test_what_is_no_bearer_key_is_401(api: Api, header: str) -> None:
    answer = await api.call("GET", "/v1/charges", key=None, headers={"Authorization": header})
    assert answer.status == 401


async def test_the_scheme_has_no_case(api: Api) -> None:
    answer = await api.call("GET", "/v1/charges", key=None, headers={"Authorization": f"bEARER {ADMIN_KEY}"})
    assert answer.status == 200


async def test_a_secret_is_shown_once_and_kept_as_a_hash(api: Api) -> None:
    made = await api.call("POST", "/v1/keys", json={"scopes": ["usage:read"], "account": "acme"})
    assert made.status == 201
    secret = made.json["secret"]
    assert re.fullmatch(r"mk_[A-Za-z0-9_-]{43}", secret)
    listed = await api.get("/v1/keys")
    [key] = listed.json["keys"]
    assert key == {name: value for name, value in made.json.items() if name != "secret"}
    assert secret not in listed.text
    async with api.db.begin() as conn:
        rows = (await conn.exec_driver_sql("SELECT api_keys::text FROM api_keys")).scalars().all()
    assert not any(secret in row or secret.removeprefix("mk_") in row for row in rows)
    assert (await api.get("/v1/charges", key=secret)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": ["usage:read"], "site": "a", "account": "b"},
        {"scopes": ["admin"], "site": "a"},
        {"scopes": ["usage:read"], "acount": "b"},
        {},
        [],
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(api: Api, body: Any) -> None:
    assert (await api.call("POST", "/v1/keys", json=body)).status == 422
    assert (await api.get("/v1/keys")).json["keys"] == []


async def test_a_revoked_key_stops_working_here_at_once(api: Api) -> None:
    made = (await api.call("POST", "/v1/keys", json={"scopes": ["usage:read"]})).json
    assert (await api.get("/v1/charges", key=made["secret"])).status == 200
    revoked = await api.call("DELETE", f"/v1/keys/{made['id']}")
    assert revoked.status == 200
    assert revoked.json["revoked_at"] is not None
    assert (await api.get("/v1/charges", key=made["secret"])).status == 401
    again = await api.call("DELETE", f"/v1/keys/{made['id']}")
    assert again.json["revoked_at"] == revoked.json["revoked_at"]
    assert (await api.call("DELETE", "/v1/keys/key_none")).status == 404


async def test_a_key_revoked_elsewhere_stops_working_when_it_is_forgotten(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await api.key("usage:read")
    assert (await api.get("/v1/charges", key=key)).status == 200
    async with api.db.begin() as conn:
        await conn.exec_driver_sql("UPDATE api_keys SET revoked_at = now()")
    later = monotonic_s() + auth.CACHE_TTL_S
    monkeypatch.setattr(auth, "monotonic_s", lambda: later)
    assert (await api.get("/v1/charges", key=key)).status == 401


async def test_a_key_of_another_operator_is_unknown(api: Api) -> None:
    key = await api.key("usage:read")
    async with as_owner(api.db) as conn:
        await conn.exec_driver_sql("UPDATE api_keys SET operator = 'another'")
    assert (await api.get("/v1/charges", key=key)).status == 401


async def test_remembered_keys_are_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "CACHED_KEYS_MAX", 2)
    for _ in range(4):
        assert (await api.get("/v1/charges", key=await api.key("usage:read"))).status == 200
    assert len(api.app[AUTHENTICATOR]._seen) == 2
