"""A real lane on a real database, for which time passes when the test lets it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import text

from meter.export.contract import Exporter
from meter.export.dispatcher import Lane
from meter.export.targets.spec import Means
from meter.store.deliveries import Delivery, list_deliveries
from meter.store.engine import Database
from meter.store.leases import Lease, LeaseKeeper
from meter.store.outbox import OutboxItem, add_items
from meter.telemetry import Telemetry
from tests.booked import OPERATOR
from tests.export.clocks import VirtualClock
from tests.targets.case import TargetCase
from tests.targets.proxy import Fault, FaultProxy, Odds

Target = TypeVar("Target", bound=Exporter)
# Far beyond what a drain takes: it bounds one that goes nowhere.
STEPS_MAX = 20_000
ODDS = Odds(too_many=0.03, error_before=0.04, error_after=0.06, hang_after=0.004, reset_before=0.04, reset_after=0.06)


class Closing(Protocol):
    """The fixture `closing`."""

    def __call__(self, target: Target, /) -> Target: ...


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


async def one(answers: Awaitable[Sequence[Any]]) -> Any:
    """Return the answer to a single item."""
    [answer] = await answers
    return answer


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


@asynccontextmanager
async def delivered_through_faults(
    case: TargetCase, means: Means, *, seed: int, later: Callable[[Any], None], odds: Odds = ODDS
) -> AsyncIterator[tuple[Any, list[OutboxItem]]]:
    """Deliver 250 items through a network that fails; give the vendor, whose books are right, and the items.

    `later` is what happens to the vendor between the first steps and the rest: keys and tokens are forgotten.
    """
    made = case.items(250, seed)
    async with case.fake() as vendor, FaultProxy(vendor, odds, seed=seed, retry_after_s=60) as proxy:
        proxy.plan(Fault.RESET_AFTER, Fault.ERROR_AFTER)  # the first answers, of the token endpoint where there is one
        given = case.setup(proxy.url)
        async with driven(means.database, case.open(given, means), given.name) as lane:
            await lane.add(made)
            for _ in range(10):
                await lane.step()
            assert any(one.state != "delivered" for one in await lane.deliveries())
            later(vendor)
            await lane.drain()
            assert {(one.state, one.fault) for one in await lane.deliveries()} == {("delivered", None)}
        assert proxy.counts.total() > 30
        assert case.books(vendor) == case.wanted(made)
        yield vendor, made
