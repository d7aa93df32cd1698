"""The operations of the OpenAPI document, and what there is for each: objects of its path, its query and its body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeAlias

import pytest

from meter.api.app import ROUTES
from meter.api.openapi import document
from meter.api.routing import Route
from tests.api.objects import ACCOUNTS, BADGE, CELLS, MEMBER_OF, SITES, Of, World

Params: TypeAlias = dict[str, str]
# Objects by whose they are; `None`: one that is not there.
Objects: TypeAlias = list[tuple[Of | None, Params]]

# Parameters of a query that name no object: any value.
PLAIN: Final[Mapping[str, str]] = {
    "actor": "cli:nobody",
    "object": "nothing",
    "at": "2026-03-15T00:00:00Z", "boot": "1", "code": "conflict", "day": "2026-03-02", "dry_run": "1",
    "flag": "future_time", "from": "2026-01-01T00:00:00Z", "kind": "account", "ledger_account": "assets:receivable",
    "limit": "1", "meter": "print-pages", "offline": "1", "open": "1", "period": "2026-03", "reason": "because",
    "since": "2026-03-01", "state": "open", "status": "open", "suspense": "1", "target": "books",
    "to": "2027-01-01T00:00:00Z", "token": "guess", "until": "2026-03-31", "unused": "1", "wait": "0",
}  # fmt: skip
# Another kind of the same word, and what an operation cannot do without.
PLAIN_OF: Final[Mapping[str, Params]] = {
    "GET /v1/journal/balances": {"at": "2026-03-31"},
    "GET /v1/deliveries": {"state": "pending"},
    "GET /v1/drafts": {"state": "open"},
    "DELETE /v1/identities/{id}": {"from": "always"},
}
NEEDED: Final[Mapping[str, Params]] = {
    "GET /v1/edges/{site}/{edge}/stored": {"boot": "1"},
    "DELETE /v1/identities/{id}": {"member": "nobody"},
}
_numbers = count()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One of the document's."""

    method: str
    path: str
    scopes: list[str] | None  # None: open; []: every key
    query: list[str]
    bodies: list[str]
    answers: list[str]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def operations(world: World) -> list[Operation]:
    """Every operation of the document that is served."""
    routes: tuple[Route, ...] = world.api.app[ROUTES]
    described = document(routes)
    return [
        Operation(
            method=method.upper(),
            path=path,
            scopes=one["security"][0]["key"] if one["security"] else None,
            query=[parameter["name"] for parameter in one["parameters"] if parameter["in"] == "query"],
            bodies=[*one.get("requestBody", {}).get("content", {})],
            answers=[media for answer in one["responses"].values() for media in answer.get("content", {})],
        )
        for path, methods in described["paths"].items()
        for method, one in methods.items()
    ]


def by_account(name: str = "id") -> Objects:
    return [*((Of(account=one), {name: one}) for one in ACCOUNTS), (None, {name: "nobody"})]


