from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import text
from sqlalchemy.event import listen, remove
from structlog.testing import capture_logs

from meter.clock import monotonic_s, now
from meter.export import breaker, delivery
from meter.export import dispatcher as dispatching
from meter.export.contract import (
    Absent,
    Barred,
    Delivered,
    Finding,
    Limits,
    Outcome,
    Refused,
    Retry,
    Uncertain,
    Untried,
)
from meter.export.dispatcher import Dispatcher, Lane
from meter.export.gather.gatherer import Gathered, Gatherer
from meter.export.http import overtaken
from meter.export.streams import one_by_one
from meter.store.deliveries import Delivery, backlogs, list_deliveries, retry_dead, show_delivery
from meter.store.engine import Database
from meter.store.lanes import held_lanes
from meter.store.leases import Lease, LeaseKeeper, LeaseLost
from meter.store.outbox import OutboxItem, State, add_items, revised
from meter.telemetry import Telemetry
from tests.export.clocks import VirtualClock

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


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts."""
    monkeypatch.setattr(delivery, "BACKOFF_FIRST_S", 0.0)
    monkeypatch.setattr(delivery, "UNTRIED_PAUSE_S", 0.0)
    monkeypatch.setattr(breaker, "PAUSE_FIRST_S", 0.0)


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


async def make_due(database: Database) -> None:
    async with database.begin() as conn:
        await conn.execute(text("UPDATE outbox SET due_at = due_at - interval '1 hour'"))


async def test_a_refused_item_is_dead_with_its_reason_and_lives_again_as_a_revision(database: Database) -> None:
    target = FakeTarget()
    bad, good = await book(database, *items_of("a", "b"))
    target.behave = lambda item: Refused("no such customer") if item.key == bad else None
    async with lane_of(database, target) as (lane, lease):
        await run_dry(lane, lease)
        dead, delivered = await deliveries(database)
        assert (dead.state, dead.fault, delivered.state) == ("dead", "no such customer", "delivered")
        async with database.begin() as conn:
            [made] = (await retry_dead(conn, OPERATOR, [dead.id])).made
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


async def test_a_gateway_delivers_what_is_booked_while_it_runs_and_shows_its_backlog(database: Database) -> None:
    target, telemetry = FakeTarget(), Telemetry()
    async with running(database, target, telemetry) as dispatcher:
        first = await book(database, *items_of("a"))
        dispatcher.wake()
        await until_settled(database)
        second = await book(database, *items_of("b"))  # by another process: no wake
        await until_settled(database)
        await until(lambda: shown(telemetry) == 0)
        target.behave = lambda _item: Retry("busy")
        await book(database, *items_of("c", "d"))
        dispatcher.wake()
        await until(lambda: shown(telemetry) == 2)
    assert target.held == first + second


@pytest.fixture
def asked(database: Database) -> Iterator[list[str]]:
    """The statements that the database is sent."""
    sent: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    engine = database.engine.sync_engine
    listen(engine, "before_cursor_execute", note)
    yield sent
    remove(engine, "before_cursor_execute", note)


async def test_idle_lanes_share_one_look_and_miss_nothing(
    database: Database, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatching, "POLL_INTERVAL_S", 0.001)
    monkeypatch.setattr(dispatching, "IDLE_INTERVAL_S", 0.01)
    target = FakeTarget()
    async with running(database, target):
        watched = "FROM unnest(CAST($1 AS text[])) AS w (target)"
        await until(lambda: sum(watched in one for one in asked) > 3)
        asked.clear()
        await until(lambda: sum(watched in one for one in asked) > 20)
        assert not [one for one in asked if "RECURSIVE heads" in one]
        held = await book(database, *items_of("a"))  # by another process whose hint was lost
        await until_settled(database)
    assert target.held == held


async def test_a_hint_wakes_an_idle_lane_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatching, "POLL_INTERVAL_S", 0.001)
    monkeypatch.setattr(dispatching, "IDLE_INTERVAL_S", 10 * SOON_S)
    monkeypatch.setattr(dispatching, "LOOK_ANYWAY_S", 10 * SOON_S)
    target = FakeTarget()
    async with running(database, target) as dispatcher:
        await until(lambda: dispatcher.idle == ["ledger"])
        held = await book(database, *items_of("a"))
        dispatcher.wake()
        await until_settled(database)
    assert target.held == held


async def test_two_gateways_deliver_each_item_once(database: Database) -> None:
    target = FakeTarget(items_max=2)
    keys = await book(database, *items_of(*(str(n) for n in range(20))))
    async with running(database, target), running(database, target):
        await until_settled(database)
    assert target.sends == keys


async def test_a_gateway_that_stops_finishes_what_it_was_sending(database: Database) -> None:
    target = FakeTarget()
    await book(database, *items_of("a"))
    entered, go_on = asyncio.Event(), asyncio.Event()
    send = target.send

    async def slowly(items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        entered.set()
        await go_on.wait()
        return await send(items)

    target.send = slowly  # type: ignore[method-assign]
    dispatcher = Dispatcher(database, operator=OPERATOR, exporters={"ledger": target}, telemetry=Telemetry())
    task = asyncio.create_task(dispatcher.run())
    await asyncio.wait_for(entered.wait(), SOON_S)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await states(database) == ["delivered"]


async def test_a_gateway_that_stops_begins_nothing_more(database: Database) -> None:
    target = FakeTarget()
    first, second = await book(database, *items_of("a", "b"))
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(item: OutboxItem) -> Outcome:
        entered.set()
        await go_on.wait()
        return await target._take(item)

    target.send = partial(one_by_one, send_one=slowly, limits=target.limits)  # type: ignore[method-assign]
    dispatcher = Dispatcher(database, operator=OPERATOR, exporters={"ledger": target}, telemetry=Telemetry())
    task = asyncio.create_task(dispatcher.run())
    async with asyncio.timeout(SOON_S):
        await entered.wait()
        task.cancel()
        while not dispatcher._stopping:  # noqa: ASYNC110 -- it tells its lanes only
            await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert target.sends == [first]
    assert [(one.key, one.state, one.attempts) for one in await deliveries(database)] == [
        (first, "delivered", 1),
        (second, "pending", 0),
    ]


@pytest.mark.parametrize("keys_kept_s", [0.0, 3600.0], ids=["keeps_none", "keeps_keys"])
@pytest.mark.parametrize("seed", range(2))
async def test_under_any_faults_each_item_is_held_once(
    database: Database, at_once: None, seed: int, keys_kept_s: float
) -> None:
    dice = random.Random(seed)  # noqa: S311 -- faults, not secrets
    target = FakeTarget(items_max=4, keys_kept_s=keys_kept_s)
    keys = await book(database, *(one for n in range(24) for one in items_of(str(n), stream="abc"[n % 3])))
    faults: list[Outcome | BaseException] = [Uncertain("timed out"), Killed(), OSError("reset")]

    def fault(_item: OutboxItem) -> Outcome | BaseException | None:
        return dice.choice(faults) if dice.random() < 0.3 else None

    target.behave = target.after_taking = fault
    kills = 0
    while True:
        async with lane_of(database, target) as (lane, lease):
            try:
                await run_dry(lane, lease)
                break
            except Killed:
                kills += 1
    assert sorted(target.held) == sorted(keys)
    assert set(await states(database)) == {"delivered"}
    assert kills > 0
    assert len(target.sends) > len(keys)


async def test_nothing_of_another_operator_is_touched(database: Database) -> None:
    target = FakeTarget()
    await book(
        database,
        OutboxItem(operator="southside", target="ledger", operation="journal", batch="b", key="k", payload=b""),
    )
    async with lane_of(database, target) as (lane, lease):
        await run_dry(lane, lease)
    assert target.sends == []
    async with database.begin() as conn:
        assert [backlog.items for backlog in await backlogs(conn, "southside")] == [1]


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


async def unknown(items: Sequence[OutboxItem]) -> Sequence[Finding]:
    return [Uncertain("not answering")] * len(items)


async def test_a_long_stream_leaves_room_for_the_others(database: Database) -> None:
    target = FakeTarget(items_max=4)
    long = await book(database, *items_of(*(f"a{n}" for n in range(9)), stream="a"))
    short = await book(database, *items_of("b", stream="b"))
    async with lane_of(database, target) as (lane, lease):
        await lane.step(lease)
        assert target.held == [long[0], long[1], short[0]]
        await run_dry(lane, lease)
    assert [key for key in target.held if key in long] == long


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


async def test_a_gateway_that_begins_with_the_new_key_says_that_the_target_is_up(database: Database) -> None:
    target = FakeTarget()
    await book(database, *items_of("a"))
    target.behave = lambda _item: BARRED
    async with lane_of(database, target) as (lane, lease):
        await lane.step(lease)
    target.behave = lambda _item: None
    with capture_logs() as lines:
        async with lane_of(database, target) as (lane, lease):
            await run_dry(lane, lease)
    assert [line["event"] for line in lines] == ["target_up"]
    assert await states(database) == ["delivered"]


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


class Hopeless(Gatherer):
    """Makes three items once, two of which lack something."""

    def __init__(self) -> None:
        self.again = asyncio.Event()
        self._left = [Gathered(items=3, more=False, dead=2)]

    async def step(self, lease: Lease) -> Gathered:
        del lease
        if not self._left:
            self.again.set()
        return self._left.pop() if self._left else Gathered(items=0, more=False)


async def test_what_is_born_dead_is_said(database: Database) -> None:
    gatherer = Hopeless()
    dispatcher = Dispatcher(
        database,
        operator=OPERATOR,
        exporters={"ledger": FakeTarget()},
        gatherers={"ledger": gatherer},
        telemetry=Telemetry(),
    )
    with capture_logs() as lines:
        task = asyncio.create_task(dispatcher.run())
        try:
            async with asyncio.timeout(SOON_S):
                await gatherer.again.wait()
        finally:
            task.cancel()
            await asyncio.wait([task])
    [line] = [line for line in lines if line["event"] == "delivery_born_dead"]
    assert (line["log_level"], line["target"], line["count"]) == ("warning", "ledger", 2)


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


async def test_a_gateway_that_stops_closes_its_targets_and_tells_them_that_they_are_not_theirs(
    database: Database,
) -> None:
    target = FakeTarget()
    told: list[Callable[[], bool]] = []
    target.behave = lambda _item: told.append(overtaken.get())
    async with running(database, target):
        await book(database, *items_of("a"))
        await until(lambda: bool(told))
        assert not told[0]()
    assert told[0]()
    assert target.closed
