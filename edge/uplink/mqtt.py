"""MQTT to the gateway: one connection, its acknowledgements and its clock (contract, Edge).

spaces/{site}/edge/{edge}     ─▶ batches of events, QoS 1
spaces/{site}/acks/{edge}     ◀─ {"boot", "up_to", "also"}: committed
spaces/{site}/clocks/{edge}   ◀─ {"asked", "received", "sent", "stored"}: the answer to a heartbeat
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import MQTTProtocolVersion

from edge.spool.records import Place
from edge.uplink.lost import Held
from edge.uplink.window import Limits
from meter.log import log
from meter.model.errors import Unavailable
from meter.transport.mqtt_address import BrokerAddress
from meter.transport.mqtt_session import OTHER_VERSION, MqttSession, ProtocolRefused

_ACK_BYTES_MAX: Final = 1024 * 1024
# Two thousand events: a second of the most that a gateway takes, and far below a broker's queue.
LIMITS: Final = Limits(messages_max=20, events_max=100, kept_messages=5)


class Told(msgspec.Struct, frozen=True):
    """The gateway's word on what is committed."""

    boot: int
    up_to: int
    also: list[int] = []


class ClockTold(msgspec.Struct, frozen=True):
    """The gateway's times around a heartbeat, and what it holds of the boots that the heartbeat named."""

    asked: str
    received: datetime
    sent: datetime
    stored: list[Held] = []


_TOLD: Final = msgspec.json.Decoder(Told)
_CLOCK: Final = msgspec.json.Decoder(ClockTold)


class MqttUplink:
    """Makes connections; what they hear goes to the callbacks."""

    def __init__(
        self,
        address: BrokerAddress,
        *,
        site: str,
        edge: str,
        acknowledged: Callable[[Told], None],
        clock: Callable[[ClockTold], Awaitable[None]],
        probe: Callable[[], bytes],
        known: Callable[[], bool],
    ) -> None:
        """Connect to nothing yet. `probe` makes a heartbeat that asks for the time, unless that is `known`."""
        self._address = address
        self._topics = {kind: f"spaces/{site}/{kind}/{edge}" for kind in ("edge", "acks", "clocks")}
        self._client_id = f"meter-edge-{site}-{edge}"
        self._acknowledged = acknowledged
        self._clock = clock
        self._probe = probe
        self._known = known
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self) -> MqttChannel:
        """Return an open connection. Raises Unavailable."""
        session = MqttSession(
            self._address,
            client_id=self._client_id,
            protocol=self._protocol,
            on_message=self._on_message,
            full=lambda: False,
            must_publish=True,
        )
        try:
            await session.open([self._topics["acks"], self._topics["clocks"]])
        except ProtocolRefused:
            self._protocol = OTHER_VERSION[self._protocol]
            raise
        return MqttChannel(session, topic=self._topics["edge"], probe=self._probe, known=self._known)

    def _on_message(self, session: MqttSession, message: MQTTMessage) -> None:
        session.ack(message.mid if message.qos else 0)
        payload = bytes(message.payload[: _ACK_BYTES_MAX + 1])
        try:
            if message.topic == self._topics["acks"]:
                self._acknowledged(_TOLD.decode(payload))
            elif message.topic == self._topics["clocks"]:
                task = asyncio.ensure_future(self._clock(_CLOCK.decode(payload)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("gateway_not_understood", topic=message.topic, detail=str(error)[:200])


class MqttChannel:
    """One connection."""

    limits = LIMITS

    def __init__(
        self, session: MqttSession, *, topic: str, probe: Callable[[], bytes], known: Callable[[], bool]
    ) -> None:
        """Send on `topic`."""
        self._session = session
        self._topic = topic
        self._probe = probe
        self._known = known

    async def send(self, body: bytes, _places: Sequence[Place]) -> None:
        """Publish a message with QoS 1. Raises Unavailable."""
        if not self._session.alive:
            raise Unavailable("the connection to the broker is gone", code="mqtt_unavailable")
        self._session.publish(self._topic, body)

    async def ask_time(self) -> None:
        """Publish a heartbeat that only asks, unless the time is known: those that follow ask as well."""
        if not self._known():
            await self.send(self._probe(), ())

    @property
    def refused(self) -> bool:
        """Tell whether the broker lets us in and takes nothing: it does not know this agent yet, or any more."""
        return self._session.refused is not None

    async def ended(self) -> str:
        """Wait for the connection's end and return its reason."""
        return await self._session.ended()

    def close(self) -> None:
        """End the connection."""
        self._session.close()
