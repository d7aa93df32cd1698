"""The site's own broker: acknowledged is what is kept, whoever is killed, and a full spool leaves it at the broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from edge.clock import monotonic_s
from edge.collect import mqtt as module
from edge.collect.mqtt import BrokerCollector
from edge.sources import configured_broker
from meter.model.instant import EPOCH
from tests.edge.agent import RunningAgent
from tests.edge.clocks import VirtualClock
from tests.edge.collect.broker import Mosquitto, mosquitto
from tests.edge.collect.kept import Kept, spooled
from tests.edge.told import told_settings

TAG = {"action": "disarm", "action_code": "+04A2991B", "action_transaction": 7}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_BACKOFF_FIRST_S", "_BACKOFF_MAX_S", "_FULL_S"):
        monkeypatch.setattr(module, name, 0.05)


@pytest_asyncio.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with mosquitto(tmp_path / "mosquitto") as running:
        yield running


def event(number: int, **more: Any) -> dict[str, Any]:
    told = {
        "specversion": "1.0",
        "id": f"d-{number}",
        "source": "berlin/door/main",
        "type": "door.access",
        "subject": "badge:04A2991B",
        "data": {"door": "main", "granted": True},
    }
    return {"topic": "spaces/berlin/door/main", "payload": json.dumps(told | more)}


def made(broker: Mosquitto, kept: Kept, *topics: dict[str, Any]) -> BrokerCollector:
    settings = told_settings(broker={"url": broker.url, "topics": list(topics)})
    found = configured_broker(settings)
    assert found is not None
    clock = VirtualClock()
    return BrokerCollector(
        found[0],
        topics=found[1],
        site="berlin",
        edge="berlin-edge",
        keeper=kept.keeper,
        intake=kept.intake(clock),
        clock=clock,
    )


@asynccontextmanager
async def hearing(broker: Mosquitto, kept: Kept, *topics: dict[str, Any]) -> AsyncIterator[BrokerCollector]:
    collector = made(broker, kept, *topics)
    running = asyncio.create_task(collector.run())
    try:
        await until(lambda: collector.state.state == "running")
        yield collector
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not found():  # noqa: ASYNC110 -- the broker is another process
            await asyncio.sleep(0.01)


def ids(kept: Kept) -> list[str]:
    return sorted(one["id"] for one in kept.events)


async def test_messages_are_read_as_their_topics_say(broker: Mosquitto) -> None:
    kept = Kept()
    keypad = {"topic": "zigbee2mqtt/front", "decoder": "zigbee2mqtt", "name": "front"}
    async with hearing(broker, kept, keypad):
        await broker.publish([
            event(1),
            {"topic": "zigbee2mqtt/front", "payload": json.dumps(TAG)},
            {"topic": "spaces/berlin/door/main", "payload": "no event"},
            {"topic": "spaces/berlin/edge/other", "payload": "an agent's own"},
        ])  # fmt: skip
        await until(lambda: len(kept.items) == 3)
    assert {one["source"] for one in kept.events} == {"berlin/door/main", "berlin/door/zigbee2mqtt-front"}
    assert len(kept.refusals) == 1


async def test_nothing_is_acknowledged_before_the_commit(broker: Mosquitto) -> None:
    kept = Kept()
    async with hearing(broker, kept):
        kept.shut()
        await broker.publish([event(1)])
        await until(lambda: kept.waiting == 1)
        # An agent that ends here has told nobody anything.
        first = Kept()
        first.stored = dict(kept.stored)
        first.shut()
    assert kept.items == []
    async with hearing(broker, first):
        await until(lambda: first.waiting == 1)
        first.open()
        await until(lambda: ids(first) == ["d-1"])
    after = Kept()
    async with hearing(broker, after):
        await broker.publish([event(2)])
        await until(lambda: len(after.items) > 0)
    assert ids(after) == ["d-2"]


async def test_a_topic_that_is_no_longer_wanted_is_left(broker: Mosquitto) -> None:
    """The broker's session outlives the agent that subscribed to it."""
    kept = Kept()
    keypad = {"topic": "zigbee2mqtt/front", "decoder": "zigbee2mqtt", "name": "front"}
    told = {"topic": "zigbee2mqtt/front", "payload": json.dumps(TAG)}
    async with hearing(broker, kept, keypad):
        await broker.publish([told])
        await until(lambda: len(kept.events) == 1)
    async with hearing(broker, kept):
        await broker.publish([told, event(1)])
        await until(lambda: "d-1" in ids(kept))
    assert (len(kept.events), kept.refusals) == (2, [])
    assert json.loads(kept.stored["broker"]) == ["spaces/berlin/+/+"]
    async with hearing(broker, kept, keypad):
        await broker.publish([told | {"payload": json.dumps(TAG | {"action_transaction": 8})}])
        await until(lambda: len(kept.events) == 3)


