"""A database that the version before the books has filled, taken over: nothing is billed anew, and the books agree.

`data/kept_before.json` holds its rows as that version left them: fees in advance, a deposit, packs that are drawn and
one that expires, sales, refunds, a late event and a void, in two closed months and an open one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest_asyncio
from alembic import command
from sqlalchemy import Connection, text

from meter.booking.audit import audit
from meter.booking.earner import Earner
from meter.export.gather.at_once import Entries
from meter.export.gather.gatherer import Gatherer
from meter.store import migrate
from meter.store.engine import Database
from meter.store.leases import LeaseKeeper
from tests.booking.space import Space, pages, void
from tests.owning import as_owner

ROWS: Final[dict[str, list[dict[str, Any]]]] = json.loads(
    (Path(__file__).parent / "data" / "kept_before.json").read_text()
)
BOOKED: Final = ("charges", "draws", "journal", "outbox", "unread")
NOW, LATER = datetime(2026, 3, 15, 12, tzinfo=UTC), datetime(2026, 4, 2, 12, tzinfo=UTC)
BILL = """
    SELECT account, invoice_start, meter, kind, trim_scale(sum(rounded)), trim_scale(sum(tax_amount)), count(*)
      FROM charges WHERE part <> 'expired' GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
TRIAL = """
    SELECT ledger_account, currency, trim_scale(sum(amount)) FROM journal GROUP BY 1, 2 HAVING sum(amount) <> 0
     ORDER BY 1, 2
"""


async def fill(database: Database, tables: Iterable[str]) -> None:
    """Store the rows of these tables."""
    async with as_owner(database) as connection:
        for table in tables:
            names = ", ".join(f'"{name}"' for name in sorted(set().union(*ROWS[table])))
            await connection.execute(
                text(
                    f"INSERT INTO {table} ({names})"  # noqa: S608 -- our own names
                    f" SELECT {names} FROM jsonb_populate_recordset(NULL::{table}, CAST(:rows AS jsonb))"
                ),
                {"rows": json.dumps(ROWS[table])},
            )


def schema_before(connection: Connection) -> None:
    config = migrate._config()
    config.attributes["connection"] = connection
    command.upgrade(config, "0003")


class Kept(Space):
    """A space over such a database."""

    async def settle(self, now: datetime) -> None:
        """Rate, and enter every day that is over."""
        self.now = now
        await self.rate()
        earner = Earner(
            self.worker,
            database=self.database,
            operator="northside",
            telemetry=self.telemetry,
            clock=lambda: self.now,
        )
        while await earner.step():
            pass

    async def ledger_items(self) -> int:
        """How many items a ledger gets now."""
        leases = LeaseKeeper(self.database)
        await leases.maintain(["lane"])
        gatherer = Gatherer(
            self.database,
            operator="northside",
            target="ledger",
            shape=Entries(),
            clock=lambda: self.now,
            kind="ledger",
            past=True,
        )
        made = 0
        try:
            while (step := await gatherer.step(leases.held(["lane"])[0])).more or step.items:
                made += step.items
        finally:
            await leases.close()
        return made


@pytest_asyncio.fixture
async def kept(empty_database_url: str) -> AsyncIterator[Kept]:
    database = Database(empty_database_url)
    async with as_owner(database) as connection:
        await connection.run_sync(schema_before)
    await fill(database, ROWS)
    await migrate.upgrade(empty_database_url)
    made = Kept(database)
    yield made
    await made.leases.close()
    await database.dispose()


@pytest_asyncio.fixture
async def fresh(database: Database) -> AsyncIterator[Kept]:
    """The same facts and events, rated by this version from the beginning."""
    await fill(database, [table for table in ROWS if table not in BOOKED])
    made = Kept(database)
    await made.rows("UPDATE closes SET booked = false RETURNING 1")
    yield made
    await made.leases.close()


async def test_nothing_is_billed_anew(kept: Kept) -> None:
    before, charges = await kept.rows(BILL), await kept.rows("SELECT count(*) FROM charges")
    await kept.settle(NOW)
    assert await kept.rows(BILL) == before
    [[meter, rounded, invoice_start, period_start]] = await kept.rows(
        "SELECT meter, rounded, invoice_start, period_start FROM charges WHERE part = 'expired'"
    )
    assert (meter, rounded, invoice_start) == ("credit", 0, period_start)
    assert charges == [(22 - 1,)]


async def test_the_books_are_those_of_a_database_that_this_version_has_kept_all_along(kept: Kept, fresh: Kept) -> None:
    for space in (kept, fresh):
        await space.settle(NOW)
    assert await kept.rows(TRIAL) == await fresh.rows(TRIAL)
    late = [
        pages("later", "20T09:00", 300),
        pages("late", "14T09:00", 40),
        void("v2", "21T00:00", "3", "berlin/print/hall"),
    ]
    for space in (kept, fresh):
        space.now = LATER
        await space.take(*late)
        await space.settle(LATER)
    assert await kept.rows(TRIAL) == await fresh.rows(TRIAL)
    assert await kept.rows("SELECT DISTINCT next_day = end_day FROM deferrals WHERE end_day < '2026-04-02'") == [
        (True,)
    ]


async def test_it_is_restated_once_by_one_entry_an_account(kept: Kept) -> None:
    await kept.settle(NOW)
    entries = await kept.rows(
        "SELECT account, kind, site, day::text, currency FROM entries WHERE kind = 'opening' ORDER BY 1"
    )
    assert entries == [(account, "opening", "", "2026-03-15", "EUR") for account in ("acme", "solo")]
    before = await kept.rows("SELECT id, kind FROM entries ORDER BY 1")
    kept.new_worker()
    await kept.settle(NOW)
    assert await kept.rows("SELECT id, kind FROM entries ORDER BY 1") == before
    assert await kept.rows("SELECT account FROM openings") == []
    found = await audit(kept.database, "northside", at=NOW)
    assert found, found


async def test_what_was_booked_is_an_entry_and_told_to_no_ledger_twice(kept: Kept) -> None:
    assert await kept.rows("SELECT count(DISTINCT entry) FROM journal") == await kept.rows(
        "SELECT count(*) FROM entries"
    )
    [[narration, dimensions]] = await kept.rows(
        "SELECT narration, dimensions FROM entries WHERE meter = 'deposit' AND account = 'acme'"
    )
    assert narration == "deposit 1 deposit"
    assert dimensions["kind"] == "fee"
    told = await kept.rows("SELECT count(*) FROM outbox")
    assert await kept.ledger_items() == 0
    await kept.settle(NOW)
    # The two that restate, of the operator's own file, and the pack that had expired unsaid.
    assert await kept.ledger_items() == 2
    assert await kept.rows("SELECT count(*) - 2 FROM outbox") == told
