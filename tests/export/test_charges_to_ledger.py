"""From events to the files: the ledger's sums are the journal's and the charges'."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest_asyncio

from meter.export.dispatcher import Lane
from meter.export.gather.at_once import Entries
from meter.export.gather.gatherer import Gatherer
from meter.export.targets.ledger.target import LedgerTarget
from meter.export.targets.ledger.text import Dialect
from meter.store.leases import LeaseKeeper
from tests.booked import DUES
from tests.booking.space import Space, amend, entry, open_space, pages, sale, void
from tests.export.balances import DIALECTS, Balances, ledger_balances
from tests.export.books import check_every_file, files_of


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url) as opened:
        yield opened


async def deliver(space: Space, ledger: Path) -> None:
    """Gather and deliver, as a process that was just started."""
    lane = Lane(
        space.database,
        operator="northside",
        target="ledger",
        exporter=LedgerTarget(ledger),
        telemetry=space.telemetry,
    )
    leases = LeaseKeeper(space.database)
    await leases.maintain([lane.lease_name])
    [lease] = leases.held([lane.lease_name])
    gatherer = Gatherer(
        space.database, operator="northside", target="ledger", shape=Entries(), clock=lambda: space.now, past=True
    )
    try:
        while (await gatherer.step(lease)).more:
            pass
        while await lane.step(lease) == 0:
            pass
    finally:
        await leases.close()


async def journal(space: Space, dialect: Dialect) -> Balances:
    rows = await space.rows("SELECT ledger_account, currency, sum(amount) FROM journal GROUP BY 1, 2")
    return {(dialect.account(account), currency): amount for account, currency, amount in rows if amount}


async def test_the_ledger_holds_what_the_charges_say(space: Space, tmp_path: Path) -> None:
    await space.take(
        *(pages(f"p{n}", f"0{n}T10:00", 40) for n in range(1, 6)),
        entry("e1", "02T08:00"),
        entry("e2", "03T08:00", "badge:EFE1"),
        sale("s1", "04T12:00", "3.50"),
        sale("s2", "04T12:05", "8.40", "badge:ADA1", "account"),
    )
    await deliver(space, tmp_path)
    await space.take(
        pages("late", "01T07:00", 77, "badge:B0B1"),
        void("v1", "20T00:00", "e2", "berlin/door/main"),
        amend(
            "a1",
            "20T00:00",
            "p2",
            "berlin/print/hall",
            {"printer": "hall", "job": "p2", "impressions": 4, "status": "completed"},
        ),
    )
    await deliver(space, tmp_path)

    check_every_file(tmp_path)
    [[owed, taken]] = await space.rows(
        "SELECT sum(rounded + tax_amount) FILTER (WHERE settlement = 'account'),"
        " sum(rounded + tax_amount) FILTER (WHERE settlement = 'paid') FROM charges"
    )
    assert (owed, taken) > (Decimal(0), Decimal(0))
    for dialect in DIALECTS.values():
        held = ledger_balances(tmp_path, dialect)
        assert held == await journal(space, dialect)
        assert sum(held.values()) == 0
        assert held[dialect.account("assets:receivable"), "EUR"] == owed
        assert held[dialect.account("assets:clearing"), "EUR"] == taken
    entries = await space.rows("SELECT count(DISTINCT entry) FROM journal")
    written = sum(content.count(b'\n  charge: "') for content in files_of(tmp_path).values())
    assert [(written,)] == entries


async def test_what_falls_due_at_no_site_is_on_the_operators_own_file(database_url: str, tmp_path: Path) -> None:
    async with open_space(database_url, DUES) as space:
        space.now = datetime(2026, 3, 15, 12, tzinfo=UTC)
        await space.take(pages("1", "12T09:00", 180))
        await deliver(space, tmp_path)
        booked = {dialect.name: await journal(space, dialect) for dialect in DIALECTS.values()}
    check_every_file(tmp_path)
    own = {name: content.decode() for name, content in files_of(tmp_path).items() if ".~operator." in name}
    first = [text for name, text in own.items() if "2026-03-10." in name]
    assert len(first) == len(DIALECTS)
    for text in first:
        assert "deposit 1 deposit" in text
        assert "membership earned 2026-03-10" in text
    assert not any("print-pages" in text for text in own.values())
    # A file a day from the tenth, when the fee of 22 days is due, to the fourteenth.
    assert len(own) == 5 * len(DIALECTS)
    for dialect in DIALECTS.values():
        held = ledger_balances(tmp_path, dialect)
        assert held == booked[dialect.name]
        for account, amount in {
            "liabilities:deposits": "-200.00",
            "liabilities:deferred": "-327.39",
            "income:membership": "-96.29",
            # 130 pages, and the pack, all of which is used.
            "income:print-pages": "-16.50",
        }.items():
            assert held[dialect.account(account), "EUR"] == Decimal(amount)
