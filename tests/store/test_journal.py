"""Entries behind a cursor that never skips, whole with their postings, and what they sum to."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

from meter.model.journal import JournalEntry
from meter.store.engine import Database
from meter.store.journal import EntryFilter, EntryPage, entries_after, insert_entries, newest_entries, trial_balance
from meter.store.usage import BEGINNING, Cursor
from tests.export.books import entry
from tests.owning import as_owner


async def put(database: Database, *made: JournalEntry, operator: str = "northside") -> None:
    async with as_owner(database) as conn:
        await insert_entries(conn, operator, made)


async def page(database: Database, cursor: Cursor = BEGINNING, wanted: EntryFilter | None = None) -> EntryPage:
    async with database.begin() as conn:
        return await entries_after(conn, "northside", cursor, wanted or EntryFilter(), entries_max=100)


async def ids(database: Database, wanted: EntryFilter) -> list[str]:
    return [one.id for one, _ in (await page(database, wanted=wanted)).entries]


async def test_an_entry_comes_back_as_it_was_made(database: Database) -> None:
    earned = replace(
        entry("rv_1", credit="equity:suspense", currency="KWD", amount="0.125"),
        kind="earned",
        suspense=True,
        dimensions={"site": "", "account": "acme", "meter": "membership", "member": "ada", "charge": "ch_1"},
    )
    made = [entry("ch_1"), earned]
    await put(database, *made)
    assert [one for one, _ in (await page(database)).entries] == made


async def test_a_cursor_waits_for_what_an_older_transaction_has_not_committed(database: Database) -> None:
    async with database.begin() as slow:
        await insert_entries(slow, "northside", [entry("ch_slow")])
        await put(database, entry("ch_quick"))
        waiting = await page(database)
        assert (waiting.entries, waiting.more) == ((), False)
    found = await page(database, waiting.next)
    assert {one.id for one, _ in found.entries} == {"ch_slow", "ch_quick"}
    assert (await page(database, found.next)).entries == ()


async def test_filters_are_conjunctive_and_other_operators_are_others(database: Database) -> None:
    march, april = date(2026, 3, 31), date(2026, 4, 1)
    await put(
        database,
        entry("a", day=march, credit="income:print"),
        entry("b", day=april, credit="income:print:colour"),
        replace(entry("c", day=april, credit="income:printing"), suspense=True),
    )
    await put(database, entry("a", day=march, credit="income:print"), operator="southside")
    assert await ids(database, EntryFilter(ledger_account="income:print")) == ["a", "b"]
    assert await ids(database, EntryFilter(ledger_account="income:print", since=april)) == ["b"]
    assert await ids(database, EntryFilter(until=march)) == ["a"]
    assert await ids(database, EntryFilter(suspense=True)) == ["c"]
    async with database.begin() as conn:
        newest = await newest_entries(conn, "northside", EntryFilter(), entries_max=2)
        assert [one.id for one in newest] == ["b", "c"]
        balances = await trial_balance(conn, "northside", until=march)
    assert [(one.ledger_account, one.currency, one.amount) for one in balances] == [
        ("assets:receivable", "EUR", Decimal("0.15")),
        ("income:print", "EUR", Decimal("-0.15")),
    ]
