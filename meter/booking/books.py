"""From differences to what is written: charges with their rounding, journal entries, checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.accounts import AccountFold
from meter.booking.entries import add_billed, add_entries, load_credit
from meter.booking.facts import Facts
from meter.booking.opening import Openings, open_books, opening_entries
from meter.export.journal import BookingDay
from meter.model.charge import Charge, Line
from meter.model.directory import Account
from meter.model.journal import Deferral, JournalEntry
from meter.model.period import Period
from meter.rating.book import book
from meter.rating.state import STATE_FORMAT
from meter.store import booking as store
from meter.store.closes import Closes, mark_booked
from meter.store.deferrals import insert_deferrals
from meter.store.journal import insert_entries
from meter.store.openings import write_openings
from meter.store.readers import add_totals


@dataclass(slots=True, kw_only=True)
class Books:
    """What one transaction writes about money, and about where folds can start again."""

    charges: list[Charge] = field(default_factory=list)
    entries: list[JournalEntry] = field(default_factory=list)
    deferrals: list[Deferral] = field(default_factory=list)
    stale_since: dict[str, datetime] = field(default_factory=dict)
    checkpoints: list[store.Checkpoint] = field(default_factory=list)
    closed: dict[str, frozenset[datetime]] = field(default_factory=dict)
    openings: Openings = field(default_factory=Openings)


async def keep_books(
    connection: AsyncConnection,
    operator: str,
    folds: Sequence[AccountFold],
    facts: Facts,
    *,
    booked_at: datetime,
    closes_of: Callable[[str], Closes],
) -> Books:
    """Return what has to be written for `folds`, and carry their accounts' running sums on.

    What differs in a period that is closed, and whose closing is booked, goes to the account's earliest open period.
    """
    openings, folds = await open_books(connection, operator, folds)
    await _load_totals(connection, operator, folds)
    books = Books(openings=openings)
    made: list[tuple[AccountFold, list[Charge]]] = []
    for fold in folds:
        warm = fold.warm
        closes = closes_of(warm.account)
        if fresh := closes.all - closes.booked:
            books.closed[warm.account] = fresh
        charges = book(
            fold.differences,
            operator=operator,
            totals=warm.totals,
            revisions=warm.revisions([difference.key for difference in fold.differences]),
            booked_at=booked_at,
            invoice_period=partial(
                _invoice_period, fold.facts.account, closes.booked, opened=warm.account in openings.accounts
            ),
            reason=fold.reason,
        )
        warm.booked(charges)
        made.append((fold, charges))
        books.charges += charges
        if fold.stale_since is not None:
            books.stale_since[warm.account] = fold.stale_since
        state = warm.due_checkpoint()
        if state is not None and state.position is not None:
            books.checkpoints.append(
                store.Checkpoint(account=warm.account, position=state.position, state=state.to_json())
            )
    catalog = facts.catalogs.at(booked_at)
    day = BookingDay.at(booked_at, catalog)
    await load_credit(connection, operator, made, facts, opened=openings.accounts)
    for fold, charges in made:
        if fold.warm.account in openings.accounts:
            opening, running = await opening_entries(connection, operator, fold, openings, day)
            books.entries += opening
            books.deferrals += running
        entries, deferrals = add_entries(operator, fold, charges, day)
        if fresh := books.closed.get(fold.warm.account, frozenset()):
            entries += await add_billed(
                connection, operator, fold, charges, entries, fresh=fresh, catalog=catalog, day=day
            )
        books.entries += entries
        books.deferrals += deferrals
    return books


async def write_books(connection: AsyncConnection, operator: str, books: Books) -> None:
    """Write charges, draws, journal, schedules and checkpoints."""
    await store.insert_charges(connection, operator, books.charges)
    await write_openings(connection, operator, books.openings.accounts, books.openings.restated)
    await insert_entries(connection, operator, books.entries)
    await insert_deferrals(connection, operator, books.deferrals)
    await store.replace_checkpoints(
        connection,
        operator,
        stale_since=books.stale_since,
        fresh=books.checkpoints,
        state_format=STATE_FORMAT,
    )
    await mark_booked(connection, operator, books.closed)


def _invoice_period(account: Account, closed: frozenset[datetime], line: Line, *, opened: bool = False) -> Period:
    """Return the period whose invoice a line belongs to: its service period, or the first one after it that is open.

    Credit that expired in books that are `opened` was not told then, and moves no money: it stands where it belongs.
    """
    period = line.period
    if opened and line.key.of_expiry:
        return period
    while period.start in closed:
        period = account.periods.at(period.end)
    return period


async def _load_totals(connection: AsyncConnection, operator: str, folds: Sequence[AccountFold]) -> None:
    wanted = {
        fold.warm.account: starts - fold.warm.totals_of
        for fold in folds
        if (starts := _periods_of(fold)) - fold.warm.totals_of
    }
    if not wanted:
        return
    accounts = {fold.warm.account: fold.warm for fold in folds}
    await add_totals(connection, operator, wanted, {account: accounts[account].totals for account in wanted})
    for account, starts in wanted.items():
        accounts[account].totals_of |= starts


def _periods_of(fold: AccountFold) -> set[datetime]:
    wanted = {d.line.period.start for d in fold.differences if d.line is not None}
    return wanted | {d.standing.line.period.start for d in fold.differences if d.standing is not None}
