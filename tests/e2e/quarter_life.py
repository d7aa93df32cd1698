"""A gateway's insides, a ledger, and a clock to live a quarter by."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import text

from meter.booking.earner import Earner
from meter.catalog.load import read_catalog_text
from meter.export.dispatcher import Lane
from meter.export.gather.at_once import Entries
from meter.export.gather.gatherer import Gatherer
from meter.export.targets.ledger.target import LedgerTarget
from meter.store.apply import apply_catalog
from meter.store.leases import LeaseKeeper
from meter.store.unresolved import claim_identity
from tests.booking.closes import Closes
from tests.booking.journals import new_earner
from tests.booking.space import Space, open_space
from tests.e2e.quarter import FIRST, catalog
from tests.owning import as_owner

SINCE: Final = datetime(2026, 6, 30, 22, tzinfo=UTC)


class Life:
    """A gateway's insides with the ledger as its target, and a clock that is moved."""

    def __init__(self, space: Space, closes: Closes, ledger: Path) -> None:
        self.space = space
        self.closes = closes
        self.ledger = ledger
        self.earner: Earner = new_earner(space)

    async def apply(self, files: list[tuple[str, str]]) -> None:
        """Put a version of the catalog in force."""
        async with self.space.database.begin() as connection:
            await apply_catalog(connection, read_catalog_text(files), now=self.space.now, reason="a test")

    async def claim(self) -> None:
        """Say whose the badge and the card are that nobody knew, since when the quarter began."""
        async with self.space.database.begin() as connection:
            for identity in ("badge:1A7E01", "square:NEW1"):
                await claim_identity(
                    connection, "northside", identity, member="nele", start=FIRST, end=None, now=self.space.now
                )

    async def until(self, now: datetime, bodies: Iterable[bytes] = ()) -> None:
        """Move the clock, let events in, and do what is due: book, enter days that have ended, close, book again."""
        self.space.now = now
        receipts = await self.space.accept(bodies)
        assert {receipt.status for receipt in receipts} <= {"accepted"}
        await self.closes.sweep()
        while await self.earner.step():
            pass

    async def forget(self, ledger: Path) -> None:
        """Have heard of no event and closed nothing; what is known of people, plans and claims stays."""
        await self.space.forget()
        async with as_owner(self.space.database) as connection:
            await connection.execute(text("TRUNCATE closes"))
        self.closes.new_closer()
        self.earner = new_earner(self.space)
        self.ledger = ledger

    async def deliver(self) -> None:
        """Gather and write what was booked, as a process that was just started."""
        space = self.space
        exporter = LedgerTarget(self.ledger)
        lane = Lane(space.database, operator="northside", target="ledger", exporter=exporter, telemetry=space.telemetry)
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


@asynccontextmanager
async def a_life(database_url: str, ledger: Path) -> AsyncIterator[Life]:
    """The operator on the day before the quarter."""
    async with open_space(database_url, "operator: northside\ncurrency: EUR\ntimezone: Europe/Berlin\n") as space:
        life = Life(space, await Closes.of(space, since=SINCE), ledger)
        await life.apply(catalog())
        yield life


def night_after(day: date) -> datetime:
    """An hour after the operator's midnight that ends a day of summer."""
    return datetime(day.year, day.month, day.day, 23, tzinfo=UTC)
