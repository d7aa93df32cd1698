"""What closes by itself, and when."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from meter.booking import closer as closer_module
from meter.booking.runner import RatingRunner
from meter.store.booking import request_refold
from meter.store.edges import site_marks
from meter.store.leases import LeaseLost
from tests.booking.closes import ACME_APRIL, ACME_FEBRUARY, ACME_MARCH, Closes, at, heartbeat
from tests.booking.space import CATALOG, Space, open_space, pages

MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(hours=24)
# An account that only pays a fee, from a date on; and a second site.
QUIET = CATALOG.replace(
    "accounts:\n",
    "accounts:\n  quiet: {name: Quiet, subscriptions: [{id: quiet-desk, plan: desk, from: 2026-02-10}]}\n",
).replace("plans:\n", 'plans:\n  desk: {name: Desk, fee: {amount: "10.00", every: month, in: arrears}}\n')
HOUSES = QUIET.replace("  berlin: {", "  prague: {name: Prague, timezone: Europe/Prague}\n  berlin: {")


def prague(event_id: str, time: str) -> bytes:
    """A print job at the other site."""
    return at(pages(event_id, "01T09:00", 1), time, source="prague/print/hall")


async def marks(space: Space) -> dict[str, datetime | None]:
    async with space.database.begin() as connection:
        return await site_marks(connection, "northside")


async def test_without_an_agent_a_period_closes_a_day_after_its_end(database_url: str) -> None:
    async with open_space(database_url) as space:
        closes = await Closes.of(space)
        await space.take(pages("1", "02T09:00", 110))
        space.now = ACME_MARCH.end + DAY - MICROSECOND
        await closes.sweep()
        assert await closes.closed() == []
        space.now = ACME_MARCH.end + DAY
        await closes.sweep()
        assert await closes.closed() == [(ACME_MARCH.start, True)]


async def test_what_was_over_when_the_gateway_was_set_up_has_a_day_to_come_in(database_url: str) -> None:
    async with open_space(database_url) as space:
        begun = ACME_APRIL.end + timedelta(days=3)
        closes = await Closes.of(space, since=begun)
        await space.take(pages("1", "02T09:00", 110))
        space.now = begun + DAY - MICROSECOND
        await closes.sweep()
        assert await closes.closed() == []
        space.now = begun + DAY
        await closes.sweep()
        assert await closes.closed() == [(ACME_MARCH.start, True), (ACME_APRIL.start, True)]


async def test_what_is_complete_does_not_wait_for_what_is_only_given_a_day(database_url: str) -> None:
    catalog = CATALOG.replace("name: Flex\n", 'name: Flex\n    fee: {amount: "10.00", every: month, in: arrears}\n')
    async with open_space(database_url, catalog) as space:
        closes = await Closes.of(space, since=ACME_APRIL.end)
        space.now = ACME_APRIL.end + timedelta(hours=1)
        # January and February have fees alone, April is given its day by the clock.
        await space.take(pages("1", "02T09:00", 1), heartbeat(ACME_APRIL.end))
        await closes.sweep()
        assert await closes.closed() == [(ACME_MARCH.start, True)]
        space.now = ACME_APRIL.end + DAY
        await closes.sweep()
        assert [start.month for start, _ in await closes.closed()] == [12, 1, 2, 3]  # as UTC says it


async def test_a_period_closes_once_the_sites_that_it_used_are_complete(database_url: str) -> None:
    async with open_space(database_url, HOUSES) as space:
        closes = await Closes.of(space)
        space.now = ACME_MARCH.end + timedelta(days=10)
        await space.take(pages("1", "02T09:00", 110), heartbeat(ACME_MARCH.end - MICROSECOND))
        await closes.sweep()
        assert await closes.closed() == []
        # Another site's agent is nobody's concern here; this site's second one is.
        await space.take(heartbeat(ACME_FEBRUARY.end, "edge-9", site="prague"))
        await space.take(heartbeat(ACME_MARCH.end), heartbeat(ACME_FEBRUARY.end, "edge-2"))
        await closes.sweep()
        assert await closes.closed() == []
        await space.take(heartbeat(ACME_MARCH.end, "edge-2"))
        await closes.sweep()
        assert await closes.closed() == [(ACME_MARCH.start, True)]


async def test_usage_that_comes_while_its_period_waits_for_the_clock_lets_it_close_sooner(database_url: str) -> None:
    async with open_space(database_url) as space:
        closes = await Closes.of(space)
        space.now = ACME_APRIL.end + timedelta(hours=1)
        await space.take(pages("1", "02T09:00", 1), heartbeat(ACME_APRIL.end))
        await closes.sweep()
        assert await closes.closed() == [(ACME_MARCH.start, True)]
        await space.take(at(pages("2", "02T09:00", 1), "2026-04-02T09:00:00Z"))
        await closes.sweep()
        assert await closes.closed() == [(ACME_MARCH.start, True), (ACME_APRIL.start, True)]


async def test_each_used_site_counts_that_has_an_agent(database_url: str) -> None:
    async with open_space(database_url, HOUSES) as space:
        closes = await Closes.of(space)
        space.now = ACME_MARCH.end
        await space.take(pages("1", "02T09:00", 110), prague("2", "2026-03-05T09:00:00Z"), heartbeat(ACME_MARCH.end))
        await closes.sweep()
        assert await closes.closed() == [(ACME_MARCH.start, True)]  # nobody says anything of Prague
        await space.take(prague("3", "2026-04-05T09:00:00Z"), heartbeat(ACME_MARCH.end, "edge-9", site="prague"))
        space.now = ACME_APRIL.end + DAY
        await space.take(heartbeat(ACME_APRIL.end))
        await closes.sweep()
        assert await closes.closed() == [(ACME_MARCH.start, True)]
        await space.take(heartbeat(ACME_APRIL.end, "edge-9", site="prague"))
        await closes.sweep()
        assert await closes.closed() == [(ACME_MARCH.start, True), (ACME_APRIL.start, True)]


async def test_a_mark_ahead_of_the_clock_closes_nothing_that_runs(database_url: str) -> None:
    async with open_space(database_url) as space:
        closes = await Closes.of(space)
        space.now = ACME_MARCH.end - MICROSECOND
        await space.take(pages("1", "02T09:00", 110), heartbeat(datetime(2030, 1, 1, tzinfo=UTC)))
        await closes.sweep()
        assert await closes.closed() == []


async def test_fees_are_no_usage_though_they_name_the_only_site(database_url: str) -> None:
    async with open_space(database_url, QUIET) as space:
        closes = await Closes.of(space)
        space.now = ACME_MARCH.end + DAY
        await space.take(heartbeat(ACME_FEBRUARY.start), pages("1", "02T09:00", 110))
        await closes.sweep()
        assert {(charge.kind, charge.line.site) for charge in await closes.charges(account="quiet")} == {
            ("fee", "berlin")
        }
        assert await closes.closed() == []
        assert [start for start, _ in await closes.closed("quiet")] == [ACME_FEBRUARY.start, ACME_MARCH.start]


async def test_a_heartbeat_counts_once_everything_below_it_is_stored(database_url: str) -> None:
    async with open_space(database_url) as space:
        early, late = datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 3, 6, tzinfo=UTC)
        edge = {"edge": "edge-1", "boot": 1}
        await space.accept([at(pages("1", "02T09:00", 1), "2026-03-02T09:00:00Z", sequence=1, **edge)])
        assert await marks(space) == {"berlin": None}
        await space.accept([heartbeat(early, sequence=2)])
        assert await marks(space) == {"berlin": early}
        await space.accept([heartbeat(late, sequence=5), heartbeat(early + timedelta(hours=1), sequence=4)])
        assert await marks(space) == {"berlin": early}
        await space.accept([at(pages("3", "02T09:00", 1), "2026-03-05T12:00:00Z", sequence=3, **edge)])
        assert await marks(space) == {"berlin": late}


async def test_a_fresh_spool_takes_over_where_its_mark_is_later(database_url: str) -> None:
    async with open_space(database_url) as space:
        first, second = datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 3, 6, tzinfo=UTC)
        await space.accept([heartbeat(first, sequence=1)])
        await space.accept([heartbeat(first - DAY, boot=2, sequence=1)])
        assert await marks(space) == {"berlin": first}
        await space.accept([heartbeat(second, boot=2, sequence=2)])
        assert await marks(space) == {"berlin": second}


async def test_a_long_past_closes_in_order_from_where_it_begins(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closer_module, "PERIODS_MAX", 2)
    monkeypatch.setattr(closer_module, "SWEEP_ACCOUNTS_MAX", 1)
    async with open_space(database_url, HOUSES) as space:
        closes = await Closes.of(space)
        space.now = ACME_APRIL.end + DAY
        await space.take(at(pages("1", "01T09:00", 1), "2026-01-05T09:00:00Z"))
        await closes.sweep()
        assert [start.month for start, _ in await closes.closed()] == [12, 1]  # as UTC says it
        await closes.sweep()
        await closes.sweep()
        assert [start.month for start, _ in await closes.closed()] == [12, 1, 2, 3]
        # Fees alone make a first period too; whoever has nothing at all never closes.
        assert [start.month for start, _ in await closes.closed("quiet")] == [1, 2, 3]
        assert await closes.closed("solo") == await closes.closed("walk-in") == []


async def test_what_waits_to_be_rated_again_stays_open(database_url: str) -> None:
    async with open_space(database_url) as space:
        closes = await Closes.of(space)
        space.now = ACME_MARCH.end + DAY
        await space.take(pages("1", "02T09:00", 110))
        async with space.database.begin() as connection:
            await request_refold(connection, "northside", account="acme", since=ACME_MARCH.start, reason="test")
        while await closes.closer.step():
            pass
        assert await closes.closed() == []
        await closes.sweep()
        assert await closes.closed() == [(ACME_MARCH.start, True)]


async def test_usage_that_is_not_rated_yet_is_not_overlooked(database_url: str) -> None:
    async with open_space(database_url, HOUSES) as space:
        closes = await Closes.of(space)
        space.now = ACME_MARCH.end + DAY
        await space.take(prague("1", "2026-03-05T09:00:00Z"))
        # Stored and not rated: usage at a site whose agent has not said anything of March yet.
        await space.accept([pages("2", "02T09:00", 1), heartbeat(ACME_FEBRUARY.end)])
        for _ in range(3):
            assert not await closes.closer.step()
        assert await closes.closed() == []
        await closes.sweep()
        assert await closes.closed() == []
        await space.take(heartbeat(ACME_MARCH.end))
        await closes.sweep()
        assert await closes.closed() == [(ACME_MARCH.start, True)]


async def test_an_overtaken_process_closes_nothing(database_url: str) -> None:
    async with open_space(database_url) as space:
        closes = await Closes.of(space)
        space.now = ACME_MARCH.end + DAY
        await space.take(pages("1", "02T09:00", 110))
        await space.rows("UPDATE leases SET epoch = epoch + 1 RETURNING name")
        with pytest.raises(LeaseLost):
            await closes.closer.step()
        assert await closes.closed() == []
        assert space.leases.held(space.worker.shards.lease_names) == []


async def test_a_fault_of_closing_does_not_hold_up_rating(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_space(database_url) as space:
        closes = await Closes.of(space)

        async def broken() -> bool:
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr(closes.closer, "step", broken)
        await space.accept([pages("1", "02T09:00", 110)])
        await space.leases.maintain(space.worker.shards.lease_names)
        rating = asyncio.create_task(RatingRunner(space.worker, space.leases, closes.closer).run())
        async with asyncio.timeout(30):
            while not await space.sums():  # noqa: ASYNC110 -- the worker tells nobody in this test
                await asyncio.sleep(0.02)
        rating.cancel()
        await asyncio.wait([rating])
