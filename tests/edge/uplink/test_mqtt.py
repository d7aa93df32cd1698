"""What a broker keeps of what an agent sends, while the gateway is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import MQTTProtocolVersion

from edge.uplink import mqtt as module
from edge.uplink.mqtt import MqttUplink
from edge.uplink.window import RESEND_MAX_S
from meter.transport.mqtt_address import broker_address
from meter.transport.mqtt_session import MqttSession
from tests.edge.collect.broker import Mosquitto, mosquitto


@pytest_asyncio.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with mosquitto(tmp_path / "mosquitto") as running:
        yield running


class Gateway:
    """Subscribed to everything, under a session that the broker keeps."""

    def __init__(self, broker: Mosquitto) -> None:
        self._address = broker_address(broker.url, setting="TEST")
        self.got: asyncio.Queue[MQTTMessage] = asyncio.Queue()
        self.session: MqttSession | None = None

    async def come(self) -> None:
        self.session = MqttSession(
            self._address,
            client_id="gateway",
            protocol=MQTTProtocolVersion.MQTTv5,
            on_message=self._on_message,
            full=lambda: False,
        )
        await self.session.open(["spaces/+/+/+"])

    def go(self) -> None:
        assert self.session is not None
        self.session.close()

    async def next(self) -> MQTTMessage:
        return await asyncio.wait_for(self.got.get(), 20)

    def _on_message(self, session: MqttSession, message: MQTTMessage) -> None:
        session.ack(message.mid)
        self.got.put_nowait(message)


async def send(broker: Mosquitto, body: bytes, *, protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5) -> None:
    """Send as an agent does."""

    async def no_clock(_: object) -> None: ...

    uplink = MqttUplink(
        broker_address(broker.url, setting="TEST"),
        site="berlin",
        edge="hut",
        acknowledged=lambda _: None,
        clock=no_clock,
        probe=lambda: b"{}",
        known=lambda: True,
    )
    uplink._protocol = protocol
    channel = await uplink.connect()
    await channel.send(body, ())
    channel.close()


async def test_what_is_sent_is_kept_until_it_is_sent_again(broker: Mosquitto) -> None:
    gateway = Gateway(broker)
    await gateway.come()
    await send(broker, b"[]")
    kept_s = getattr((await gateway.next()).properties, "MessageExpiryInterval", None)
    assert kept_s is not None
    assert RESEND_MAX_S - 20 < kept_s <= RESEND_MAX_S
    gateway.go()


async def test_a_gateway_that_was_away_is_not_handed_every_sending(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXPIRES_S", 1)
    gateway = Gateway(broker)
    await gateway.come()
    gateway.go()
    for _ in range(3):
        await send(broker, b"[1]")
    await broker.publish([{"topic": "spaces/berlin/door/main", "payload": "of a device"}])
    await asyncio.sleep(3)
    await gateway.come()
    assert (await gateway.next()).payload == b"of a device"
    gateway.go()


async def test_an_older_broker_is_sent_to_all_the_same(broker: Mosquitto) -> None:
    gateway = Gateway(broker)
    await gateway.come()
    await send(broker, b"[2]", protocol=MQTTProtocolVersion.MQTTv311)
    found = await gateway.next()
    assert found.payload == b"[2]"
    assert not hasattr(found.properties, "MessageExpiryInterval")
    gateway.go()
