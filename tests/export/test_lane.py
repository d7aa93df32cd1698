"""One lane, step by step: in the order of booking, asked where the answer is not known, each item held once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from meter.clock import now
from meter.export.contract import Outcome, Refused, Retry, Uncertain
from meter.export.streams import one_by_one
from meter.store.deliveries import retry_dead, show_delivery
from meter.store.engine import Database
from meter.store.leases import LeaseLost
from meter.store.outbox import OutboxItem, revised
from meter.telemetry import Telemetry
from tests.export.lanes import (
    OPERATOR,
    SOON_S,
    FakeTarget,
    Killed,
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


async def test_items_are_sent_once_and_in_the_order_of_booking(database: Database) -> None:
    target, telemetry = FakeTarget(items_max=3), Telemetry()
    keys = await book(database, *items_of(*(str(n) for n in range(8))))
    async with lane_of(database, target, telemetry) as (lane, lease):
        await run_dry(lane, lease)
    assert target.held == target.sends == keys
    assert target.asked == []
    shown = await deliveries(database)
    assert all(one.state == "delivered" and one.attempts == 1 and one.delivered_at for one in shown)
    assert [one.remote_id for one in shown] == [f"remote-{key[:4]}" for key in keys]
    count = telemetry.registry.get_sample_value("meter_deliveries_total", {"target": "ledger", "outcome": "delivered"})
    assert count == 8.0


async def test_an_item_that_has_to_wait_holds_up_those_behind_it(database: Database) -> None:
    target = FakeTarget(items_max=1)
    first, second = await book(database, *items_of("a", "b"))
    target.behave = lambda _item: Retry("busy")
    async with lane_of(database, target) as (lane, lease):
        wait_s = await run_dry(lane, lease)
        assert 0 < wait_s <= 0.5
        assert target.sends == [first]
        assert [(one.state, one.fault) for one in await deliveries(database)] == [
            ("pending", "busy"),
            ("pending", None),
        ]
        target.behave = lambda _item: None
        await make_due(database)
        await run_dry(lane, lease)
    assert target.held == [first, second]


async def test_a_refused_item_is_dead_with_its_reason_and_lives_again_as_a_revision(database: Database) -> None:
    target = FakeTarget()
    bad, good = await book(database, *items_of("a", "b"))
    target.behave = lambda item: Refused("no such customer") if item.key == bad else None
    async with lane_of(database, target) as (lane, lease):
        await run_dry(lane, lease)
        dead, delivered = await deliveries(database)
        assert (dead.state, dead.fault, delivered.state) == ("dead", "no such customer", "delivered")
        async with database.begin() as conn:
            [made] = (await retry_dead(conn, OPERATOR, [dead.id], by="command line")).made
            revised = await show_delivery(conn, OPERATOR, made)
        assert (revised.revision, revised.state, revised.batch) == (1, "pending", dead.batch)
        assert revised.key not in {bad, good}
        await run_dry(lane, lease)
    assert target.held == [good, revised.key]
    assert await states(database) == ["superseded", "delivered", "delivered"]


@pytest.mark.parametrize("fault", [Uncertain("timed out"), ConnectionResetError("reset"), TimeoutError()])
async def test_when_the_answer_is_lost_the_target_is_asked_before_anything_is_sent_again(
    database: Database, fault: Outcome | BaseException
) -> None:
    target = FakeTarget()
    keys = await book(database, *items_of("a"))
    target.after_taking = lambda _item: fault
    async with lane_of(database, target) as (lane, lease):
        await run_dry(lane, lease)
    assert (target.sends, target.asked, target.held) == (keys, keys, keys)
    assert await states(database) == ["delivered"]


async def test_what_the_target_does_not_hold_is_sent_again_after_a_while(database: Database) -> None:
    target = FakeTarget()
    [key] = await book(database, *items_of("a"))
    target.behave = lambda _item: Uncertain("timed out")
    async with lane_of(database, target) as (lane, lease):
        assert await run_dry(lane, lease) > 0
        assert (target.sends, target.asked, target.held) == ([key], [key], [])
        target.behave = lambda _item: None
        await make_due(database)
        await run_dry(lane, lease)
    assert (target.sends, target.held) == ([key, key], [key])
    assert [(one.state, one.attempts) for one in await deliveries(database)] == [("delivered", 2)]


async def test_a_target_that_gives_fewer_answers_than_it_got_items_is_asked(database: Database) -> None:
    target = FakeTarget()
    keys = await book(database, *items_of("a", "b"))
    send = target.send

    async def short(items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        return (await send(items))[:1]

    target.send = short  # type: ignore[method-assign]
    async with lane_of(database, target) as (lane, lease):
        await run_dry(lane, lease)
    assert (target.held, target.asked) == (keys, keys)


@pytest.mark.parametrize("keys_kept_s", [0.0, 3600.0], ids=["keeps_none", "keeps_keys"])
@pytest.mark.parametrize("taken", [True, False])
async def test_what_a_dead_process_was_sending_is_not_known(
    database: Database, *, taken: bool, keys_kept_s: float
) -> None:
    target = FakeTarget(keys_kept_s=keys_kept_s)
    [key] = await book(database, *items_of("a"))
    if taken:
        target.after_taking = lambda _item: Killed()
    else:
        target.behave = lambda _item: Killed()
    async with lane_of(database, target) as (lane, lease):
        with pytest.raises(Killed):
            await lane.step(lease)
    assert await states(database) == ["sending"]
    target.behave = target.after_taking = lambda _item: None
    async with lane_of(database, target) as (lane, lease):
        await run_dry(lane, lease)
        await make_due(database)
        await run_dry(lane, lease)
    assert (target.asked, target.held) == ([] if keys_kept_s else [key], [key])
    assert target.sends == [key] * (1 if taken and not keys_kept_s else 2)


async def test_a_lane_that_was_overtaken_while_it_sent_records_nothing(database: Database) -> None:
    target = FakeTarget()
    [key] = await book(database, *items_of("a"))
    entered, go_on = asyncio.Event(), asyncio.Event()
    slow = FakeTarget()

    async def send(items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        entered.set()
        await go_on.wait()
        return [Refused("too late")] * len(items)

    slow.send = send  # type: ignore[method-assign]
    async with lane_of(database, slow) as (overtaken, old):
        step = asyncio.create_task(overtaken.step(old))
        await asyncio.wait_for(entered.wait(), SOON_S)
        async with database.begin() as conn:
            await conn.execute(text("UPDATE leases SET expires_at = clock_timestamp() - interval '1 second'"))
        async with lane_of(database, target) as (lane, lease):
            await run_dry(lane, lease)
            go_on.set()
            with pytest.raises(LeaseLost):
                await step
            await make_due(database)
            with pytest.raises(LeaseLost):
                await overtaken.step(old)
            await run_dry(lane, lease)
    assert (target.asked, target.held) == ([key], [key])
    assert await states(database) == ["delivered"]


async def test_streams_do_not_wait_for_one_another(database: Database) -> None:
    target = FakeTarget()
    stuck = await book(database, *items_of("a1", "a2", stream="a"), *items_of("b1", "b2", stream="b"))
    free = await book(database, *items_of("c1", "c2", stream="c"))
    faults: dict[str, Outcome] = {stuck[0]: Retry("busy"), stuck[2]: Uncertain("timed out")}
    target.behave = lambda item: faults.get(item.key)
    target.look_up = unknown  # type: ignore[method-assign]
    target.send = partial(one_by_one, send_one=target._take, limits=target.limits)  # type: ignore[method-assign]
    async with lane_of(database, target) as (lane, lease):
        assert await run_dry(lane, lease) > 0
        assert target.held == free
        later = await book(database, *items_of("c3", stream="c"))
        await run_dry(lane, lease)
        assert target.held == free + later
    assert await states(database) == ["pending", "pending", "uncertain", "pending", *["delivered"] * 3]


async def test_a_long_stream_leaves_room_for_the_others(database: Database) -> None:
    target = FakeTarget(items_max=4)
    long = await book(database, *items_of(*(f"a{n}" for n in range(9)), stream="a"))
    short = await book(database, *items_of("b", stream="b"))
    async with lane_of(database, target) as (lane, lease):
        await lane.step(lease)
        assert target.held == [long[0], long[1], short[0]]
        await run_dry(lane, lease)
    assert [key for key in target.held if key in long] == long


async def test_what_dies_is_said_without_the_words_of_the_target(database: Database) -> None:
    target = FakeTarget(items_max=100)
    await book(database, *(one for number in range(50) for one in items_of(f"b{number}", stream=str(number))))
    target.behave = lambda _item: Refused("no such customer: Jane Doe <jane@example.com>")
    with capture_logs() as lines:
        async with lane_of(database, target) as (lane, lease):
            await run_dry(lane, lease)
    assert set(await states(database)) == {"dead"}
    [line] = lines
    assert (line["event"], line["log_level"], line["target"], line["count"]) == (
        "delivery_dead",
        "warning",
        "ledger",
        50,
    )
    assert "Jane" not in str(line)


async def test_one_that_replaces_learns_what_the_target_called_the_last(database: Database) -> None:
    target = FakeTarget()
    [first] = items_of("a")
    await book(database, first)
    async with lane_of(database, target) as (lane, lease):
        await run_dry(lane, lease)
        await book(database, revised(first, 1), revised(first, 2))
        await run_dry(lane, lease)
    assert target.known == [None, f"remote-{target.held[0][:4]}", f"remote-{target.held[1][:4]}"]


async def test_what_can_never_be_sent_is_dead_from_the_start(database: Database) -> None:
    target = FakeTarget()
    [unmet, good] = items_of("a", "b")
    await book(database, replace(unmet, dead_because="acme has no customer id"), good)
    async with lane_of(database, target) as (lane, lease):
        await run_dry(lane, lease)
    assert target.sends == [good.key]
    assert [(one.state, one.fault) for one in await deliveries(database)] == [
        ("dead", "acme has no customer id"),
        ("delivered", None),
    ]


async def test_the_lag_is_counted_from_the_booking_of_the_oldest_content(database: Database) -> None:
    target, telemetry = FakeTarget(), Telemetry()
    [item] = items_of("a")
    await book(database, replace(item, booked_at=now() - timedelta(seconds=40)))
    async with lane_of(database, target, telemetry) as (lane, lease):
        await run_dry(lane, lease)
    lag_s = shown(telemetry, "meter_delivery_lag_seconds_sum")
    assert lag_s is not None
    assert 40 <= lag_s < 40 + SOON_S
