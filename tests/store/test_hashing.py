"""Identities stored as keyed hashes: everything still finds its member, and nothing stored says what was hashed."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from meter.catalog.load import read_catalog_text
from meter.examples import example_catalog
from meter.ingest.accept import Acceptor
from meter.model.errors import BadInput, Unavailable
from meter.model.hashing import PLAIN, IdentityHasher
from meter.simulate import simulate
from meter.store.apply import preview_catalog
from meter.store.engine import Database
from meter.store.hashing import check_key, unhashed_claims
from meter.store.identities import hash_claims
from meter.store.migrate import upgrade
from meter.store.unresolved import claim_identity, unresolved_identities
from meter.telemetry import Telemetry
from tests.booking.space import CATALOG, LATER, Space, amend, entry, event, pages

HASHER = IdentityHasher({"mac", "badge"}, lambda: b"a key of the tests")
WIFI = CATALOG.replace('identities: ["badge:ADA1"]', 'identities: ["badge:ADA1", "mac:DA:DE:DF:EE:92:51"]')
MAC = "mac:dade.dfee.9251"
# What was planted, in every spelling that could be left somewhere.
PLANTED = ("da-de-df-ee-92-51", "dadedfee9251", "dade.dfee.9251", "da:de:df:ee:92:51", "04a2991b", "ADA1")


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    made = Space(Database(database_url, hasher=HASHER))
    await made.apply(WIFI)
    yield made
    await made.leases.close()
    await made.database.dispose()


async def charged(space: Space) -> list[tuple[object, ...]]:
    return await space.rows("SELECT member, meter, trim_scale(quantity) FROM charges ORDER BY 1, 2, 3")


async def test_raw_claims_and_raw_events_meet(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 5, subject=MAC), entry("2", "02T09:00", subject="badge:ada1"))
    assert await charged(space) == [("ada", "day-passes", 1), ("ada", "print-pages", 5)]


async def test_the_same_event_is_a_duplicate_in_any_spelling_and_as_stored(space: Space) -> None:
    sent = [pages("1", "02T09:00", 5, subject=s) for s in (MAC, "mac:DADEDFEE9251", HASHER.stored("mac:" + PLANTED[0]))]
    receipts = [*await space.accept([sent[0]]), *await space.accept(sent), *await space.accept(sent[:1])]
    assert [receipt.status for receipt in receipts] == ["accepted", *["duplicate"] * 4]
    [other] = await space.accept([pages("1", "02T09:00", 5, subject="mac:dadedfee9252")])
    assert (other.status, other.code) == ("rejected", "conflict")


async def test_an_event_stored_before_identities_were_hashed_stays_a_duplicate(space: Space) -> None:
    before = Space(Database(space.database.url))
    await before.take(pages("1", "02T09:00", 5, subject=MAC))
    [again] = await space.accept([pages("1", "02T09:00", 5, subject="mac:DADEDFEE9251")])
    assert again.status == "duplicate"
    await before.leases.close()
    await before.database.dispose()


async def test_a_claim_by_the_raw_value_finds_what_waits_under_the_hash(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 5, subject="mac:02:00:00:00:00:0A"))
    async with space.database.begin() as conn:
        [waiting] = await unresolved_identities(conn, "northside", identities_max=10)
        assert waiting.identity == HASHER.stored("mac:02-00-00-00-00-0a")
        assert waiting.identity.endswith(".000a")
        claim = await claim_identity(
            conn, "northside", "MAC:0200.0000.000a", member="ada", start=None, end=None, now=LATER
        )
        assert claim.changes.claims[0].after.identity == waiting.identity
        by_hash = await claim_identity(
            conn, "northside", waiting.identity, member="ada", start=None, end=None, now=LATER
        )
        assert not by_hash
    await space.rate()
    assert await charged(space) == [("ada", "print-pages", 5)]


async def test_a_catalog_applied_again_changes_nothing(space: Space) -> None:
    async with space.database.begin() as conn:
        assert not await preview_catalog(conn, read_catalog_text([("c", WIFI)]), now=LATER)


async def dump(space: Space) -> str:
    """Every row of every table as text, bytes in hexadecimal."""
    tables = await space.rows("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
    assert len(tables) > 20
    found = [await space.rows(f"SELECT row::text FROM {name} AS row") for (name,) in tables]  # noqa: S608 -- our tables
    return "\n".join(text for rows in found for (text,) in rows).lower()


def left_in(dumped: str) -> list[str]:
    return [word for word in PLANTED if word.lower() in dumped or word.lower().encode().hex() in dumped]


async def test_nothing_stored_says_the_address(space: Space) -> None:
    access = {"door": "main", "granted": True, "direction": "in", "credential": "04a2991b"}
    await space.take(
        pages("1", "02T09:00", 5, subject=MAC),
        entry("2", "02T09:00", subject="badge:ADA1"),
        event("door.access", "3", "03T08:00", "badge:04A2991B", "berlin/door/main", access),
        amend("4", "03T09:00", "2", "berlin/door/main", access),
    )
    async with space.database.begin() as conn:
        await claim_identity(conn, "northside", "badge:04a2991b", member="bob", start=None, end=None, now=LATER)
    assert left_in(await dump(space)) == []  # while a fold is asked for, too, with its reason
    await space.rate()
    assert len(await charged(space)) == 3
    assert left_in(await dump(space)) == []


async def test_a_refusal_keeps_what_was_sent_so_that_it_can_be_tried_again(space: Space) -> None:
    await space.accept([pages("1", "02T09:00", 5, subject=MAC), pages("1", "02T09:00", 6, subject=MAC)])
    assert left_in(await dump(space)) == ["dade.dfee.9251"]


async def test_another_key_is_refused_before_anything_is_written(space: Space) -> None:
    stranger = Database(space.database.url, hasher=IdentityHasher({"mac"}, lambda: b"some other key of bytes"))
    try:
        async with stranger.begin() as conn:
            with pytest.raises(BadInput, match="METER_IDENTITY_KEY") as caught:
                await check_key(conn, "northside")
            assert caught.value.code == "identity_key_mismatch"
            with pytest.raises(BadInput, match="another key"):
                await claim_identity(conn, "northside", MAC, member="bob", start=None, end=None, now=LATER)

        async def northside() -> str:
            return "northside"

        acceptor = Acceptor(stranger, operator=northside, telemetry=Telemetry(), max_age_days=400)
        with pytest.raises(Unavailable, match="METER_IDENTITY_KEY"):
            await acceptor.accept([])
        assert json.dumps(await space.rows("SELECT id FROM events")) == "[]"
    finally:
        await stranger.dispose()


async def test_the_first_key_stands_and_without_hashing_none_is_needed(space: Space) -> None:
    [(check,)] = await space.rows("SELECT identity_check FROM operators")
    assert bytes(check) == HASHER.fingerprint
    for hasher in (PLAIN, IdentityHasher({"email"}, lambda: b"a key of the tests")):
        other = Database(space.database.url, hasher=hasher)
        async with other.begin() as conn:
            await check_key(conn, "northside")
        await other.dispose()


async def test_claims_and_events_from_before_hold_beside_new_ones(space: Space) -> None:
    raw = "mac:0200.0000.000a"
    before = Space(Database(space.database.url))
    async with before.database.begin() as conn:
        await claim_identity(conn, "northside", raw, member="bob", start=None, end=None, now=LATER)
        assert await unhashed_claims(conn, "northside") == 0
    await before.take(pages("1", "02T09:00", 5, subject=raw))
    await before.leases.close()
    await before.database.dispose()
    await space.take(pages("2", "03T09:00", 6, subject=raw))
    assert await charged(space) == [("bob", "print-pages", 5)]
    async with space.database.begin() as conn:
        assert await unhashed_claims(conn, "northside") == 1
        assert len((await hash_claims(conn, "northside")).changes.claims) == 1
        assert await unhashed_claims(conn, "northside") == 0
        assert not await hash_claims(conn, "northside")
    await space.rate()
    assert await charged(space) == [("bob", "print-pages", 5), ("bob", "print-pages", 6)]


async def test_a_day_of_the_example_is_billed_alike_and_leaves_no_address(
    database_url: str, empty_database_url: str
) -> None:
    bodies = [event.body for event in simulate(start_day=date(2026, 11, 16), sites=1, members=6, days=1)]
    addresses = set(re.findall(r"mac:((?:[0-9a-f]{2}-){5}[0-9a-f]{2})", example_catalog()))
    assert any(address.encode() in body for address in addresses for body in bodies)
    await upgrade(empty_database_url)
    books = []
    for url, hasher in ((database_url, PLAIN), (empty_database_url, IdentityHasher({"mac"}, lambda: b"a key" * 4))):
        space = Space(Database(url, hasher=hasher))
        space.now = datetime(2026, 12, 1, tzinfo=UTC)
        await space.apply(example_catalog())
        await space.take(*bodies)
        found = await space.books()
        found["unresolved"] = [row[:2] for row in found["unresolved"]]
        books.append(found)
        dumped = await dump(space)
        assert any(address in dumped for address in addresses) is (hasher is PLAIN)
        await space.leases.close()
        await space.database.dispose()
    assert books[0] == books[1]
    assert books[0]["sums"]


def test_every_database_of_the_gateway_hashes() -> None:
    package = Path(__file__).parents[2] / "meter"
    # They change the schema, look which days the demo has played, and count, mark and note for backups.
    without = {package / "store" / "migrate.py", package / "cli" / "demo.py", package / "cli" / "backup.py"}
    without |= {package / "backup" / "make.py", package / "backup" / "restore.py"}
    bare = {
        path
        for path in package.rglob("*.py")
        if re.search(r"= Database\((?!.*hasher=)", path.read_text(encoding="utf-8"))
    }
    assert bare == without
