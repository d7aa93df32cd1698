"""Closing over a real database: when periods close, what that books, and what comes after."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from meter.booking.closer import Closer
from meter.store.closes import Closing, close_periods
from tests.booking.space import Space, event, open_space, pages

# Months of Berlin.
FEBRUARY = Closing("acme", datetime(2026, 1, 31, 23, tzinfo=UTC), datetime(2026, 2, 28, 23, tzinfo=UTC))
MARCH = Closing("acme", FEBRUARY.end, datetime(2026, 3, 31, 22, tzinfo=UTC))
APRIL = Closing("acme", MARCH.end, datetime(2026, 4, 30, 22, tzinfo=UTC))


def heartbeat(until: datetime, edge: str = "edge-1", sequence: int | None = None, boot: int = 1) -> bytes:
    """An agent's word that it has sent everything before `until`."""
    body = json.loads(event("edge.heartbeat", f"{edge}/{boot}/{sequence}/{until}", "01T08:00", None, "berlin/edge", {}))
    body |= {"edge": edge, "data": {"complete_until": until.isoformat()}}
    return json.dumps(body if sequence is None else body | {"boot": boot, "sequence": sequence}).encode()


class Closes:
    """A space whose periods close."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.closer = self.new_closer()

    def new_closer(self) -> Closer:
        space = self.space
        return Closer(
            space.worker,
            database=space.database,
            operator="northside",
            leases=space.leases,
            telemetry=space.telemetry,
            clock=lambda: space.now,
            interval_s=0.0,
        )

    async def sweep(self) -> None:
        """Rate, close what is complete, and book what that makes due."""
        await self.space.rate()
        while await self.closer.step():
            pass
        await self.space.rate()

    async def close(self, closing: Closing, reason: str | None = "test") -> bool:
        """Close a period by hand."""
        async with self.space.database.begin() as connection:
            return bool(await close_periods(connection, "northside", [closing], at=self.space.now, reason=reason))

    async def closed(self) -> list[tuple[Any, ...]]:
        return await self.space.rows("SELECT account, period_start, booked FROM closes ORDER BY 1, 2")


async def test_a_period_without_an_agents_site_closes_a_day_after_its_end(database_url: str) -> None:
    async with open_space(database_url) as space:
        closes = Closes(space)
        await space.take(pages("1", "02T09:00", 110))
        space.now = MARCH.end + timedelta(hours=24) - timedelta(microseconds=1)
        await closes.sweep()
        assert await closes.closed() == []
        space.now = MARCH.end + timedelta(hours=24)
        await closes.sweep()
        assert await closes.closed() == [("acme", MARCH.start, True)]
