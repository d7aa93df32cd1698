"""Each tie holds over real books, and each kind of damage is named by its own tie and by no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.ties import ties
from meter.export.gather.at_once import Entries
from meter.export.gather.charges import Charges
from meter.export.gather.gatherer import Gatherer
from meter.export.gather.shape import Shape
from meter.store.audited import AUDITED
from meter.store.leases import LeaseKeeper
from tests.booked import OPERATOR
from tests.booking.space import CATALOG, Space, entry, open_space, pages, sale, void

# A pack beside the plan's credit, so that both kinds of grant are drawn.
PACKED = CATALOG + (
    "grants:\n"
    '  - {id: pack, account: acme, unit: page, amount: "50", effective: 2026-03-01, bought: {price: "10.00"}}\n'
)
HALL = "berlin/print/hall"


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url, PACKED) as opened:
        await opened.take(*(pages(f"p{n}", f"0{2 + n % 7}T08:{n:02}", 10 + n) for n in range(10)))
        await opened.take(entry("d1", "03T09:00"), entry("d2", "04T09:00"), sale("s1", "05T10:00", "3.50"))
        await opened.take(void("v1", "20T10:00", "p3", HALL))
        await opened.take(entry("x1", "06T09:00", "badge:NOBODY"), entry("x2", "07T09:00", "badge:NOBODY"))
        await opened.take(void("v2", "20T10:00", "x2", "berlin/door/main"))
        await gather(opened, "hook", Charges(apart="account", charges_max=4))
        await gather(opened, "book", Entries(entries_max=5))
        yield opened


async def gather(space: Space, target: str, shape: Shape) -> None:
    """Have a target told of everything that is booked."""
    leases = LeaseKeeper(space.database)
    name = f"lane {OPERATOR} {target}"
    await leases.maintain([name])
    gatherer = Gatherer(
        space.database, operator=OPERATOR, target=target, shape=shape, clock=lambda: space.now, kind="x", past=True
    )
    with leases.holding([name]) as (lease,):
        while (await gatherer.step(lease)).more:
            pass
    await leases.close()


async def faults(database: Any) -> dict[str, str]:
    return {name: fault async for name, fault in ties(database, OPERATOR) if fault is not None}


@asynccontextmanager
async def damaged(space: Space, *statements: str) -> AsyncIterator[Any]:
    """A database in which the statements were run by its owner; it is as before at the end."""
    async with space.database.engine.connect() as connection:
        await connection.execute(text("SET LOCAL ROLE NONE"))
        for table in AUDITED:
            await connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        for statement in statements:
            assert (await connection.execute(text(statement))).rowcount > 0, statement

        class Inside:
            @asynccontextmanager
            async def begin(self) -> AsyncIterator[AsyncConnection]:
                yield connection

        yield Inside()
        await connection.rollback()


async def test_books_that_nobody_touched_hold(space: Space) -> None:
    assert await faults(space.database) == {}
    told = [name async for name, _ in ties(space.database, OPERATOR)]
    assert len(told) == len(set(told)) == 10
    for table in ("charges", "draws", "entries", "journal", "unresolved", "outbox", "export_cursors"):
        [[rows]] = await space.rows(f"SELECT count(*) FROM {table}")  # noqa: S608 -- our tables
        assert rows > 0, f"no {table}: nothing is shown of them"


# An entry that moves what acme owes.
OWED = "(SELECT min(entry) FROM journal WHERE ledger_account = 'assets:receivable')"


def told(target: str, what: str, instead: str) -> str:
    """SQL that has the first item of a target say something else."""
    return (
        f"UPDATE outbox SET payload = convert_to(replace(convert_from(payload, 'UTF8'), '{what}', '{instead}'), 'UTF8')"  # noqa: S608
        f" WHERE id = (SELECT min(id) FROM outbox WHERE target = '{target}')"
    )


# By tie: what it says of the damage, and how that is done.
DAMAGE: dict[str, list[tuple[str, str]]] = {
    "events and their keys": [
        ("event berlin/print/hall p1 has no key", "DELETE FROM event_keys WHERE id = 'p1'"),
        ("p1 is gone, its key is there", "DELETE FROM events WHERE id = 'p1'"),
        ("p1 has another time", "UPDATE event_keys SET time = time + interval '1 s' WHERE id = 'p1'"),
    ],
    "charges and their events": [
        ("is of event berlin/print/hall lost", "UPDATE charges SET event_id = 'lost' WHERE event_id = 'p1'"),
        ("what waits for a claim", "UPDATE unresolved SET id = 'lost'"),
    ],
    "events and their outcome": [("berlin/door/main x1 of badge:NOBODY", "DELETE FROM unresolved")],
    "draws and charges": [
        (
            "is of no charge of acme",
            "UPDATE draws SET charge = 'ch_lost' FROM charges WHERE charge = charges.id AND event_id = 'p0' AND n = 0",
        ),
        (
            "gives back",
            (
                "UPDATE draws SET amount = draws.amount + 1 FROM charges"
                " WHERE charge = charges.id AND event_id = 'p3' AND role = 'reversal' AND n = 0"
            ),
        ),
    ],
    "credit": [
        ("which gives", "UPDATE grants SET amount = 1 WHERE \"grant\" = 'pack'"),
        ("which nobody gave it", "UPDATE grants SET account = 'solo' WHERE \"grant\" = 'pack'"),
        (
            "acme has drawn 200",
            (
                "UPDATE draws SET amount = draws.amount + 100 FROM charges"
                " WHERE charge = charges.id AND event_id = 'p0' AND n = 0"
            ),
        ),
        ("that it never drew", "UPDATE draws SET amount = -amount WHERE \"grant\" LIKE 'acme-flex/%'"),
    ],
    "entries and postings": [
        (
            "does not balance by 1",
            "UPDATE journal SET amount = amount + 1 WHERE n = 1 AND entry = (SELECT min(id) FROM entries)",
        ),
        ("is gone, its postings are there", "DELETE FROM entries WHERE id = (SELECT min(id) FROM entries)"),
        ("has no postings", "DELETE FROM journal WHERE entry = (SELECT min(id) FROM entries)"),
        (
            "name different days",
            "UPDATE journal SET day = day + 1 WHERE n = 0 AND entry = (SELECT min(id) FROM entries)",
        ),
    ],
    "books and charges": [
        ("owed or paid", f"UPDATE journal SET amount = amount * 2 WHERE entry = {OWED}"),  # noqa: S608
        (
            "owed or paid",
            f"WITH gone AS (DELETE FROM entries WHERE id = {OWED}) DELETE FROM journal WHERE entry = {OWED}",  # noqa: S608
        ),
        ("of tax", "UPDATE charges SET tax_amount = tax_amount + 1, total = total WHERE event_id = 's1'"),
    ],
    "places in the tail": [
        ("rating of shard 0 stands at", "UPDATE rating_cursors SET xid = '9999999999'::xid8 WHERE shard = 0"),
        ("target hook stands at", "UPDATE export_cursors SET xid = '9999999999'::xid8 WHERE target = 'hook'"),
    ],
    "deliveries of charges": [
        ("which is not booked", told("hook", '"id":"ch_', '"id":"no_')),
        ("booked are", told("hook", '"rounded":"', '"rounded":"1')),
        ("and is not told of it", "DELETE FROM outbox WHERE id = (SELECT max(id) FROM outbox WHERE target = 'hook')"),
        (
            "in 2 batches",
            (
                "INSERT INTO outbox (operator, target, operation, batch, key, payload)"
                " SELECT operator, target, operation, 'twice', 'twice', payload FROM outbox"
                " WHERE id = (SELECT min(id) FROM outbox WHERE target = 'hook')"
            ),
        ),
    ],
    "deliveries of entries": [
        ("and is not told of it", "DELETE FROM outbox WHERE id = (SELECT max(id) FROM outbox WHERE target = 'book')"),
        ("booked are", told("book", '"amount":"-', '"amount":"-9')),
        ("cannot be read", told("book", '"amount":"', '"amount":"-')),
    ],
}


@pytest.mark.parametrize("tie", DAMAGE)
async def test_damage_is_named(space: Space, tie: str) -> None:
    unnamed = []
    for said, statement in DAMAGE[tie]:
        async with damaged(space, statement) as database:
            found = await faults(database)
        if said not in found.get(tie, ""):
            unnamed.append((said, statement, found))
    assert unnamed == []


async def test_an_entry_that_balances_and_is_not_what_was_charged_is_told_as_that(space: Space) -> None:
    (_, statement), *_ = DAMAGE["books and charges"]
    async with damaged(space, statement) as database:
        assert "entries and postings" not in await faults(database)


async def test_what_is_not_rated_yet_breaks_nothing(space: Space) -> None:
    await space.accept([pages("late", "09T08:00", 3), entry("x9", "09T09:00", "badge:NOBODY")])
    assert await faults(space.database) == {}
