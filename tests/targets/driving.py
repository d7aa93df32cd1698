"""A real lane on a real database, for which time passes when the test lets it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import text

from meter.export.contract import Exporter
from meter.export.dispatcher import Lane
from meter.store.deliveries import Delivery, list_deliveries
from meter.store.engine import Database
from meter.store.leases import Lease, LeaseKeeper
from meter.store.outbox import OutboxItem, add_items
from meter.telemetry import Telemetry
from tests.booked import OPERATOR
from tests.export.clocks import VirtualClock

# Far beyond what a drain takes: it bounds one that goes nowhere.
STEPS_MAX = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DrivenLane:
    database: Database
    lane: Lane
    lease: Lease
    clock: VirtualClock

    async def add(self, items: Sequence[OutboxItem]) -> None:
        """Put items into the outbox."""
        async with self.database.begin() as conn:
            await add_items(conn, items)

    async def step(self) -> float:
        """Let everything be due, and do one step."""
        self.clock.moment_s += 3600
        async with self.database.begin() as conn:
            await conn.execute(
                text("UPDATE outbox SET due_at = clock_timestamp() WHERE state IN ('pending','uncertain')")
            )
        return await self.lane.step(self.lease)

    async def drain(self) -> None:
        """Step until nothing is open."""
        for _ in range(STEPS_MAX):
            await self.step()
            if not any(one.state in {"pending", "sending", "uncertain"} for one in await self.deliveries()):
                return
        raise AssertionError(f"not drained: {[one.fault for one in await self.deliveries()][:5]}")

    async def deliveries(self) -> list[Delivery]:
        """Return the outbox in the order of booking."""
        async with self.database.begin() as conn:
            return (await list_deliveries(conn, OPERATOR, deliveries_max=10_000))[::-1]


@asynccontextmanager
async def driven(
    database: Database, exporter: Exporter, target: str, clock: VirtualClock | None = None
) -> AsyncIterator[DrivenLane]:
    """Drive the target's lane; the exporter is closed at the end."""
    clock = clock or VirtualClock()
    lane = Lane(database, operator=OPERATOR, target=target, exporter=exporter, telemetry=Telemetry(), clock=clock)
    keeper = LeaseKeeper(database)
    await keeper.maintain([lane.lease_name])
    [lease] = keeper.held([lane.lease_name])
    try:
        yield DrivenLane(database=database, lane=lane, lease=lease, clock=clock)
    finally:
        await keeper.close()
        await exporter.close()