def path_objects(world: World) -> dict[str, Objects]:
    """Objects of each path: those of both accounts and sites, and one that is not there."""
    edges: Objects = [(Of(site=one), {"site": one, "edge": f"kanari-edge-{one}"}) for one in SITES]
    edges += [(None, {"site": "nowhere", "edge": "kanari-edge-nowhere"})]
    charges: Objects = [*((of, {"id": charge}) for of, charge in world.charges.items()), (None, {"id": "ch_none"})]
    asks: Objects = [(of, {"id": f"kanari-ask-{of.account}-{of.site}"}) for of in CELLS]
    asks += [(None, {"id": "kanari-ask-none"})]
    refused: Objects = [(of, {"id": number}) for of, number in world.rejections.items()]
    refused += [(None, {"id": "999999"})]
    members: Objects = [*((Of(account=of), {"id": one}) for of, one in MEMBER_OF.items()), (None, {"id": "nobody"})]
    identities: Objects = [*((Of(account=of), {"id": one}) for of, one in BADGE.items()), (None, {"id": "badge:NONE"})]
    parked: Objects = [(Of(site=one), {"identity": f"kisi:kanari-{one}"}) for one in SITES]
    parked += [(None, {"identity": "kisi:none"})]
    draft = {"vendor": "cobot", "name": "main", "kind": "account"}
    drafts: Objects = [(of, draft | named) for of, named in by_account()]
    sent: Objects = [(Of(account=one), {"id": str(n)}) for n, one in enumerate(ACCOUNTS, 1)] + [(None, {"id": "99"})]
    held: Objects = [(Of(account=one), {"id": f"{one}-flex"}) for one in ACCOUNTS] + [(None, {"id": "none"})]
    source: Objects = [(None, {"vendor": "square", "source": "till"})]
    nothing: Objects = [(None, {"id": "none", "file": "none"})]
    return {
        "/v1/edges/{site}/{edge}": edges,
        "/v1/charges/{id}": charges,
        "/v1/accounts/{id}": by_account(),
        "/v1/authorizations/{id}": asks,
        "/v1/rejections/{id}": refused,
        "/v1/members/{id}": members,
        "/v1/identities/{id}": identities,
        "/v1/unresolved/{identity}": parked,
        "/v1/drafts/{vendor}/{name}/{kind}/{id}": drafts,
        "/v1/deliveries/{id}": sent,
        "/v1/subscriptions/{id}": held,
        "/v1/sources/{vendor}/{source}": source,
        "/hooks/{vendor}/{source}": source,
        "/v1/keys/{id}": nothing,
        "/v1/keys/{id}/rotate": nothing,
        "/docs/{file}": nothing,
    }


def objects_of(world: World, operation: Operation) -> Objects:
    """The objects that an operation may be about. A path that nobody thought of fails here."""
    if "{" not in operation.path:
        return [(None, {})]
    for path, objects in path_objects(world).items():
        if operation.path == path or operation.path.startswith(f"{path}/"):
            return objects
    pytest.fail(
        f"{operation.name}: tests/api/object_examples.py knows no objects of this path; add them to path_objects"
    )


def query_objects(world: World, operation: Operation, name: str) -> Objects:
    """Values of a parameter. One that nobody thought of fails here."""
    plain = PLAIN_OF.get(operation.name, {}).get(name, PLAIN.get(name))
    named: dict[str, Objects] = {
        "account": by_account("account"),
        "member": [(Of(account=of), {"member": one}) for of, one in MEMBER_OF.items()] + [(None, {"member": "nobody"})],
        "site": [*((Of(site=one), {"site": one}) for one in SITES), (None, {"site": "nowhere"})],
        "identity": [
            *((Of(account=of), {"identity": one}) for of, one in BADGE.items()),
            (None, {"identity": "badge:NONE"}),
        ],
        "before": [(of, {"before": number}) for of, number in world.rejections.items()],
        "cursor": [],  # another key's is asked with below
    }
    if name in named:
        return named[name]
    if plain is None:
        pytest.fail(f"{operation.name}: does ?{name}= name objects? Add it to PLAIN, or to query_objects")
    return [(None, {name: plain})]


def bodies_of(operation: Operation) -> list[tuple[Of | None, Any, str]]:
    """Bodies, whom they are about, and their type. Of an operation that nobody thought of `{}` is sent."""
    number = f"try-{next(_numbers)}"
    if operation.name == "POST /v1/events":
        event = {"specversion": "1.0", "id": number, "type": "x", "subject": BADGE["acme"], "data": {}}
        kind = "application/cloudevents+json"
        sites: list[tuple[Of | None, str]] = [*((Of(site=one), one) for one in SITES), (None, "nowhere")]
        return [(of, event | {"source": f"{site}/print/x", "id": f"{number}-{site}"}, kind) for of, site in sites]
    if operation.name == "POST /v1/authorizations":
        ask = {"meter": "print-pages"}
        asks: list[tuple[Of | None, dict[str, Any]]] = [
            (of, {"identity": BADGE[str(of.account)], "site": of.site, "id": f"{number}-{n}"})
            for n, of in enumerate(CELLS)
        ]
        asks += [(None, {"identity": "badge:NONE", "site": "nowhere", "id": f"{number}-n"})]
        return [(of, ask | one, "application/json") for of, one in asks]
    return [(None, {}, operation.bodies[0])] if operation.bodies else [(None, None, "")]
