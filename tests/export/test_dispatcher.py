"""A gateway's dispatcher while it runs: it wakes, shares, stops, and under any faults each item is held once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest
from sqlalchemy.event import listen, remove
from structlog.testing import capture_logs

from meter.export import dispatcher as dispatching
from meter.export.contract import Outcome, Retry, Uncertain
from meter.export.dispatcher import Dispatcher
from meter.export.gather.gatherer import Gathered, Gatherer
from meter.export.http import overtaken
from meter.export.streams import one_by_one
from meter.store.deliveries import backlogs
from meter.store.engine import Database
from meter.store.leases import Lease
from meter.store.outbox import OutboxItem, add_items
from meter.telemetry import Telemetry
from tests.export.lanes import (
    BARRED,
    OPERATOR,
    SOON_S,
    FakeTarget,
    Killed,
    book,
    deliveries,
    items_of,
    lane_of,
    run_dry,
    running,
    shown,
    states,
    until,
    until_settled,
)
from tests.owning import as_owner


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
    foreign = OutboxItem(operator="southside", target="ledger", operation="journal", batch="b", key="k", payload=b"")
    async with as_owner(database) as conn:
        await add_items(conn, [foreign])
    async with lane_of(database, target) as (lane, lease):
        await run_dry(lane, lease)
    assert target.sends == []
    async with as_owner(database) as conn:
        assert [backlog.items for backlog in await backlogs(conn, "southside")] == [1]


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
