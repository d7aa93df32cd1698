"""Hints between processes: heard by the others, and heard again after the connection was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from meter.catalog.load import read_catalog_text
from meter.store import hints as hinting
from meter.store.apply import apply_catalog
from meter.store.closes import Closing, close_periods
from meter.store.directory_write import raise_facts_version
from meter.store.engine import Database
from meter.store.hints import Hints
from tests.owning import as_owner

# Only a test that has failed waits so long.
SOON_S = 30


class Ear:
    """What one process hears."""

    def __init__(self, database: Database) -> None:
        self.booked, self.accepted = asyncio.Event(), asyncio.Event()
        self.catalog = asyncio.Event()
        heard = {"booked": self.booked.set, "accepted": self.accepted.set, "catalog": self.catalog.set}
        self.hints = Hints(database, heard=heard)


@asynccontextmanager
async def process(database: Database) -> AsyncIterator[Ear]:
    ear = Ear(database)
    task = asyncio.create_task(ear.hints.run())
    try:
        async with asyncio.timeout(SOON_S):
            await ear.hints.listening.wait()
        ear.booked.clear()
        ear.accepted.clear()
        ear.catalog.clear()
        yield ear
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_hint_is_heard_by_the_others_and_not_by_who_told(database: Database) -> None:
    async with process(database) as one, process(database) as other, asyncio.timeout(SOON_S):
        one.hints.tell("booked")
        one.hints.tell("booked")
        await other.booked.wait()
        other.hints.tell("accepted")
        await one.accepted.wait()
        assert not other.accepted.is_set()
        assert not one.booked.is_set()


async def test_who_lost_its_connection_listens_again_and_takes_it_that_something_was_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hinting, "RECONNECT_PAUSE_S", 0.0)
    monkeypatch.setattr(hinting, "CHECK_INTERVAL_S", 0.01)
    async with process(database) as one, process(database) as other, asyncio.timeout(SOON_S):
        async with as_owner(database) as conn:
            await conn.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE (query LIKE '%pg_notify%' OR query LIKE 'LISTEN%')"
                    " AND pid <> pg_backend_pid() AND datname = current_database()"
                )
            )
        await one.booked.wait()
        await other.booked.wait()
        other.booked.clear()
        one.hints.tell("booked")
        await other.booked.wait()


async def test_a_change_of_facts_and_a_closing_are_told_at_their_commit(database: Database) -> None:
    """By whichever program makes them: a command has no gateway's hints."""
    catalog = read_catalog_text([("catalog.yaml", "operator: northside\ncurrency: EUR\ntimezone: UTC\n")])
    async with database.begin() as connection:
        await apply_catalog(connection, catalog, now=datetime(2026, 1, 1, tzinfo=UTC), reason="test")
    closing = Closing("acme", datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
    async with process(database) as one, asyncio.timeout(SOON_S):
        async with database.begin() as connection:
            await raise_facts_version(connection, "northside")
        await one.accepted.wait()
        assert not one.catalog.is_set()
        one.accepted.clear()
        async with database.begin() as connection:
            assert await close_periods(connection, "northside", [closing], at=closing.end, reason=None)
        await one.accepted.wait()
        assert not one.catalog.is_set()
        changed = read_catalog_text([("catalog.yaml", "operator: northside\ncurrency: CHF\ntimezone: UTC\n")])
        async with database.begin() as connection:
            await apply_catalog(connection, changed, now=datetime(2026, 4, 1, tzinfo=UTC))
        await one.catalog.wait()
