"""The gatherer over a real database: from what was booked to the items of a target, each once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.event import listen, remove

from meter.export.gather import gatherer as gathering
from meter.export.gather.at_once import Entries
from meter.export.gather.gatherer import Gatherer
from meter.export.gather.invoicing import Codes
from meter.export.gather.lines import Lines
from meter.export.gather.shape import Shape
from meter.export.payload import LineItem, PeriodClosed, thawed
from meter.export.role import Renewer
from meter.export.targets.setups import Targets
from meter.model.money import ZERO
from meter.store.closes import Closing, close_periods
from meter.store.deliveries import retry_dead
from meter.store.leases import Lease, LeaseKeeper, LeaseLost
from tests.booking.space import CATALOG, Space, open_space, pages, sale, void
from tests.export.gathering import customers

KNOWN = CATALOG.replace("acme: {name: ACME,", "acme: {name: ACME, stripe: cus_1,")
BOTH = KNOWN.replace("solo: {name: Solo,", "solo: {name: Solo, stripe: cus_2,")
MARCH = Closing("acme", datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 31, 22, tzinfo=UTC))


def lines(**changes: bool) -> Lines:
    given = {"replaces": True, "notices": False, **changes}
    return Lines(target="stripe", customers=customers(), grain="day", codes=Codes(), **given)


def gatherer(space: Space, shape: Shape | None = None, *, past: bool = True, start: date | None = None) -> Gatherer:
    return Gatherer(
        space.database,
        operator="northside",
        target="stripe",
        shape=shape or lines(),
        clock=lambda: space.now,
        past=past,
        start=start,
    )


@asynccontextmanager
async def leased(space: Space, name: str = "export") -> AsyncIterator[Lease]:
    leases = LeaseKeeper(space.database)
    await leases.maintain([name])
    [lease] = leases.held([name])
    try:
        yield lease
    finally:
        await leases.close()


async def gather(space: Space, working: Gatherer) -> int:
    made = 0
    async with leased(space) as lease:
        while (step := await working.step(lease)).more or step.items:
            made += step.items
    return made


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url, KNOWN) as opened:
        yield opened


@pytest.fixture
def asked(space: Space) -> Iterator[list[str]]:
    """The statements that the database is sent."""
    sent: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    engine = space.database.engine.sync_engine
    listen(engine, "before_cursor_execute", note)
    yield sent
    remove(engine, "before_cursor_execute", note)


async def items(space: Space) -> list[tuple[str, int, LineItem | PeriodClosed]]:
    rows = await space.rows("SELECT state, revision, operation, payload FROM outbox ORDER BY id")
    found = [(state, revision, thawed(operation, payload)) for state, revision, operation, payload in rows]
    return [(s, r, content) for s, r, content in found if isinstance(content, LineItem | PeriodClosed)]


async def sent(space: Space) -> Decimal:
    """What the newest revision of each batch says, summed."""
    rows = await space.rows("SELECT DISTINCT ON (batch) operation, payload FROM outbox ORDER BY batch, revision DESC")
    found = [thawed(operation, payload) for operation, payload in rows]
    return sum((item.line.net + item.line.tax_amount for item in found if isinstance(item, LineItem)), ZERO)


async def owed(space: Space, account: str = "acme") -> Decimal:
    [[total]] = await space.rows(
        f"SELECT sum(rounded + tax_amount) FROM charges WHERE account = '{account}' AND settlement = 'account'"  # noqa: S608 -- ours
    )
    return Decimal(total or 0)


async def test_what_was_booked_is_gathered_once_and_grows_in_place(space: Space) -> None:
    working = gatherer(space)
    await space.take(pages("p1", "02T10:00", 150), pages("p2", "02T11:00", 20), sale("s1", "02T12:00", "3.50"))
    assert await gather(space, working) == 1
    assert await gather(space, working) == 0
    await space.take(pages("p3", "02T09:00", 30), pages("p4", "03T10:00", 10))
    await gather(space, gatherer(space))
    found = await items(space)
    days = [(state, revision, item.line.day) for state, revision, item in found if isinstance(item, LineItem)]
    assert days == [
        ("superseded", 0, date(2026, 3, 2)),
        ("pending", 1, date(2026, 3, 2)),
        ("pending", 0, date(2026, 3, 3)),
    ]
    assert await sent(space) == await owed(space) > ZERO


async def test_what_is_due_at_once_does_not_wait_for_a_clock_behind(space: Space) -> None:
    """The gateway's is a day ahead of the database's, and so are events without a time of their own."""
    space.now = datetime.now(UTC) + timedelta(days=1)
    await space.accept(
        [pages("p1", "02T10:00", 150).replace(b"2026-03-02T10:00", f"{space.now:%Y-%m-%dT%H:%M}".encode())]
    )
    await space.rate()
    assert await gather(space, gatherer(space)) == 1


async def test_a_correction_reaches_the_line_that_it_corrects(space: Space) -> None:
    working = gatherer(space)
    await space.take(pages("p1", "02T10:00", 150), pages("p2", "03T10:00", 100))
    await gather(space, working)
    await space.take(void("v1", "20T00:00", "p1", "berlin/print/hall"))
    await gather(space, working)
    assert await sent(space) == await owed(space) == ZERO
    lines_now = [
        item.line for state, _, item in await items(space) if isinstance(item, LineItem) and state == "pending"
    ]
    [gone] = [line for line in lines_now if line.day == date(2026, 3, 2)]
    assert gone.rounded == ZERO


async def test_a_new_target_begins_with_what_is_booked_from_then_on(space: Space) -> None:
    await space.take(pages("p1", "02T10:00", 150))
    working = gatherer(space, past=False)
    assert await gather(space, working) == 0
    await space.take(pages("p2", "03T10:00", 20))
    await gather(space, working)
    [[_, _, item]] = await items(space)
    assert isinstance(item, LineItem)
    assert item.line.day == date(2026, 3, 3)


async def test_a_target_with_a_start_gets_its_periods_and_no_earlier_ones(space: Space) -> None:
    await space.take(pages("p1", "02T10:00", 150))
    assert await gather(space, gatherer(space, past=False, start=date(2026, 3, 2))) == 0
    await space.rows("DELETE FROM export_cursors RETURNING 1")
    assert await gather(space, gatherer(space, past=False, start=date(2026, 3, 1))) == 1


async def test_a_period_begins_on_its_first_day_where_the_account_is(database_url: str) -> None:
    """In Tokyo March begins when it is still February in Berlin."""
    east = KNOWN.replace("acme: {name: ACME,", "acme: {name: ACME, timezone: Asia/Tokyo,")
    async with open_space(database_url, east) as space:
        await space.take(pages("p1", "02T10:00", 150))
        assert await gather(space, gatherer(space, past=False, start=date(2026, 3, 1))) == 1
        assert await sent(space) == await owed(space) > ZERO


async def test_what_is_on_its_way_is_not_overtaken(space: Space) -> None:
    working = gatherer(space)
    await space.take(pages("p1", "02T10:00", 150))
    await gather(space, working)
    await space.rows("UPDATE outbox SET state = 'uncertain' RETURNING 1")
    await space.take(pages("p2", "02T11:00", 20))
    assert await gather(space, working) == 0
    await space.rows("UPDATE outbox SET state = 'delivered' RETURNING 1")
    assert await gather(space, working) == 1
    assert await sent(space) == await owed(space)


async def test_nothing_is_gathered_by_one_who_was_overtaken(space: Space) -> None:
    await space.take(pages("p1", "02T10:00", 150))
    async with leased(space) as lease:
        with pytest.raises(LeaseLost):
            await gatherer(space).step(replace(lease, epoch=lease.epoch - 1))
        assert await space.rows("SELECT 1 FROM export_cursors") == []
        assert (await gatherer(space).step(lease)).items == 1


async def test_a_fault_in_the_middle_leaves_everything_to_be_gathered_again(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = gatherer(space)
    await space.take(pages("p1", "02T10:00", 150))

    async def fails(*_given: object) -> None:
        raise RuntimeError("no")

    with monkeypatch.context() as patched:
        patched.setattr(gathering, "add_items", fails)
        async with leased(space) as lease:
            with pytest.raises(RuntimeError, match="no"):
                await working.step(lease)
    assert await gather(space, working) == 1
    assert await sent(space) == await owed(space)


async def test_a_long_tail_is_read_in_pages_and_summed_once(space: Space) -> None:
    shape = lines()
    shape.page_max = 3
    await space.take(*(pages(f"p{n}", f"02T10:{n:02}", 60) for n in range(10)))
    assert await gather(space, gatherer(space, shape)) == 1
    assert await sent(space) == await owed(space)


async def test_a_closing_is_told_once_its_charges_are_gathered(space: Space) -> None:
    working = gatherer(space, lines(notices=True))
    await space.take(pages("p1", "02T10:00", 150))
    await gather(space, working)
    async with space.database.begin() as conn:
        await close_periods(conn, "northside", [MARCH], at=space.now, reason="test")
    assert await gather(space, working) == 0
    await space.rate()
    assert await gather(space, working) == 1
    assert await gather(space, working) == 0
    notices = [item for _, _, item in await items(space) if isinstance(item, PeriodClosed)]
    assert [notice.end for notice in notices] == [MARCH.end]


async def closed(space: Space, *accounts: str) -> None:
    """March of these accounts is closed, and what that makes due is booked."""
    async with space.database.begin() as conn:
        closings = [Closing(account, MARCH.start, MARCH.end) for account in accounts]
        await close_periods(conn, "northside", closings, at=space.now, reason="test")
    await space.rate()


async def notices(space: Space) -> list[str]:
    return sorted(item.account for _, _, item in await items(space) if isinstance(item, PeriodClosed))


async def test_closings_are_looked_through_once_and_none_is_passed_over(space: Space, asked: list[str]) -> None:
    await space.apply(BOTH)
    working = gatherer(space, lines(notices=True))
    await space.take(pages("p1", "02T10:00", 150), pages("p2", "02T10:00", 150, "badge:EFE1"))
    await gather(space, working)
    # A transaction that has begun holds back what it may still book, though it commits after a look.
    async with space.database.engine.connect() as slow:
        await slow.execute(text("SELECT pg_current_xact_id()"))
        await closed(space, "acme")
        async with space.database.begin() as other:
            await other.execute(text("SELECT pg_current_xact_id()"))
        assert await gather(space, working) == 0
        await slow.execute(
            text(
                "INSERT INTO closes (operator, account, period_start, closed_at, booked, booked_xid)"
                " VALUES ('northside', 'solo', :start, now(), true, pg_current_xact_id())"
            ),
            {"start": MARCH.start},
        )
        await slow.commit()
    assert await gather(space, working) == 2
    assert await notices(space) == ["acme", "solo"]
    # What was looked through is not asked for again, until somebody may have booked something.
    asked.clear()
    assert await gather(space, working) == 0
    assert len([one for one in asked if "closes" in one]) <= 1
    asked.clear()
    async with leased(space) as lease:
        await working.step(lease)
        asked.clear()
        await working.step(lease)
    assert [one for one in asked if "closes" in one] == []


async def test_more_closings_than_one_look_takes_are_all_told(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "BUCKETS_MAX", 1)
    await space.apply(BOTH)
    working = gatherer(space, lines(notices=True))
    await space.take(pages("p1", "02T10:00", 150), pages("p2", "02T10:00", 150, "badge:EFE1"))
    await gather(space, working)
    await closed(space, "acme", "solo")
    await gather(space, working)
    assert await notices(space) == ["acme", "solo"]


@pytest.mark.parametrize("later", [gathering.CLOSINGS_INTERVAL, -timedelta(days=1)], ids=["later", "clock_set_back"])
async def test_a_closing_that_says_no_transaction_is_found_a_little_later(space: Space, later: timedelta) -> None:
    working = gatherer(space, lines(notices=True))
    await space.take(pages("p1", "02T10:00", 150))
    await gather(space, working)
    async with space.database.begin() as conn:
        await conn.execute(
            text(
                "INSERT INTO closes (operator, account, period_start, closed_at, booked)"
                " VALUES ('northside', 'acme', :start, now(), true)"
            ),
            {"start": MARCH.start},
        )
    assert await gather(space, working) == 0
    space.now += later
    await gather(space, working)
    assert await notices(space) == ["acme"]


async def test_who_lacks_a_customer_is_dead_until_the_catalog_names_one(space: Space) -> None:
    working = gatherer(space)
    await space.take(pages("p1", "02T10:00", 150, "badge:EFE1"))
    assert await gather(space, working) == 1
    [[number, fault]] = await space.rows("SELECT id, fault FROM outbox WHERE state = 'dead'")
    assert "accounts.solo.stripe" in fault
    await space.apply(BOTH)
    async with space.database.begin() as conn:
        await retry_dead(conn, "northside", [number], by="command line", renew=working.renew)
    [[payload]] = await space.rows("SELECT payload FROM outbox WHERE state = 'pending'")
    item = thawed("line", payload)
    assert isinstance(item, LineItem)
    assert item.customer == "cus_2"
    assert item.line.net + item.line.tax_amount == await owed(space, "solo")


async def test_what_grows_while_it_is_dead_is_said_by_the_next_revision(space: Space) -> None:
    working = gatherer(space)
    await space.take(pages("p1", "02T10:00", 150, "badge:EFE1"))
    await gather(space, working)
    await space.apply(BOTH)
    await space.take(pages("p2", "02T11:00", 10, "badge:EFE1"))
    await gather(space, working)
    assert [(state, revision) for state, revision, _ in await items(space)] == [("superseded", 0), ("pending", 1)]
    assert await sent(space) == await owed(space, "solo")


async def test_a_revision_has_waited_as_long_as_what_it_replaces(space: Space) -> None:
    working = gatherer(space)
    await space.take(pages("p1", "02T10:00", 150))
    await gather(space, working)
    first = space.now
    space.now += timedelta(minutes=10)
    await space.take(pages("p2", "02T11:00", 20))
    await gather(space, working)
    assert await space.rows("SELECT revision, booked_at FROM outbox ORDER BY id") == [(0, first), (1, first)]
    await space.rows("UPDATE outbox SET state = 'delivered' WHERE state = 'pending' RETURNING 1")
    space.now += timedelta(minutes=10)
    await space.take(pages("p3", "02T12:00", 20))
    await gather(space, working)
    assert await space.rows("SELECT booked_at FROM outbox WHERE revision = 2") == [(space.now,)]


async def test_entries_have_waited_since_their_charges_were_booked(space: Space) -> None:
    space.now += timedelta(minutes=10)
    await space.take(pages("p1", "02T10:00", 150))
    booked_at = space.now
    space.now += timedelta(minutes=10)
    await gather(space, gatherer(space, Entries()))
    assert set(await space.rows("SELECT booked_at FROM outbox")) == {(booked_at,)}


async def test_what_is_for_a_target_that_is_not_enabled_here_stays_dead(space: Space) -> None:
    await space.take(pages("p1", "02T10:00", 150, "badge:EFE1"))
    await gather(space, gatherer(space))
    [[number]] = await space.rows("SELECT id FROM outbox WHERE state = 'dead'")
    none = Targets({}, operator="northside", data_dir=Path("data"))
    async with space.database.begin() as conn:
        await retry_dead(
            conn, "northside", [number], by="command line", renew=Renewer(none, space.database, clock=lambda: space.now)
        )
    [[state, fault]] = await space.rows("SELECT state, fault FROM outbox")
    assert state == "dead"
    assert "stripe is not enabled here" in fault
