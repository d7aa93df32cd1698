"""The journal's rows: entries with their postings, written once, read in their order or by what they say."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import ARRAY, ColumnElement, Row, Select, Text, any_, cast, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.journal import JournalEntry, Posting
from meter.store.bulk import insert_rows
from meter.store.tables import charges, entries, journal
from meter.store.tables.schema import When
from meter.store.usage import Cursor

_HORIZON: Final = text("SELECT pg_snapshot_xmin(pg_current_snapshot())")
_AFTER: Final = text("(entries.xid, entries.seq) > (CAST(CAST(:xid AS text) AS xid8), :seq)")
_BELOW: Final = text("entries.xid < CAST(CAST(:horizon AS text) AS xid8)")
_ENTRY_COLUMNS: Final = tuple(column for column in entries.c if column.name != "operator")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """Which entries: each field that is set must fit. Days are inclusive.

    `ledger_account`: with a posting on that account, or on one below it.
    """

    since: date | None = None
    until: date | None = None
    ledger_account: str | None = None
    suspense: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPage:
    """Entries in the order in which they were made, each with the cursor behind it.

    `next` is behind everything that was looked at.
    """

    entries: tuple[tuple[JournalEntry, Cursor], ...]
    next: Cursor
    more: bool


class Balance(NamedTuple):
    """What the postings on a ledger account sum to in a currency: debit positive."""

    ledger_account: str
    currency: str
    amount: Decimal


async def insert_entries(connection: AsyncConnection, operator: str, made: Sequence[JournalEntry]) -> None:
    """Append entries with their postings, in the order given."""
    await insert_rows(connection, entries, [_entry_row(operator, entry) for entry in made])
    rows = [
        {
            "operator": operator,
            "entry": entry.id,
            "n": n,
            "day": entry.day,
            "ledger_account": posting.account,
            "amount": posting.amount,
            "currency": entry.currency,
            "site": entry.dimensions.get("site", ""),
            "account": entry.dimensions.get("account", ""),
            "meter": entry.dimensions.get("meter", ""),
        }
        for entry in made
        for n, posting in enumerate(entry.postings)
    ]
    await insert_rows(connection, journal, rows)


def _entry_row(operator: str, entry: JournalEntry) -> dict[str, Any]:
    return {
        "operator": operator,
        "id": entry.id,
        "kind": entry.kind,
        "day": entry.day,
        "currency": entry.currency,
        "site": entry.dimensions.get("site", ""),
        "account": entry.dimensions.get("account", ""),
        "member": entry.dimensions.get("member"),
        "meter": entry.dimensions.get("meter", ""),
        "narration": entry.narration,
        "dimensions": dict(entry.dimensions),
        "suspense": entry.suspense,
    }


async def entries_after(
    conn: AsyncConnection,
    operator: str,
    cursor: Cursor,
    wanted: EntryFilter = EntryFilter(),
    *,
    entries_max: int,
) -> EntryPage:
    """Return the next entries behind `cursor` that are `wanted`, with their postings, in the order of booking.

    Only what is below the oldest running transaction is given out, so that no later commit can land below the cursor
    (decision 0005). Where that horizon was reached, `next` moves up to it.
    """
    # First: what it covers was complete before the rows are read.
    horizon = int((await conn.execute(_HORIZON)).scalar_one())
    query = (
        select(*_ENTRY_COLUMNS)
        .where(entries.c.operator == operator, _AFTER, _BELOW, *_terms(wanted))
        .order_by(entries.c.xid, entries.c.seq)
        .limit(entries_max)
    )
    place = {"xid": str(cursor.xid), "seq": cursor.seq, "horizon": str(horizon)}
    rows = (await conn.execute(query, place)).all()
    found = await _with_postings(conn, operator, rows)
    places = [Cursor(row.xid, row.seq) for row in rows]
    more = len(rows) == entries_max
    reached = places[-1] if more else max(cursor, Cursor(horizon, 0))
    return EntryPage(entries=tuple(zip(found, places, strict=True)), next=reached, more=more)


async def newest_entries(
    conn: AsyncConnection, operator: str, wanted: EntryFilter, *, entries_max: int
) -> list[JournalEntry]:
    """Return at most `entries_max` of the entries that are `wanted`: the latest days', by day."""
    query: Select[*tuple[Any, ...]] = (
        select(*_ENTRY_COLUMNS)
        .where(entries.c.operator == operator, *_terms(wanted))
        .order_by(entries.c.day.desc(), entries.c.xid.desc(), entries.c.seq.desc())
        .limit(entries_max)
    )
    return (await _with_postings(conn, operator, (await conn.execute(query)).all()))[::-1]


