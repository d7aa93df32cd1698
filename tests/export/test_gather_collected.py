"""What is collected for an hour or a day is read when that is over; nothing is left out, and nothing is read twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest_asyncio

from meter.export.gather.at_once import Entries
from meter.export.gather.charges import Charges
from meter.export.gather.gatherer import Gatherer
from meter.export.gather.shape import Shape
from meter.export.gather.spans import GRACE
from meter.export.payload import ChargeBatch, JournalBatch, thawed
from tests.booking.space import CATALOG, Space, open_space, pages
from tests.export.test_gatherer import gather, gatherer

# In Berlin midnight, and an hour that is not Berlin's own.
MIDNIGHT = datetime(2026, 4, 1, 22, tzinfo=UTC)


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url, CATALOG) as opened:
        yield opened


async def told(space: Space) -> list[tuple[date | None, list[str]]]:
    """Day and ids of each item, in their order."""
    rows = await space.rows("SELECT operation, payload FROM outbox ORDER BY id")
    found: list[tuple[date | None, list[str]]] = []
    for operation, payload in rows:
        match thawed(operation, payload):
            case ChargeBatch(day=day, charges=charges):
                found.append((day, [msgspec.json.decode(one)["id"] for one in charges]))
            case JournalBatch(day=day, entries=entries):
                found.append((day, [one.id for one in entries]))
    return found


async def booked(space: Space) -> list[str]:
    return sorted(row[0] for row in await space.rows("SELECT id FROM charges"))


def at(space: Space, moment: datetime, shape: Shape, working: Gatherer | None = None) -> Gatherer:
    space.now = moment
    return working or gatherer(space, shape)


def daily(page_max: int = 100) -> Charges:
    return Charges(apart="day", charges_max=page_max, collects="day", page_max=page_max)


async def test_a_day_is_one_item_when_it_is_over_and_what_is_late_a_further_one(space: Space) -> None:
    shape = daily()
    working = at(space, MIDNIGHT - timedelta(hours=20), shape)
    assert await gather(space, working) == 0  # it starts, and finds nothing
    for n, hour in enumerate(("08", "09", "10")):
        await space.take(pages(f"p{n}", f"30T{hour}:00", 10))
        assert await gather(space, working) == 0
    at(space, MIDNIGHT + GRACE - timedelta(seconds=1), shape)
    assert await gather(space, working) == 0
    at(space, MIDNIGHT + GRACE, shape)
    assert await gather(space, working) == 1
    [(day, ids)] = await told(space)
    assert (day, sorted(ids)) == (date(2026, 3, 30), await booked(space))
    await space.take(pages("p9", "30T11:00", 10), pages("p8", "31T11:00", 10))
    assert await gather(space, working) == 0
    at(space, MIDNIGHT + timedelta(days=1) + GRACE, shape)
    assert await gather(space, working) == 2
    days = [day for day, _ in await told(space)]
    assert days == [date(2026, 3, 30), date(2026, 3, 30), date(2026, 3, 31)]
    assert sorted(one for _, ids in await told(space) for one in ids) == await booked(space)


async def test_a_clock_that_was_years_ahead_leaves_nobody_waiting_for_them(space: Space) -> None:
    working = at(space, MIDNIGHT + timedelta(days=3650), shape := daily())
    assert await gather(space, working) == 0
    at(space, MIDNIGHT - timedelta(hours=20), shape)
    await space.take(pages("p1", "30T09:00", 10))
    at(space, MIDNIGHT + GRACE, shape)
    assert await gather(space, working) == 1


async def test_who_starts_anew_reads_what_is_there(space: Space) -> None:
    shape = Charges(apart="day", charges_max=100, collects="hour")
    first = at(space, MIDNIGHT, shape)
    await gather(space, first)
    await space.take(pages("p1", "30T08:00", 10))
    assert await gather(space, first) == 0
    assert await gather(space, gatherer(space, shape)) == 1
    at(space, MIDNIGHT + timedelta(hours=1) + GRACE, shape)
    assert await gather(space, first) == 0
    assert [ids for _, ids in await told(space)] == [await booked(space)]


async def test_what_is_more_than_a_page_is_read_to_its_end(space: Space) -> None:
    working = at(space, MIDNIGHT, daily())
    await gather(space, working)
    await space.take(*(pages(f"p{n}", f"30T08:{n:02}", 10) for n in range(7)))
    small = gatherer(space, daily(page_max=3))
    assert await gather(space, small) == 3
    assert [len(ids) for _, ids in await told(space)] == [3, 3, 1]
    assert sorted(one for _, ids in await told(space) for one in ids) == await booked(space)


async def test_entries_are_collected_likewise(space: Space) -> None:
    shape = Entries(collects="hour")
    working = at(space, MIDNIGHT, shape)
    await gather(space, working)
    await space.take(pages("p1", "30T08:00", 300))
    assert await gather(space, working) == 0
    at(space, MIDNIGHT + timedelta(hours=1) + GRACE, shape)
    assert await gather(space, working) > 0
    assert sorted(one for _, ids in await told(space) for one in ids) == await booked(space)
