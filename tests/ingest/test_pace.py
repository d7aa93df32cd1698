"""Agents are told to go on as fast as what they sent is rated, and no later than they would send again."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from meter.ingest import pace
from meter.ingest.batcher import Batcher
from meter.ingest.http import event_receiver
from meter.ingest.pace import Pace
from meter.store import booking as store
from meter.store.engine import Database
from meter.store.progress import unrated
from meter.store.usage import BEGINNING, Cursor, read_tail
from tests.api.conftest import Api, serving, the_services
from tests.ingest.bodies import OPERATOR, body, northside
from tests.ingest.gateway import acks, gateway, message, new_site, publish, until
from tests.ingest.test_http import post

EVENTS: Final = 4


async def operator() -> str:
    return OPERATOR


async def stored(door: Api, database: Database) -> list[Cursor]:
    """Store some events, and return where rating stands that has read each of them."""
    for number in range(EVENTS):
        await post(door, body(id=f"e-{number}"))
    async with database.begin() as connection:
        return [one.cursor for one in await read_tail(connection, OPERATOR, BEGINNING, events_max=1000)]


async def rated(database: Database, *shards: Cursor) -> None:
    async with database.begin() as connection:
        for number, cursor in enumerate(shards):
            await store.write_cursors(connection, OPERATOR, [number], cursor)


async def behind(database: Database) -> int:
    async with database.begin() as connection:
        return await unrated(connection, OPERATOR)


async def test_the_shard_that_is_furthest_behind_says_what_is_not_rated(door: Api, database: Database) -> None:
    assert await behind(database) == 0
    places = await stored(door, database)
    assert await behind(database) == 0, "nobody has ever rated, and nobody may"
    await rated(database, places[-1], places[0])
    assert await behind(database) == EVENTS - 1
    await rated(database, places[-1], places[-1])
    assert await behind(database) == 0


async def test_the_word_waits_until_little_is_to_be_rated(
    door: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "UNRATED_EVENTS_MAX", 1)
    monkeypatch.setattr(pace, "HOLD_S_MAX", 60.0)
    kept = Pace(database, operator=operator)
    places = await stored(door, database)
    await kept.keep()
    await rated(database, places[0])
    waiting = [asyncio.create_task(Pace(database, operator=operator).keep()) for _ in range(3)]
    done, _ = await asyncio.wait(waiting, timeout=0.3)
    assert not done
    await rated(database, places[-2])
    await asyncio.wait_for(asyncio.gather(*waiting), 20)


async def test_it_waits_for_a_rating_that_stands_still_for_a_while_only(
    door: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "UNRATED_EVENTS_MAX", 1)
    monkeypatch.setattr(pace, "HOLD_S_MAX", 0.2)
    places = await stored(door, database)
    await rated(database, places[0])
    await asyncio.wait_for(Pace(database, operator=operator).keep(), 20)
    assert await behind(database) == EVENTS - 1


async def test_over_http_an_agent_waits_and_nobody_else(
    batcher: Batcher, database: Database, database_url: str
) -> None:
    going_on = asyncio.Event()

    async def wait() -> None:
        await going_on.wait()

    services = the_services(database_url, receive_events=event_receiver(batcher, operator=northside, pace=wait))
    async with serving(services) as door:
        agents = asyncio.create_task(post(door, body(id="a", edge="edge-7", boot=3, sequence=1)))
        assert (await post(door, body(id="b"))).json["results"][0]["status"] == "accepted"
        async with asyncio.timeout(20):
            async with database.begin() as connection:
                while len(await read_tail(connection, OPERATOR, BEGINNING, events_max=10)) < 2:  # noqa: ASYNC110 -- what stores has no event of its own
                    await asyncio.sleep(0.01)
        assert not agents.done()
        going_on.set()
        assert (await agents).json["results"][0]["status"] == "accepted"


async def test_over_mqtt_an_agent_is_told_later_and_the_broker_at_once(broker_url: str, database: Database) -> None:
    site, going_on = new_site(), asyncio.Event()

    async def wait() -> None:
        await going_on.wait()

    marked = body(id="a", source=f"{site}/door/main", edge="edge-7", boot=3, sequence=1)
    async with acks(broker_url, site) as heard, gateway(broker_url, database, operator=site, pace=wait) as gate:
        await publish(broker_url, [message(site, marked)])
        await until(lambda: gate.statuses == ["accepted"] and not gate.mqtt._unfinished)
        assert heard == []
        going_on.set()
        await until(lambda: heard == [(f"spaces/{site}/acks/edge-7", {"boot": 3, "up_to": 1, "also": []})])
