"""What the MQTT sink promises: when it returns, the broker has all, whatever became of the connection."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from meter.model.errors import BadInput, Unavailable
from meter.simulate import NO_FAULTS, Delivery, deliver, simulate, to_mqtt


def deliveries_of(site: str) -> list[Delivery]:
    """A day on topics that no other test of the session's broker has."""
    events = simulate(start_day=date(2026, 11, 18), members=12)
    return [replace(d, source=f"{site}/door/main") for d in deliver(events, seed=1, faults=NO_FAULTS)]


@asynccontextmanager
async def listening(url: str, site: str) -> AsyncIterator[asyncio.Queue[bytes]]:
    """A subscriber of the site's topics, already subscribed."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    subscribed = asyncio.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)

    def on_connect(*_: Any) -> None:
        client.subscribe(f"spaces/{site}/#", qos=1)

    def on_subscribe(*_: Any) -> None:
        loop.call_soon_threadsafe(subscribed.set)

    def on_message(_client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        loop.call_soon_threadsafe(heard.put_nowait, bytes(message.payload))

    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    parts = urlsplit(url)
    client.connect_async(parts.hostname or "", parts.port or 1883)
    client.loop_start()
    try:
        await asyncio.wait_for(subscribed.wait(), 20)
        yield heard
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)


async def hear(heard: asyncio.Queue[bytes], ids: set[str]) -> None:
    missing = set(ids)
    async with asyncio.timeout(60):
        while missing:
            missing.discard(json.loads(await heard.get())["id"])


@asynccontextmanager
async def cutting_proxy(url: str, *, cuts: int, after_bytes: int) -> AsyncIterator[str]:
    """A way to the broker whose first `cuts` connections break once so many bytes have gone up."""
    parts = urlsplit(url)
    left = cuts
    serving: set[asyncio.Task[None] | None] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
        passed = 0
        while (chunk := await reader.read(4096)) and (limit is None or passed < limit):
            writer.write(chunk)
            await writer.drain()
            passed += len(chunk)

    async def serve(down_reader: asyncio.StreamReader, down_writer: asyncio.StreamWriter) -> None:
        nonlocal left
        limit, left = (after_bytes if left > 0 else None), left - 1
        serving.add(asyncio.current_task())
        up_reader, up_writer = await asyncio.open_connection(parts.hostname, parts.port)
        ways = [
            asyncio.create_task(pump(down_reader, up_writer, limit)),
            asyncio.create_task(pump(up_reader, down_writer, None)),
        ]
        with suppress(ConnectionError):
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for writer in (up_writer, down_writer):
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert left <= 0, "the proxy never cut: the test shows nothing"
    finally:
        server.close()
        await asyncio.gather(*filter(None, serving))  # their clients are gone; the loop must not close before them


@pytest.mark.parametrize("in_flight_max", [1, 50])
async def test_all_that_is_sent_arrives(broker_url: str, in_flight_max: int) -> None:
    site = f"sink-{secrets.token_hex(4)}"
    deliveries = deliveries_of(site)
    async with listening(broker_url, site) as heard:
        sent = await to_mqtt(deliveries, url=broker_url, in_flight_max=in_flight_max)
        await hear(heard, {delivery.events[0].id for delivery in deliveries})
    assert (sent.deliveries, sent.events) == (len(deliveries), len(deliveries))


async def test_what_was_in_flight_when_the_line_broke_is_sent_again(broker_url: str) -> None:
    site = f"sink-{secrets.token_hex(4)}"
    deliveries = deliveries_of(site)
    async with listening(broker_url, site) as heard, cutting_proxy(broker_url, cuts=2, after_bytes=20_000) as url:
        await to_mqtt(deliveries, url=url, in_flight_max=20)
        await hear(heard, {delivery.events[0].id for delivery in deliveries})


async def test_a_broker_that_is_not_there_is_told(unused_tcp_port: int) -> None:
    with pytest.raises(Unavailable, match="no broker answers"):
        await to_mqtt([], url=f"mqtt://127.0.0.1:{unused_tcp_port}", connect_wait_s=0.3)


async def test_it_returns_only_when_all_is_acknowledged() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(4096)
            writer.write(bytes.fromhex("20020000"))  # CONNACK, accepted; after that nothing
            while await reader.read(4096):
                pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server:
        url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(Unavailable, match="acknowledges nothing"):
            await to_mqtt(deliveries_of("mute")[:3], url=url, puback_wait_s=0.3)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1883", "127.0.0.1:1883", "mqtt://"])
async def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="mqtt://host:port"):
        await to_mqtt([], url=url)