async def trial_balance(conn: AsyncConnection, operator: str, *, until: date | None = None) -> list[Balance]:
    """Return the balance of each ledger account and currency at the end of the day `until` (None: of all).

    Accounts without a balance are left out; those of one currency sum to zero.
    """
    amount = func.sum(journal.c.amount)
    query = (
        select(journal.c.ledger_account, journal.c.currency, amount.label("amount"))
        .where(journal.c.operator == operator)
        .group_by(journal.c.ledger_account, journal.c.currency)
        .having(amount != 0)
        .order_by(journal.c.ledger_account, journal.c.currency)
    )
    if until is not None:
        query = query.where(journal.c.day <= until)
    return [Balance(row.ledger_account, row.currency, row.amount) for row in await conn.execute(query)]


async def standing_in(
    conn: AsyncConnection,
    operator: str,
    account: str,
    invoice_starts: Collection[datetime],
    ledger_accounts: Collection[str],
) -> dict[tuple[datetime, str, str], Decimal]:
    """Return what an account's charges have in some ledger accounts, by invoice period, ledger account and currency."""
    if not ledger_accounts:
        return {}
    columns = (charges.c.invoice_start, journal.c.ledger_account, journal.c.currency)
    rows = await conn.execute(
        select(*columns, func.sum(journal.c.amount).label("amount"))
        .join(journal, (journal.c.operator == charges.c.operator) & (journal.c.entry == charges.c.id))
        .where(
            charges.c.operator == operator,
            charges.c.account == account,
            charges.c.invoice_start == any_(cast(sorted(invoice_starts), ARRAY(When))),
            journal.c.ledger_account == any_(cast(sorted(ledger_accounts), ARRAY(Text))),
        )
        .group_by(*columns)
    )
    return {(row.invoice_start, row.ledger_account, row.currency): row.amount for row in rows}


def _terms(wanted: EntryFilter) -> list[ColumnElement[bool]]:
    terms: list[ColumnElement[bool]] = []
    if wanted.since is not None:
        terms.append(entries.c.day >= wanted.since)
    if wanted.until is not None:
        terms.append(entries.c.day <= wanted.until)
    if wanted.suspense:
        terms.append(entries.c.suspense)
    if wanted.ledger_account is not None:
        named = journal.c.ledger_account
        below = func.starts_with(named, f"{wanted.ledger_account}:")
        on = select(journal.c.n).where(
            journal.c.operator == entries.c.operator,
            journal.c.entry == entries.c.id,
            or_(named == wanted.ledger_account, below),
        )
        terms.append(on.exists())
    return terms


async def _with_postings(
    conn: AsyncConnection, operator: str, rows: Sequence[Row[*tuple[Any, ...]]]
) -> list[JournalEntry]:
    postings: Mapping[str, list[Posting]] = {row.id: [] for row in rows}
    if rows:
        found = await conn.execute(
            select(journal.c.entry, journal.c.ledger_account, journal.c.amount)
            .where(journal.c.operator == operator, journal.c.entry == any_(cast(list(postings), ARRAY(Text))))
            .order_by(journal.c.entry, journal.c.n)
        )
        for entry, account, amount in found:
            postings[entry].append(Posting(account=account, amount=amount))
    return [
        JournalEntry(
            id=row.id,
            kind=row.kind,
            day=row.day,
            currency=row.currency,
            narration=row.narration,
            postings=tuple(postings[row.id]),
            dimensions=row.dimensions,
            suspense=row.suspense,
        )
        for row in rows
    ]
