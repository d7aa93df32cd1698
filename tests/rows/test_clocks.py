"""A gateway whose clock jumps by an hour and a day, both ways, while it runs and between its starts: one bill.

The clock is the process's; the database has its own, as a gateway beside a database server does, by which leases and
deliveries are due. Members use three sites around their changes of the clock and on a leap day.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from meter.ingest import judge
from meter.store.leases import LeaseKeeper
from tests.booking.closes import Closes
from tests.booking.space import Space
from tests.rows.moments import DAY, HOUR, RIGHT, START, ZONES, catalog, usage
from tests.rows.simulated import Ending, Gateway
from tests.rows.sizes import sized

NOVEMBER = datetime(2028, 10, 31, 23, tzinfo=UTC)
# How far the clock is off while a part of the events comes, and whether the gateway is killed before.
JUMPS = [
    (RIGHT, False), (HOUR, False), (RIGHT, False), (-HOUR, False), (DAY, False), (-DAY, False),
    (DAY, True), (-DAY, True), (HOUR, True), (-HOUR, True), (RIGHT, True),
] * sized(1, 5)  # fmt: skip


@pytest_asyncio.fixture
async def gateway(database_url: str, data_dir: Path) -> AsyncIterator[Gateway]:
    database = Ending(database_url)
    space = Space(database)
    space.now = START
    await space.apply(catalog())
    yield Gateway(database, space, await Closes.of(space, since=datetime(2028, 1, 31, tzinfo=UTC)), data_dir / "ledger")
    await space.leases.close()
    await database.dispose()


async def _work(gateway: Gateway) -> None:
    """Rate, close, enter and deliver what the clock and the events make due; everything is delivered at once."""
    await gateway.sweep()
    await gateway.deliver()
    undelivered = await gateway.space.rows("SELECT count(*) FROM outbox WHERE state NOT IN ('delivered', 'superseded')")
    assert undelivered == [(0,)], "a delivery waits for the clock"


async def _in_the_end(gateway: Gateway) -> dict[str, Any]:
    """The books once the clock is forty days on, when all has been closed and earned."""
    gateway.space.now = START + timedelta(days=40)
    for _ in range(3):  # what was closed makes more due, which is earned then
        await gateway.sweep()
    await _work(gateway)
    books = await gateway.books()
    # A correction of a period that was closed early stands on the next invoice; the sums are the same.
    return {name: books[name] for name in ("sums", "draws", "journal", "events", "undelivered", "unresolved", "ledger")}


async def _leases(gateway: Gateway) -> list[tuple[Any, ...]]:
    return await gateway.space.rows("SELECT name, epoch FROM leases WHERE name LIKE 'rating%' ORDER BY 1")


async def _jumping(gateway: Gateway, parts: list[list[bytes]]) -> int:
    """Let events come while the clock jumps; return how many were held as ahead of it."""
    space, held = gateway.space, 0
    for n, ((off, killed), part) in enumerate(zip(JUMPS, parts, strict=True)):
        if killed:
            await space.leases.close()
            await gateway.begin_anew()
            await space.leases.maintain(space.worker.shards.lease_names)
        before = await _leases(gateway)
        space.now = START + timedelta(minutes=n) + off
        codes = [receipt.code for receipt in await space.accept(part)]
        assert off < RIGHT or set(codes) <= {None}, "what is not ahead of the clock was held"
        held += codes.count("future_time")
        await _work(gateway)
        assert n == 0 or await _leases(gateway) == before, "a jump has taken a lease from who held it"
    return held


async def _assert_one_bill(gateway: Gateway) -> None:
    """Whatever the clock did on the way, the books in the end are those of a gateway whose clock was right."""
    parts = usage(len(JUMPS))
    for part in parts:
        await gateway.space.accept(part)
    await _work(gateway)
    expected = await _in_the_end(gateway)
    assert len(expected["sums"]) >= len(ZONES) * 3, "too little is billed to show anything"
    assert expected["ledger"]

    await gateway.space.forget()
    await gateway.closes.begin_anew()
    await gateway.space.leases.close()
    gateway.space.leases = LeaseKeeper(gateway.database)
    gateway.ledger = gateway.ledger.with_name("jumping")
    await gateway.begin_anew()
    gateway.space.now = START
    held = await _jumping(gateway, parts)
    early = await gateway.space.rows(f"SELECT 1 FROM closes WHERE period_start >= '{NOVEMBER.isoformat()}'")  # noqa: S608  ours
    found = await _in_the_end(gateway)
    for name, value in expected.items():
        assert found[name] == value, name
    assert not early, "a clock that is a day ahead has closed a period that still runs"
    assert held > 0, "a clock behind has held nothing"
    print(f"clocks: {len(JUMPS)} jumps, {sum(map(len, parts))} events, {held} held")  # noqa: T201


async def test_the_bill_does_not_depend_on_the_clock(gateway: Gateway) -> None:
    await _assert_one_bill(gateway)


async def test_an_event_that_is_billed_at_its_receipt_is_found(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: what lies ahead of the clock is thought to be of now."""
    time_of: Any = judge._time

    def no_later(arrival: Any, event: Any) -> datetime:
        time: datetime = time_of(arrival, event)
        received: datetime = arrival.received_at
        return min(time, received)

    monkeypatch.setattr(judge, "_time", no_later)
    with pytest.raises(AssertionError):
        await _assert_one_bill(gateway)
