"""A target in memory, and lanes and dispatchers at it on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from sqlalchemy import text

from meter.clock import monotonic_s
from meter.export.contract import Absent, Barred, Delivered, Finding, Limits, Outcome, Uncertain
from meter.export.dispatcher import Dispatcher, Lane
from meter.store.deliveries import Delivery, backlogs, list_deliveries
from meter.store.engine import Database
from meter.store.leases import Lease, LeaseKeeper
from meter.store.outbox import OutboxItem, State, add_items, revised
from meter.telemetry import Telemetry

OPERATOR = "northside"
BARRED = Barred("answered 401: no; check the target's api_key", "check the target's api_key", status=401)
# Only a test that has failed waits so long.
SOON_S = 60


def items_of(*batches: str, stream: str = "") -> list[OutboxItem]:
    item = OutboxItem(operator=OPERATOR, target="ledger", operation="journal", batch="", key="", payload=b"{}")
    return [revised(replace(item, batch=batch, stream=stream), 0) for batch in batches]


class Killed(BaseException):
    """The process dies while it sends."""


class FakeTarget:
    """Holds what it was sent, by key; `behave` decides what becomes of each item before it is taken or told."""

    def __init__(self, items_max: int = 10, *, keys_kept_s: float = 0.0, settles_s: float = 0.0) -> None:
        self.limits = Limits(items_max=items_max, keys_kept_s=keys_kept_s, settles_s=settles_s)
        self.closed = False
        self.held: list[str] = []
        self.sends: list[str] = []
        self.known: list[str | None] = []
        self.asked: list[str] = []
        self.behave: Callable[[OutboxItem], Outcome | BaseException | None] = lambda _item: None
        self.after_taking: Callable[[OutboxItem], Outcome | BaseException | None] = lambda _item: None

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        return [await self._take(item) for item in items]

    async def _take(self, item: OutboxItem) -> Outcome:
        self.sends.append(item.key)
        self.known.append(item.known_id)
        if self.limits.keys_kept_s and item.key in self.held:
            return Delivered(f"remote-{item.key[:4]}")
        outcome = self.behave(item)
        if outcome is None:
            self.held.append(item.key)
            outcome = self.after_taking(item) or Delivered(f"remote-{item.key[:4]}")
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        self.asked += [item.key for item in items]
        return [Delivered() if item.key in self.held else Absent() for item in items]

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        self.closed = True


async def book(database: Database, *items: OutboxItem) -> list[str]:
    async with database.begin() as conn:
        await add_items(conn, items)
    return [item.key for item in items]


async def deliveries(database: Database) -> list[Delivery]:
    async with database.begin() as conn:
        return (await list_deliveries(conn, OPERATOR, deliveries_max=1000))[::-1]


async def states(database: Database) -> list[State]:
    return [shown.state for shown in await deliveries(database)]


@asynccontextmanager
async def lane_of(
    database: Database,
    target: FakeTarget,
    telemetry: Telemetry | None = None,
    *,
    clock: Callable[[], float] = monotonic_s,
) -> AsyncIterator[tuple[Lane, Lease]]:
    """A lane and its lease, for stepping by hand."""
    lane = Lane(
        database,
        operator=OPERATOR,
        target="ledger",
        exporter=target,
        telemetry=telemetry or Telemetry(),
        clock=clock,
    )
    keeper = LeaseKeeper(database)
    await keeper.maintain([lane.lease_name])
    [lease] = keeper.held([lane.lease_name])
    try:
        yield lane, lease
    finally:
        await keeper.close()


async def run_dry(lane: Lane, lease: Lease) -> float:
    """Step until there is nothing to do now; return what the lane would wait for."""
    while True:
        wait_s = await lane.step(lease)
        if wait_s > 0:
            return wait_s


async def make_due(database: Database) -> None:
    async with database.begin() as conn:
        await conn.execute(text("UPDATE outbox SET due_at = due_at - interval '1 hour'"))


@asynccontextmanager
async def running(
    database: Database, target: FakeTarget, telemetry: Telemetry | None = None
) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(
        database, operator=OPERATOR, exporters={"ledger": target}, telemetry=telemetry or Telemetry(), holder="test"
    )
    task = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until_settled(database: Database) -> None:
    async with asyncio.timeout(SOON_S):
        while True:
            async with database.begin() as conn:
                if not await backlogs(conn, OPERATOR):
                    return
            await asyncio.sleep(0.01)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not holds():  # noqa: ASYNC110 -- a gauge tells nobody when it moves
            await asyncio.sleep(0.01)


def shown(telemetry: Telemetry, metric: str = "meter_outbox_pending") -> float | None:
    return telemetry.registry.get_sample_value(metric, {"target": "ledger"})


async def unknown(items: Sequence[OutboxItem]) -> Sequence[Finding]:
    return [Uncertain("not answering")] * len(items)
