"""A gateway's ingest over MQTT, and the devices and agents around it, for tests."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.publish import multiple

from meter.ingest.arrival import Arrival, Outcome
from meter.ingest.batcher import Batcher
from meter.ingest.mqtt import MqttIngest
from meter.store.engine import Database
from meter.telemetry import Telemetry
from meter.transport.mqtt_address import broker_address
from meter.transport.mqtt_session import MqttSession
from meter.transport.topics import Topics
from tests.ingest.bodies import NOW, acceptor

WITHIN_S = 20


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something that happens on this loop or in another process holds."""
    async with asyncio.timeout(WITHIN_S):
        while not holds():  # noqa: ASYNC110 -- what is awaited has no event of its own
            await asyncio.sleep(0.005)


class Gate:
    """An acceptor with a gate in front of it: `entered` batches wait while it is shut."""

    def __init__(self, accept: Callable[[Sequence[Arrival]], Any]) -> None:
        self._accept = accept
        self._open = asyncio.Event()
        self._open.set()
        self.entered: list[Arrival] = []

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def accept(self, arrivals: Sequence[Arrival]) -> Outcome:
        self.entered += arrivals
        await self._open.wait()
        outcome: Outcome = await self._accept(arrivals)
        return outcome


@dataclass
class Gateway:
    """What runs, and what it has committed."""

    gate: Gate
    batcher: Batcher
    mqtt: MqttIngest
    telemetry: Telemetry
    outcomes: list[Outcome] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def statuses(self) -> list[str]:
        return [receipt.status for outcome in self.outcomes for receipt in outcome.receipts]

    def kill(self) -> None:
        """Cut the connection and forget everything in memory, as a killed process does."""
        if self.mqtt._session is not None:
            self.mqtt._session._end("killed")
        for task in self.tasks:
            task.cancel()


@asynccontextmanager
async def gateway(
    url: str,
    database: Database,
    *,
    operator: str,
    queue_events_max: int = 20_000,
    filters: Sequence[str] = (),
    pace: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[Gateway]:
    telemetry = Telemetry()
    gate = Gate(acceptor(database).accept)
    batcher = Batcher(gate.accept, queue_events_max=queue_events_max)
    mqtt = MqttIngest(
        url,
        nonce="n0nce",
        operator=operator,
        topics=lambda: Topics(tuple(filters) or (f"spaces/{operator}/+/+",)),
        batcher=batcher,
        telemetry=telemetry,
        pace=pace,
        clock=lambda: NOW,
    )
    made = Gateway(gate, batcher, mqtt, telemetry)
    batcher.on_commit.append(made.outcomes.append)
    made.tasks = [asyncio.create_task(batcher.run()), asyncio.create_task(mqtt.run())]
    try:
        async with asyncio.timeout(WITHIN_S):
            await mqtt.connected.wait()
        yield made
    finally:
        made.tasks[1].cancel()
        gate.open()
        batcher.stop()
        await asyncio.wait(made.tasks)


def new_site() -> str:
    """A site (and operator) that no other test has: the brokers are shared."""
    return "site" + secrets.token_hex(6)


def message(
    site: str, content: bytes, *, kind: str = "door", device: str = "main", retain: bool = False
) -> dict[str, Any]:
    return {"topic": f"spaces/{site}/{kind}/{device}", "payload": content, "qos": 1, "retain": retain}


async def publish(url: str, messages: Sequence[dict[str, Any]], **options: Any) -> None:
    """Publish as a device does; returns when the broker has acknowledged all."""
    address = broker_address(url)
    sent: list[Any] = list(messages)
    await asyncio.to_thread(multiple, sent, hostname=address.host, port=address.port, **options)


@asynccontextmanager
async def acks(url: str, site: str) -> AsyncIterator[list[tuple[str, Any]]]:
    """What an agent is told, by topic."""
    heard: list[tuple[str, Any]] = []

    def hear(session: MqttSession, told: MQTTMessage) -> None:
        heard.append((told.topic, json.loads(told.payload)))
        assert (told.qos, told.retain) == (1, False)
        session.ack(told.mid)

    session = MqttSession(
        broker_address(url),
        client_id=f"agent-{site}",
        protocol=MQTTProtocolVersion.MQTTv311,
        on_message=hear,
        full=lambda: False,
    )
    await session.open([f"spaces/{site}/{kind}/+" for kind in ("acks", "clocks")])
    yield heard
    session.close()
