"""The journal of a space, as an accountant reads it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from meter.booking.earner import Earner
from meter.model.journal import JournalEntry
from meter.store.journal import EntryFilter, entries_after
from meter.store.usage import BEGINNING
from tests.booking.space import Space

Told = tuple[str, str, dict[str, str]]


def at(text: str) -> datetime:
    """An instant, like "2026-03-02T09:00", in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def new_earner(space: Space, **options: Any) -> Earner:
    """A sweep that looks whenever it is asked."""
    return Earner(
        space.worker,
        database=space.database,
        operator="northside",
        telemetry=space.telemetry,
        clock=lambda: space.now,
        interval_s=0.0,
        **options,
    )


async def until(space: Space, moment: str) -> None:
    """Let the clock run to `moment`: what falls due is booked, and days that have ended are entered."""
    space.now = at(moment)
    await space.rate()
    earner = new_earner(space)
    while await earner.step():
        pass


async def entries(space: Space, wanted: EntryFilter | None = None) -> list[JournalEntry]:
    """Every entry, in the order in which they were made."""
    async with space.database.begin() as connection:
        page = await entries_after(connection, "northside", BEGINNING, wanted or EntryFilter(), entries_max=100_000)
    found = [entry for entry, _ in page.entries]
    for entry in found:
        entry.check_invariants()
        assert len({posting.account for posting in entry.postings}) == len(entry.postings)
        assert all(posting.amount for posting in entry.postings)
    return found


async def told(space: Space) -> list[Told]:
    """Every entry as day, kind and postings, by day."""
    found = [
        (str(entry.day), entry.kind, {posting.account: str(posting.amount) for posting in entry.postings})
        for entry in await entries(space)
    ]
    return sorted(found, key=lambda one: one[0])


async def balances(space: Space, *, before: date | None = None) -> dict[str, Decimal]:
    """What each ledger account sums to, of the days before one; those of zero are left out."""
    sums: dict[str, Decimal] = {}
    for entry in await entries(space):
        if before is None or entry.day < before:
            for posting in entry.postings:
                sums[posting.account] = sums.get(posting.account, Decimal(0)) + posting.amount
    return nonzero(sums)


def nonzero(sums: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The sums without those of zero, in order."""
    return {account: amount for account, amount in sorted(sums.items()) if amount}