async def test_what_may_be_subscribed_is_kept_before_it_is(broker: Mosquitto) -> None:
    """A kill right after the subscription leaves it known."""
    kept = Kept()
    keypad = {"topic": "zigbee2mqtt/front", "decoder": "zigbee2mqtt", "name": "front"}
    kept.shut()
    collector = made(broker, kept, keypad)
    running = asyncio.create_task(collector.run())
    await until(lambda: kept.waiting == 1)
    assert collector.state.state == "failing", "connected before it was kept"
    kept.open()
    await until(lambda: collector.state.state == "running")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert json.loads(kept.stored["broker"]) == ["spaces/berlin/+/+", "zigbee2mqtt/front"]


async def test_retained_messages_are_counted_and_ignored(broker: Mosquitto) -> None:
    kept = Kept()
    await broker.publish([event(1) | {"retain": True}])
    async with hearing(broker, kept) as collector:
        await until(lambda: collector.retained == 1)
        await broker.publish([event(2)])
        await until(lambda: ids(kept) == ["d-2"])
        assert collector.state.detail == "1 retained messages ignored"


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_full_spool_loses_nothing(broker: Mosquitto, qos: int) -> None:
    kept = Kept()
    async with hearing(broker, kept) as collector:
        kept.full = True
        await broker.publish([event(1) | {"qos": qos}])
        await until(lambda: collector.state.state == "waiting")
        await broker.publish([event(number) for number in range(2, 40)])
        kept.full = False
        await until(lambda: len(set(ids(kept))) == 39)
        assert ids(kept).count("d-1") == 1


async def test_what_is_not_kept_yet_is_bounded(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PENDING_MAX", 10)
    kept = Kept()
    async with hearing(broker, kept) as collector:
        kept.shut()
        await broker.publish([event(number) for number in range(300)])
        await until(lambda: kept.waiting >= 10)
        assert len(collector._pending) == 10
        kept.open()
        await until(lambda: len(kept.items) == 300)
    assert len(set(ids(kept))) == 300


async def test_it_is_complete_once_the_broker_has_handed_over_what_waited(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed_s = 0.0
    monkeypatch.setattr(module, "monotonic_s", lambda: monotonic_s() + passed_s)
    kept = Kept()
    async with hearing(broker, kept) as collector:
        assert collector.state.complete_until == EPOCH
        passed_s = 6.0
        assert collector.state.complete_until == VirtualClock().wall
        kept.shut()
        await broker.publish([event(1)])
        await until(lambda: kept.waiting == 1)
        passed_s = 60.0
        collector._complete_until = EPOCH
        assert collector.state.complete_until == EPOCH
        kept.open()


async def test_agents_and_brokers_that_are_killed_lose_nothing(broker: Mosquitto, tmp_path: Path) -> None:
    env = {"METER_EDGE_GATEWAY__HTTP_URL": "http://127.0.0.1:9", "METER_EDGE_BROKER__URL": broker.url}
    agent = RunningAgent(tmp_path / "edge", env=env)

    async def heard(number: int) -> None:
        async with asyncio.timeout(60):
            while len({one["id"] for one in spooled(tmp_path / "edge")}) < number:  # noqa: ASYNC110 -- another process
                await asyncio.sleep(0.1)

    async with agent:
        async with asyncio.timeout(30):
            while (await agent.get("/v1/status"))["collectors"]["broker"]["state"] != "running":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        publishing = asyncio.create_task(broker.publish([event(number) for number in range(2_000)]))
        await heard(200)
        await agent.kill()
        await publishing
        await agent.start()
        await heard(2_000)
        await broker.kill()
        await broker.start()
        await broker.publish([event(number) for number in range(2_000, 2_100)])
        await heard(2_100)
    assert {one["id"] for one in spooled(tmp_path / "edge")} == {f"d-{number}" for number in range(2_100)}
