"""Every operation of the OpenAPI document x every key x own, foreign and absent objects: no key is told of another's.

What is foreign and what is not there are answered alike, so that nobody can try out ids. A new route is asked as well:
it needs examples of its objects in `object_examples`, and fails until it has them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from meter.api.auth import keep_to_account
from meter.api.authorizations import _seen as seen
from meter.model.errors import BadInput
from meter.store.keys import Principal
from meter.store.readers import ChargeFilter
from tests.api.object_examples import NEEDED, Operation, objects_of, operations, query_objects
from tests.api.object_judge import judged, path_of
from tests.api.objects import ACCOUNTS, MEMBER_OF, SITES, World, planted


@pytest_asyncio.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with planted(database_url, tmp_path) as made:
        yield made


async def test_no_key_is_told_of_anothers(world: World) -> None:
    judge = await judged(world)
    assert not judge.faults, "\n".join(judge.faults)
    print(f"{len(operations(world))} operations, {judge.asked} requests, {len(world.words)} words planted")  # noqa: T201


async def test_every_word_is_told_to_somebody(world: World) -> None:
    """The words stand where routes could tell them; else finding none of them means nothing."""
    told = ""
    for operation in operations(world):
        if operation.method == "GET" and operation.scopes is not None:
            for _, params in objects_of(world, operation):
                path = path_of(operation, params)
                told += (await world.api.get(f"{path}?{urlencode(NEEDED.get(operation.name, {}))}")).text
    missing = {word for word in world.words if word not in told}
    assert missing == {f"kanari-{member}@" for member in MEMBER_OF.values()} | {
        f"kanari-name-{name}" for name in (*MEMBER_OF.values(), *SITES)
    }


async def test_a_route_of_which_nobody_thought_fails_with_what_to_add(world: World) -> None:
    new = Operation(method="GET", path="/v1/lockers/{id}", scopes=["usage:read"], query=["door"], bodies=[], answers=[])
    with pytest.raises(pytest.fail.Exception, match=r"GET /v1/lockers/{id}: .* add them to path_objects"):
        objects_of(world, new)
    with pytest.raises(pytest.fail.Exception, match=r"does \?door= name objects\? Add it to PLAIN"):
        query_objects(world, new, "door")


PLANTED: Final[Mapping[str, tuple[str, Any, str]]] = {
    "balances of any account": (
        "meter.api.accounts.keep_to_account",
        lambda *_: None,
        "GET /v1/accounts/{id}/balances",
    ),
    "invoices of any account": (
        "meter.api.invoices.keep_to_account",
        lambda *_: None,
        "GET /v1/accounts/{id}/invoices",
    ),
    "statements of any account": (
        "meter.api.statement.keep_to_account",
        lambda *_: None,
        "GET /v1/accounts/{id}/statement",
    ),
    "explanations of any charge": ("meter.api.explain._may_see", lambda *_: True, "GET /v1/charges/{id}/explain"),
    "charges of every site": (
        "meter.api.charges.filter_of",
        lambda query, who: ChargeFilter(account=who.account or query.account),
        "GET /v1/charges",
    ),
    "asks of everybody": (
        "meter.api.authorizations._seen",
        lambda found, name, _: seen(found, name, Principal(key="", scopes=frozenset())),
        "GET /v1/authorizations/{id}",
    ),
    "routes that keep to no restriction": (
        "meter.store.keys.Principal.restriction",
        property(lambda _: None),
        "GET /v1/journal",
    ),
}


@pytest.mark.parametrize("plant", PLANTED)
async def test_a_forgotten_check_is_found(world: World, monkeypatch: pytest.MonkeyPatch, plant: str) -> None:
    place, fault, operation = PLANTED[plant]
    monkeypatch.setattr(place, fault)
    judge = await judged(world, only=operation)
    assert any(operation in one for one in judge.faults), judge.faults


async def test_another_answer_for_what_is_there_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meter.api.invoices.keep_to_account", _oracle)
    judge = await judged(world, only="GET /v1/accounts/{id}/invoices")
    assert any("from nothing" in one for one in judge.faults), judge.faults


def _oracle(principal: Principal, account: str) -> None:
    """Judge after a look: what is there is forbidden, what is not there is not found."""
    if principal.account not in {None, account} and account not in ACCOUNTS:
        raise BadInput(f"there is no account {account!r}", code="not_found")
    keep_to_account(principal, account)


async def test_what_has_changed_hands_is_not_told_to_whose_it_was(world: World) -> None:
    """An account keeps its charge and the reversal; whose the member is now is not its business."""
    moved = {"name": "x", "accounts": [{"id": "globex"}], "identities": ["badge:ADA1"]}
    answer = await world.api.call("PUT", "/v1/members/ada", json=moved)
    assert answer.status == 200, answer.text
    await world.space.rate()
    (caller,) = (one for one in world.callers if one.account == "acme")
    charges = (await world.api.get("/v1/charges?limit=1000", key=caller.key)).json["charges"]
    assert {one["account"] for one in charges} == {"acme"}
    assert any(one["corrects"] for one in charges)
    for charge in charges:
        for accept in ("application/json", "text/plain"):
            path = f"/v1/charges/{charge['id']}/explain"
            told = await world.api.get(path, key=caller.key, headers={"Accept": accept})
            assert told.status == 200
            assert "globex" not in told.text, told.text
