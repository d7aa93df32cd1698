"""Wi-Fi vendors' webhooks through the door: what they are answered, and what is kept of them."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from pydantic import SecretStr

from meter.config import WebhookSettings
from meter.ingest.batcher import Batcher
from meter.ingest.setups import Sources
from meter.ingest.webhook import hook_receiver
from meter.store.engine import Database
from meter.store.tables import events, rejections
from meter.telemetry import Telemetry
from tests.api.conftest import Answer, Api, serving, the_services
from tests.ingest.bodies import NOW, acceptor, northside
from tests.ingest.gateway import until
from tests.ingest.rows import rows
from tests.sources.cases.meraki import alert
from tests.sources.radius_bodies import version_3

_SECRET = "the-active-key"


@pytest_asyncio.fixture
async def wifi(database_url: str, database: Database) -> AsyncIterator[tuple[Api, Batcher]]:
    telemetry = Telemetry()
    batcher = Batcher(acceptor(database).accept)
    source = WebhookSettings(secrets=[SecretStr(_SECRET)], site="berlin")
    sources = Sources({"freeradius": {"campus": source}, "meraki": {"dashboard": source}})
    hook = hook_receiver(batcher, sources=sources, operator=northside, telemetry=telemetry, clock=lambda: NOW)
    running = asyncio.create_task(batcher.run())
    async with serving(the_services(database_url, telemetry=telemetry, receive_hook=hook)) as served:
        yield served, batcher
    batcher.stop()
    await running


async def post(wifi: tuple[Api, Batcher], path: str, body: bytes) -> Answer:
    return await wifi[0].call("POST", path, key=None, data=body, headers={"Content-Type": "application/json"})


async def test_freeradius_hears_nothing_of_what_it_sent(wifi: tuple[Api, Batcher], database: Database) -> None:
    path = f"/hooks/freeradius/campus?token={_SECRET}"
    whole, broken = version_3(User_Name="%{exec:id}"), b'{"username":"a"b%{exec:id}","status":"Stop"}'
    for body in (whole, whole, broken):
        answer = await post(wifi, path, body)
        assert (answer.status, answer.body) == (204, b"")
    (event,) = await rows(database, events)
    assert event["subject"] == "user:%{exec:id}"
    (kept,) = await rows(database, rejections)
    assert (kept["code"], kept["body"]) == ("not_json", broken)
    refused = await post(wifi, "/hooks/freeradius/campus?token=%25%7Bexec:id%7D", whole)
    assert refused.status == 401
    assert b"exec" not in refused.body


async def test_merakis_secret_is_kept_nowhere(wifi: tuple[Api, Batcher], database: Database) -> None:
    assert (await post(wifi, "/hooks/meraki/dashboard", alert(_SECRET))).status == 200
    assert (await post(wifi, "/hooks/meraki/dashboard", alert("almost-the-active-key"))).status == 401
    assert (await post(wifi, "/hooks/meraki/dashboard", alert(_SECRET).replace(b"alertTypeId", b"x"))).status == 200
    await until(lambda: wifi[1]._events == 0)
    kept = await rows(database, rejections)
    assert sorted(row["code"] for row in kept) == ["bad_payload", "bad_signature"]
    assert not any(b"active-key" in row["body"] for row in kept)
    assert await rows(database, events) == []
