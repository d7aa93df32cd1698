"""What an outside client has: addresses, a key, the command line, an MQTT client."""

from __future__ import annotations

import asyncio
import json
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.gateway import RunningGateway

EXAMPLE = Path(__file__).with_name("example.yaml")
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
WAIT_S = 30


def event(id: str, **changes: Any) -> dict[str, Any]:
    """Return a badge at the door on 20 November 2026; an attribute that is changed to None is left out."""
    made: dict[str, Any] = {
        "specversion": "1.0",
        "id": id,
        "source": "berlin/door/main",
        "type": "door.access",
        "subject": "badge:04A2991B",
        "time": "2026-11-20T09:00:00+01:00",
        "data": {"door": "main", "direction": "in", "granted": True},
    } | changes
    return {name: value for name, value in made.items() if value is not None}


async def run(gateway: RunningGateway, *arguments: str) -> tuple[int, str, str]:
    """Return exit code, standard output and error of `meter ...` beside the gateway."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "meter", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=gateway.env,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


class Device:
    """A publisher that also hears what comes on one topic."""

    def __init__(self, client: Client, heard: queue.Queue[dict[str, Any]]) -> None:
        self._client, self._heard = client, heard

    def tell(self, topic: str, *events: dict[str, Any]) -> None:
        """Publish at QoS 1, one event as an object, several as an array."""
        told = json.dumps(events[0] if len(events) == 1 else events)
        self._client.publish(topic, told, qos=1).wait_for_publish(WAIT_S)

    def hear(self) -> dict[str, Any]:
        """Return the next message."""
        return self._heard.get(timeout=WAIT_S)


@contextmanager
def device(url: str, *, hears: str) -> Iterator[Device]:
    """Yield a connected device that is subscribed to `hears`."""
    parts = urlsplit(url)
    heard: queue.Queue[dict[str, Any]] = queue.Queue()
    subscribed: queue.Queue[None] = queue.Queue()

    def on_message(_client: Client, _data: object, message: MQTTMessage) -> None:
        assert (message.qos, message.retain) == (1, False)
        heard.put(json.loads(message.payload))

    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.put(None)
    client.connect(parts.hostname or "", parts.port or 1883)
    client.loop_start()
    try:
        client.subscribe(hears, qos=1)
        subscribed.get(timeout=WAIT_S)
        yield Device(client, heard)
    finally:
        client.disconnect()
        client.loop_stop()
