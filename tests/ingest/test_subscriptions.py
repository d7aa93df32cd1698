"""What is subscribed to follows the catalog while the gateway runs, and nothing acknowledged is lost by it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import RowMapping

from meter.app import Gateway, Parts
from meter.catalog.load import read_catalog_text
from meter.clock import now
from meter.config import Settings
from meter.ingest import subscriptions as following
from meter.ingest.subscriptions import Subscriptions
from meter.model.hashing import IdentityHasher
from meter.store.apply import apply_catalog
from meter.store.catalogs import StoredVersion, body_digest, in_force, write_version
from meter.store.engine import Database
from meter.store.tables import events, rejections
from tests.ingest.bodies import body
from tests.ingest.gateway import WITHIN_S, acks, gateway, message, new_site, publish, until
from tests.ingest.rows import rows


@pytest.fixture(params=["broker_url", "mosquitto_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database whose operator is the one of the test's catalog: each has sessions of its own at the broker."""
    made = Database(database_url)
    yield made
    await made.dispose()


@pytest_asyncio.fixture
async def northside(database_url: str) -> AsyncIterator[Database]:
    """A database for tests without a catalog."""
    made = Database(database_url, operator="northside")
    yield made
    await made.dispose()


def catalog(site: str, *readers: str, at: str = "berlin") -> str:
    """A catalog in which tag readers at a site send on topics of this test alone."""
    maps = ", ".join(f"{{topic: {site}/{name}, decoder: esphome-tag, site: {at}}}" for name in readers)
    sites = f"{{berlin: {{}}, hamburg: {{}}, {site}: {{}}}}"
    return f"operator: {site}\ncurrency: EUR\ntimezone: UTC\nsites: {sites}\nmqtt: [{maps}]\n"


async def apply(
    database: Database, text: str, *, at: datetime | None = None, effective: datetime | None = None
) -> None:
    told = text if effective is None else f"{text}effective: {effective.isoformat()}\n"
    loaded = read_catalog_text([("catalog.yaml", told)])
    async with database.begin() as connection:
        await apply_catalog(connection, loaded, now=at or now(), reason="test")


