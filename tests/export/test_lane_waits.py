"""A lane whose target is busy, down, closed to us or slow to know: what goes again, under which key, and when."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from meter.export.contract import Retry, Uncertain, Untried
from meter.export.dispatcher import Lane
from meter.store.engine import Database
from meter.store.lanes import held_lanes
from meter.store.leases import Lease
from meter.telemetry import Telemetry
from tests.export.clocks import VirtualClock
from tests.export.lanes import (
    BARRED,
    OPERATOR,
    FakeTarget,
    book,
    deliveries,
    items_of,
    lane_of,
    make_due,
    run_dry,
    shown,
    states,
    unknown,
)


async def test_what_was_not_tried_goes_at_once_and_counts_as_no_attempt(database: Database) -> None:
    target = FakeTarget()
    first, second = await book(database, *items_of("a", "b"))
    target.behave = lambda item: Untried() if item.key == second else None
    async with lane_of(database, target) as (lane, lease):
        await lane.step(lease)
        shown = (await deliveries(database))[1]
        assert (shown.state, shown.attempts, shown.first_sent_at) == ("pending", 0, None)
        target.behave = lambda _item: None
        await run_dry(lane, lease)
    assert target.held == [first, second]
    assert [one.attempts for one in await deliveries(database)] == [1, 1]


async def test_the_same_bytes_go_again_under_the_same_key_while_the_target_keeps_it(database: Database) -> None:
    target = FakeTarget(keys_kept_s=3600.0)
    [key] = await book(database, *items_of("a"))
    target.after_taking = lambda _item: Uncertain("timed out")
    async with lane_of(database, target) as (lane, lease):
        await run_dry(lane, lease)
        assert await states(database) == ["uncertain"]
        await make_due(database)
        await run_dry(lane, lease)
    assert (target.sends, target.held, target.asked) == ([key, key], [key], [])
    assert await states(database) == ["delivered"]


async def test_after_an_outage_longer_than_keys_are_kept_the_target_is_asked(database: Database) -> None:
    target = FakeTarget(keys_kept_s=3600.0)
    [key] = await book(database, *items_of("a"))
    target.after_taking = lambda _item: Uncertain("timed out")
    async with lane_of(database, target) as (lane, lease):
        await run_dry(lane, lease)
        async with database.begin() as conn:
            await conn.execute(text("UPDATE outbox SET first_sent_at = first_sent_at - interval '1 hour'"))
        await make_due(database)
        await run_dry(lane, lease)
    assert (target.sends, target.asked, target.held) == ([key], [key], [key])


@pytest.mark.parametrize("taken", [True, False])
async def test_where_the_answer_would_be_repeated_it_is_looked_up_and_sent_under_another_key(
    database: Database, *, taken: bool
) -> None:
    target = FakeTarget(keys_kept_s=3600.0)
    [key] = await book(database, *items_of("a"))
    repeated = Uncertain("500", answered=True)
    if taken:
        target.after_taking = lambda _item: repeated
    else:
        target.behave = lambda item: repeated if item.key == key else None
    async with lane_of(database, target) as (lane, lease):
        await run_dry(lane, lease)
        await make_due(database)
        await run_dry(lane, lease)
    [shown] = await deliveries(database)
    assert (shown.state, target.asked) == ("delivered", [key])
    if taken:
        assert (shown.revision, target.sends) == (0, [key])
    else:
        assert (shown.revision, target.sends, target.held) == (1, [key, shown.key], [shown.key])


async def test_a_target_that_asks_for_time_gets_it_and_no_item_is_worn_out(database: Database) -> None:
    target, telemetry = FakeTarget(), Telemetry()
    await book(database, *items_of("a", stream="a"), *items_of("b", stream="b"))
    target.behave = lambda _item: Retry("slow down", after_s=30.0, throttled=True)
    async with lane_of(database, target, telemetry) as (lane, lease):
        assert 29 < await run_dry(lane, lease) <= 30
        assert len(target.sends) == 2
        await make_due(database)
        assert await lane.step(lease) > 29, "it is the target that asked, not the item"
    assert [(one.state, one.attempts) for one in await deliveries(database)] == [("pending", 0)] * 2
    async with database.begin() as conn:
        [held] = await held_lanes(conn, OPERATOR)
    assert (held.target, held.failing_since, held.fault) == ("ledger", None, "slow down")
    assert telemetry.registry.get_sample_value("meter_target_throttled_total", {"target": "ledger"}) == 2


async def test_a_target_that_is_down_is_probed_with_one_item_at_a_time(database: Database) -> None:
    target, telemetry, clock = FakeTarget(), Telemetry(), VirtualClock()
    await book(database, *(one for name in "abcdefgh" for one in items_of(name, stream=name)))
    target.behave = lambda _item: Retry("connection refused")
    async with lane_of(database, target, telemetry, clock=clock) as (lane, lease):
        await lane.step(lease)
        assert len(target.sends) == 8
        for pause_s in (1.0, 2.0, 4.0):
            await make_due(database)
            assert await lane.step(lease) == pause_s
            clock.moment_s += pause_s
            before = len(target.sends)
            await lane.step(lease)
            assert len(target.sends) == before + 1
        assert shown(telemetry, "meter_target_open") == 1
        async with database.begin() as conn:
            [held] = await held_lanes(conn, OPERATOR)
        assert held.failing_since is not None
        target.behave = lambda _item: None
        clock.moment_s += 8.0
        await make_due(database)
        await run_dry(lane, lease)
        assert shown(telemetry, "meter_target_open") == 0
    assert set(await states(database)) == {"delivered"}
    assert sorted(one.attempts for one in await deliveries(database)) == [2, 2, 2, 2, 2, 3, 3, 3]
    async with database.begin() as conn:
        assert await held_lanes(conn, OPERATOR) == []


async def test_a_key_that_was_withdrawn_holds_the_target_and_wears_out_nothing(database: Database) -> None:
    target, telemetry, clock = FakeTarget(), Telemetry(), VirtualClock()
    await book(database, *(one for name in "abc" for one in items_of(name, stream=name)))
    target.behave = lambda _item: BARRED
    async with lane_of(database, target, telemetry, clock=clock) as (lane, lease):
        with capture_logs() as lines:
            for pause_s in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
                await lane.step(lease)
                assert await lane.step(lease) == pause_s
                clock.moment_s += pause_s
        assert lines == [
            {
                "event": "target_barred",
                "log_level": "warning",
                "count": 1,
                "target": "ledger",
                "status": "401",
                "remedy": "check the target's api_key",
            }
        ]
        assert (shown(telemetry, "meter_target_open"), shown(telemetry, "meter_target_barred")) == (1, 1)
        # Each probe is of another stream: one item that is refused so does not keep the others.
        assert len(set(target.sends[3:])) == 3
        assert {(one.state, one.attempts, one.fault) for one in await deliveries(database)} == {
            ("pending", 0, BARRED.reason)
        }
        async with database.begin() as conn:
            [held] = await held_lanes(conn, OPERATOR)
        assert (held.failing_since is not None, held.fault) == (True, BARRED.reason)
        target.behave = lambda _item: None
        with capture_logs() as lines:
            await run_dry(lane, lease)
        assert [line["event"] for line in lines] == ["target_up"]
        assert (shown(telemetry, "meter_target_open"), shown(telemetry, "meter_target_barred")) == (0, 0)
    assert [(one.state, one.attempts) for one in await deliveries(database)] == [("delivered", 1)] * 3
    assert len(target.held) == 3


# --- the database's clock is set -------------------------------------------------------------------------------------


async def set_clock(database: Database, by: str) -> None:
    """Have what was written lie as far off as if the database's clock had been set by so much."""
    async with database.begin() as conn:
        await conn.execute(
            text(
                "UPDATE outbox SET due_at = due_at - CAST(CAST(:by AS text) AS interval),"
                " first_sent_at = first_sent_at - CAST(CAST(:by AS text) AS interval)"
            ),
            {"by": by},
        )


