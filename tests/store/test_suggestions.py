"""Whose an unclaimed identity may be: each kind of reason, how far it carries, and that none claims anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest
import pytest_asyncio

from meter.model.hashing import IdentityHasher
from meter.store.engine import Database
from meter.store.identities import withdraw_claim
from meter.store.merge import merge_members
from meter.store.suggestions import SUGGESTIONS_MAX, suggestions_for
from meter.store.unresolved import claim_identity
from tests.booking.space import CATALOG, LATER, Space, event, open_space

PEOPLE = (
    CATALOG.partition("members:")[0]
    + """members:
  ada: {account: acme, name: Ada L., email: Ada@Acme.example, identities: ["badge:04A2991B7C6180", "user:lovelace"]}
  bob: {account: acme, name: Bob, email: bob@acme.example, identities: ["badge:11223344", "papercut:77", "user:78"]}
  eve: {account: solo, name: Eve, identities: ["email:eve@solo.example", "badge:A2991B"]}
"""
)


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url, PEOPLE) as opened:
        yield opened


async def suggested(space: Space, identity: str) -> list[tuple[str, str, str]]:
    """Member, code and text of every reason, with its strength's first letter before the code."""
    async with space.database.begin() as conn:
        found = await suggestions_for(conn, "northside", identity)
    return [(one.member, f"{r.strength.name[0]}:{r.code}", r.text) for one in found for r in one.reasons]


def opened(number: int, subject: str, hint: dict[str, Any] | None = None, site: str = "berlin") -> bytes:
    data = {"door": "main", "granted": True} | ({} if hint is None else {"hint": hint})
    return event("door.access", str(number), f"02T{number:02}:00", subject, f"{site}/door/main", data)


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("email:ada@acme.example", [("ada", "s:same_email", "has the address Ada@Acme.example")]),
        ("user:Ada@acme.example", [("ada", "s:same_email", "has the address Ada@Acme.example")]),
        ("user:eve@solo.example", [("eve", "s:same_email", "claims email:eve@solo.example")]),
        ("user:ACME\\Bob", [("bob", "w:name_in_email", "has the address bob@acme.example")]),
        ("papercut:Lovelace", [("ada", "l:same_user", "claims user:lovelace")]),
        ("user:77", []),
        ("badge:44332211", [("bob", "l:same_card", "claims badge:11223344, another spelling")]),
        (
            "badge:04A2991B",
            [
                ("ada", "l:same_card", "claims badge:04A2991B7C6180, another spelling"),
                ("eve", "l:same_card", "claims badge:A2991B, another spelling"),
            ],
        ),
        ("badge:0102", []),
        ("mac:02-00-00-00-00-0a", []),
    ],
)
async def test_what_an_identity_itself_says(space: Space, identity: str, expected: list[tuple[str, str, str]]) -> None:
    assert await suggested(space, identity) == expected


async def test_what_a_vendor_adds_is_a_hint_and_no_claim(space: Space) -> None:
    hint = {"email": " ADA@acme.example", "name": "bob "}
    other = {"name": "Nobody", "email": "x"}
    await space.take(opened(1, "kisi:7", hint), opened(2, "kisi:7"), opened(3, "kisi:7", other))
    assert await suggested(space, "kisi:7") == [
        ("ada", "s:same_email", "has the address Ada@Acme.example"),
        ("bob", "w:same_name", "is called Bob"),
    ]
    assert await space.rows("SELECT count(*) FROM unresolved") == [(3,)]
    assert await space.rows("SELECT count(*) FROM identities WHERE identity = 'kisi:7'") == [(0,)]


async def test_the_same_card_at_another_site_is_told_with_the_site(space: Space) -> None:
    await space.take(opened(1, "badge:11223344"), opened(2, "badge:44332211", site="hamburg"))
    expected = "claims badge:11223344, another spelling, seen at berlin"
    assert await suggested(space, "badge:44332211") == [("bob", "l:same_card", expected)]


async def test_who_held_it_at_another_time_may_hold_it_still_but_a_wrong_claim_says_nothing(space: Space) -> None:
    async with space.database.begin() as conn:
        for member, start in (("bob", date(2026, 3, 1)), ("eve", date(2026, 3, 2))):
            end = date(2026, 3, 9)
            await claim_identity(conn, "northside", "badge:X", member=member, start=start, end=end, now=LATER)
        await withdraw_claim(conn, "northside", "badge:X", member="eve", since=None)
    expected = "claims it since 2026-02-28T23:00:00Z until 2026-03-08T23:00:00Z"
    assert await suggested(space, "badge:X") == [("bob", "w:held_otherwise", expected)]


async def test_a_merged_member_is_suggested_as_who_it_is(space: Space) -> None:
    async with space.database.begin() as conn:
        await merge_members(conn, "northside", "bob", into="ada")
    assert await suggested(space, "email:bob@acme.example") == [
        ("ada", "s:same_email", "has the address bob@acme.example")
    ]


async def test_the_strongest_come_first_and_only_so_many(space: Space) -> None:
    people = "\n".join(f"  b{n}: {{account: acme, name: Bob}}" for n in range(SUGGESTIONS_MAX + 5))
    await space.apply(PEOPLE.partition("members:")[0] + f"members:\n{people}\n")
    await space.take(opened(1, "kisi:8", {"email": "eve@solo.example", "name": "Bob"}))
    found = await suggested(space, "kisi:8")
    assert len(found) == SUGGESTIONS_MAX
    assert found[0] == ("eve", "s:same_email", "claims email:eve@solo.example")
    assert [member for member, _, _ in found[1:]] == sorted(member for member, _, _ in found[1:])


async def test_hashed_addresses_agree_too(database_url: str) -> None:
    hasher = IdentityHasher({"email", "badge"}, lambda: b"a key of the tests")
    space = Space(Database(database_url, hasher=hasher))
    await space.apply(PEOPLE)
    await space.take(
        opened(1, "kisi:7", {"email": "ada@acme.example"}), opened(2, "kisi:8", {"email": "EVE@solo.example"})
    )
    assert await suggested(space, "kisi:7") == [("ada", "s:same_email", "has the address Ada@Acme.example")]
    [(member, code, why)] = await suggested(space, "kisi:8")
    assert (member, code, why.startswith("claims email:~")) == ("eve", "s:same_email", True)
    assert await suggested(space, "badge:44332211") == []
    await space.leases.close()
    await space.database.dispose()