@asynccontextmanager
async def running(url: str, database_url: str, site: str) -> AsyncIterator[Gateway]:
    """A gateway that receives, as `meter serve --roles ingest` runs it."""
    settings = Settings(mqtt_topics=[f"spaces/{site}/+/+"], http="127.0.0.1:0", max_age_days=10_000)
    parts = Parts(database_url=database_url, mqtt_url=url)
    made = Gateway(settings, parts, roles=["ingest"], admin_key="k" * 32, hasher=IdentityHasher((), lambda: b"k" * 32))
    stop, ready = asyncio.Event(), asyncio.Event()

    async def served(_addresses: object) -> None:
        ready.set()

    task = asyncio.create_task(made.run(stop=stop, ready=served))
    try:
        async with asyncio.timeout(WITHIN_S):
            await asyncio.wait([task, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
        yield made
    finally:
        stop.set()
        await task


def tag(site: str, reader: str, code: str) -> dict[str, Any]:
    return {"topic": f"{site}/{reader}", "payload": code.encode(), "qos": 1}


async def stored_of(database: Database, subject: str) -> list[RowMapping]:
    return [row for row in await rows(database, events) if row["subject"] == subject]


async def heard(url: str, database: Database, sent: dict[str, Any], subject: str) -> RowMapping:
    """Publish until it is stored: nobody hears what was published before the subscription."""
    async with asyncio.timeout(WITHIN_S):
        while not (found := await stored_of(database, subject)):
            await publish(url, [sent])
            await asyncio.sleep(0.05)
    return found[0]


async def passed_through(url: str, database: Database, site: str, number: int) -> None:
    """Publish an event as a device does, and wait until it is stored."""
    content = body(id=f"e-{number}", source=f"{site}/door/main", subject=f"badge:{number}")
    await heard(url, database, message(site, content), f"badge:{number}")


def leaving(gate: Gateway) -> list[str]:
    assert gate._ingest is not None
    assert gate._ingest._session is not None
    return gate._ingest._session._topics.leave


async def test_a_topic_of_a_catalog_applied_later_is_heard(url: str, database: Database, database_url: str) -> None:
    site = new_site()
    await apply(database, catalog(site))
    async with running(url, database_url, site) as gate:
        await passed_through(url, database, site, 1)
        assert leaving(gate) == ["spaces/+/+/+"]  # the default, which the first start may have been with
        await apply(database, catalog(site, "front"))
        row = await heard(url, database, tag(site, "front", "AA"), "badge:AA")
        assert (row["site"], row["type"]) == ("berlin", "door.access")
        await passed_through(url, database, site, 2)


@pytest.mark.parametrize("stopped", [False, True], ids=["while it runs", "while it is stopped"])
async def test_a_topic_that_is_taken_out_is_left_at_the_broker(
    url: str, database: Database, database_url: str, *, stopped: bool
) -> None:
    site = new_site()
    await apply(database, catalog(site, "front", "back"))
    async with running(url, database_url, site) as gate:
        await heard(url, database, tag(site, "front", "AA"), "badge:AA")
        if not stopped:
            await leave_front(gate, url, database, site)
    if stopped:
        await apply(database, catalog(site, "back", "side"))
    async with running(url, database_url, site):
        # Nothing that is published now reaches it, and so nothing is refused.
        await publish(url, [tag(site, "front", f"B{n}") for n in range(5)])
        await heard(url, database, tag(site, "side", "CC"), "badge:CC")
        await passed_through(url, database, site, 1)
    assert [row["code"] for row in await rows(database, rejections)] == []


async def leave_front(gate: Gateway, url: str, database: Database, site: str) -> None:
    """Take one topic out and another in, and wait until that is so."""
    await apply(database, catalog(site, "back", "side"))
    await heard(url, database, tag(site, "side", "DD"), "badge:DD")
    assert gate._ingest is not None
    session = gate._ingest._session
    assert session is not None
    await until(session.connected.is_set)
    await publish(url, [tag(site, "front", "EE")])
    await passed_through(url, database, site, 9)


async def test_how_a_topic_is_read_changes_on_the_same_connection(
    mosquitto_url: str, database: Database, database_url: str
) -> None:
    site = new_site()
    await apply(database, catalog(site, "front"))
    async with running(mosquitto_url, database_url, site) as gate:
        assert gate._ingest is not None
        session = gate._ingest._session
        assert session is not None
        connection = session._session
        await apply(database, catalog(site, "front", at="hamburg"))
        await until(lambda: session._topics.maps[0].site == "hamburg")
        assert (await heard(mosquitto_url, database, tag(site, "front", "AA"), "badge:AA"))["site"] == "hamburg"
        assert session._session is connection


async def test_what_was_read_before_is_committed_and_acknowledged_once(url: str, northside: Database) -> None:
    site = new_site()
    filters = [f"spaces/{site}/door/+"]

    def events_of(kind: str) -> list[dict[str, Any]]:
        return [message(site, body(id=f"{kind}-{n}", source=f"{site}/{kind}/x"), kind=kind) for n in range(20)]

    async with gateway(url, northside, operator=site, filters=filters) as gate:
        before = gate.mqtt._session
        gate.gate.shut()
        await publish(url, events_of("door"))
        await until(lambda: gate.mqtt._unfinished == 20)
        filters.append(f"spaces/{site}/print/+")
        gate.mqtt.renew()
        await until(lambda: gate.mqtt._finishing)
        gate.gate.open()
        await until(lambda: gate.mqtt.connected.is_set() and gate.mqtt._session is not before)
        await publish(url, events_of("print"))
        await until(lambda: len(gate.statuses) == 40)
        assert gate.statuses == ["accepted"] * 40


async def test_an_agent_is_told_on_the_next_connection_what_it_may_forget(url: str, northside: Database) -> None:
    site = new_site()
    filters = [f"spaces/{site}/door/+"]
    go_on = asyncio.Event()

    async def pace() -> None:
        await go_on.wait()

    marked = message(site, body(source=f"{site}/door/x", edge="edge-7", boot=3, sequence=1))
    async with acks(url, site) as told, gateway(url, northside, operator=site, filters=filters, pace=pace) as gate:
        before = gate.mqtt._session
        await publish(url, [marked])
        await until(lambda: gate.statuses == ["accepted"])
        filters.append(f"spaces/{site}/print/+")
        gate.mqtt.renew()
        await until(lambda: gate.mqtt.connected.is_set() and gate.mqtt._session is not before)
        assert told == []
        go_on.set()
        await until(lambda: told == [(f"spaces/{site}/acks/edge-7", {"boot": 3, "up_to": 1, "also": []})])


async def test_what_nothing_reads_is_left_and_what_is_wanted_is_not(database: Database) -> None:
    text = catalog("northside", "front").replace("northside/front, decoder: esphome-tag", "front/#, decoder: none")
    await apply(database, text, at=START)
    known = subscriptions(database, Hands(), "spaces/berlin/+/+", "a/b")
    await known.read()
    assert known.topics.subscriptions == ["spaces/+/+/+"]
    assert known.topics.leave == ["spaces/berlin/+/+", "a/b", "front/#"]
    await apply(database, catalog("northside", "front").replace("northside/front", "a/b"), at=START)
    assert await known.read()
    assert known.topics.leave == ["spaces/berlin/+/+", "front/#"]


START = datetime(2026, 3, 1, tzinfo=UTC)


class Hands:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at


def subscriptions(database: Database, clock: Hands, *former: str) -> Subscriptions:
    own = ["spaces/+/+/+"]
    told = asyncio.Event()
    return Subscriptions(database, operator="northside", filters=own, former=former, told=told, clock=clock)


async def test_a_version_to_come_is_heard_and_left_from_when_it_takes_effect(database: Database) -> None:
    clock = Hands()
    await apply(database, catalog("northside", "front"), at=START)
    known = subscriptions(database, clock)
    assert await known.read()
    await apply(database, catalog("northside", "back"), at=START, effective=START + timedelta(days=1))
    assert not await known.read()
    assert known.topics.subscriptions == ["spaces/+/+/+", "northside/front"]
    clock.at = START + timedelta(days=1)
    assert await known.read()
    assert known.topics.subscriptions == ["spaces/+/+/+", "northside/back"]
    assert known.topics.leave == ["northside/front"]


async def test_a_version_for_one_account_alone_subscribes_to_nothing(database: Database) -> None:
    clock = Hands()
    await apply(database, catalog("northside", "front"), at=START)
    own = read_catalog_text([("c", catalog("northside", "old"))]).body
    version = StoredVersion(version=2, effective=START, body=own, digest=body_digest(own), account="acme")
    async with database.begin() as connection:
        await write_version(connection, "northside", version, reason="r")
    known = subscriptions(database, clock)
    await known.read()
    assert known.topics.subscriptions == ["spaces/+/+/+", "northside/front"]


async def test_a_version_is_found_without_a_hint_and_after_a_fault(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LOOK_INTERVAL_S", 0.01)
    monkeypatch.setattr(following, "RECOVERY_PAUSE_S", 0.01)
    await apply(database, catalog("northside"), at=START)
    known, changed, faults = subscriptions(database, Hands()), asyncio.Event(), iter("ab")

    def failing(*given: Any) -> StoredVersion | None:
        if next(faults, None) is not None:
            raise RuntimeError("boom")
        return in_force(*given)

    monkeypatch.setattr(following, "in_force", failing)
    following_on = asyncio.create_task(known.follow(changed.set))
    await apply(database, catalog("northside", "front"), at=START)
    async with asyncio.timeout(WITHIN_S):
        await changed.wait()
    assert known.topics.subscriptions == ["spaces/+/+/+", "northside/front"]
    assert next(faults, None) is None
    following_on.cancel()
    await asyncio.wait([following_on])