@pytest.mark.parametrize("by", ["1 hour", "-1 hour", "1 day", "-1 day"])
async def test_what_may_still_be_at_work_is_not_asked_about_because_a_clock_was_set(
    database: Database, by: str
) -> None:
    """Else the target says that it does not hold it, is sent it again, and holds it twice."""
    target, clock = FakeTarget(settles_s=30.0), VirtualClock()
    [key] = await book(database, *items_of("a"))
    target.behave = lambda _item: Uncertain("timed out")
    async with lane_of(database, target, clock=clock) as (lane, lease):
        await run_dry(lane, lease)
        await set_clock(database, by)
        await _held_once_it_has_come(target, lane, lease, clock, key)


async def test_nor_by_a_lane_that_does_not_know_when_it_was_sent(database: Database) -> None:
    """What a lane before it left waits for as long as if it had been sent now, if the clock was set back since."""
    target, clock = FakeTarget(settles_s=30.0), VirtualClock()
    [key] = await book(database, *items_of("a"))
    target.behave = lambda _item: Uncertain("timed out")
    async with lane_of(database, target, clock=clock) as (lane, lease):
        await run_dry(lane, lease)
    await set_clock(database, "-1 day")
    async with lane_of(database, target, clock=clock) as (lane, lease):
        await _held_once_it_has_come(target, lane, lease, clock, key)


async def _held_once_it_has_come(target: FakeTarget, lane: Lane, lease: Lease, clock: VirtualClock, key: str) -> None:
    """The item comes to the target just before it is asked about: not sooner than so."""
    assert await run_dry(lane, lease) > 0
    clock.moment_s += 29
    assert await run_dry(lane, lease) > 0
    assert target.asked == []
    target.held.append(key)
    clock.moment_s += 1
    await run_dry(lane, lease)
    assert (target.sends, target.asked, target.held) == ([key], [key], [key])


async def test_a_key_of_unknown_age_is_not_trusted_when_the_clock_has_caught_up(database: Database) -> None:
    """The target has forgotten it by then, and would take the same again."""
    target, clock = FakeTarget(keys_kept_s=86_400.0), VirtualClock()
    [key] = await book(database, *items_of("a"))
    target.after_taking = lambda _item: Uncertain("timed out")
    async with lane_of(database, target, clock=clock) as (lane, lease):
        await run_dry(lane, lease)
        await set_clock(database, "-1 day")
        known, target.look_up = target.look_up, unknown  # type: ignore[method-assign]
        await run_dry(lane, lease)
        target.look_up = known  # type: ignore[method-assign]
        await set_clock(database, "25 hours")
        await run_dry(lane, lease)
    assert (target.sends, target.asked, target.held) == ([key], [key], [key])
    assert await states(database) == ["delivered"]
