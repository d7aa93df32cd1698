"""Deliveries to an MQTT broker, as devices send them: QoS 1, so many in flight, done when all are acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from meter.model.errors import BadInput, Unavailable
from meter.simulate.event import Delivery
from meter.simulate.pace import Pace, Sent, unpaced

# Enough to fill a gateway's batches over a local network, far below what brokers queue for one client.
_IN_FLIGHT_MAX: Final = 500
_CONNECT_WAIT_S: Final = 10.0
# A gateway that pushes back may hold messages for as long as it takes to rate a backlog.
_PUBACK_WAIT_S: Final = 60.0
_KEEPALIVE_S: Final = 30
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


async def to_mqtt(
    deliveries: Iterable[Delivery],
    *,
    url: str,
    pace: Pace = unpaced,
    in_flight_max: int = _IN_FLIGHT_MAX,
    connect_wait_s: float = _CONNECT_WAIT_S,
    puback_wait_s: float = _PUBACK_WAIT_S,
) -> Sent:
    """Publish each delivery on its topic and return once the broker has acknowledged all.

    `url` is `mqtt://` or `mqtts://`, with user and password where the broker wants them. A lost connection is taken up
    again and what was in flight is sent again. Raises BadInput for another URL, Unavailable when the broker refuses
    or stays silent for `puback_wait_s`.
    """
    publisher = _Publisher(url, in_flight_max, puback_wait_s)
    sent = Sent()
    try:
        await publisher.connect(connect_wait_s)
        for delivery in deliveries:
            delay_s = pace(delivery)
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            await publisher.publish(delivery)
            sent.deliveries += 1
            sent.events += len(delivery.events)
        await publisher.drain()
    finally:
        await publisher.close()
    return sent


class _Publisher:
    """paho with its own thread; everything of ours happens on the event loop."""

    def __init__(self, url: str, in_flight_max: int, puback_wait_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise BadInput(f"{url!r} is no broker; write mqtt://host:port or mqtts://host:port", code="bad_url")
        self._where = f"{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"
        self._host, self._port = parts.hostname, parts.port or _PORTS[parts.scheme]
        self._loop = asyncio.get_running_loop()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._in_flight_max = in_flight_max
        self._puback_wait_s = puback_wait_s
        self._in_flight = asyncio.Semaphore(in_flight_max)
        # 3.1.1: what every broker speaks, the embedded one included.
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            self._client.tls_set()
        self._client.max_inflight_messages_set(in_flight_max)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish

    async def connect(self, wait_s: float) -> None:
        self._client.connect_async(self._host, self._port, keepalive=_KEEPALIVE_S)
        self._client.loop_start()
        try:
            async with asyncio.timeout(wait_s):
                await self._connected
        except TimeoutError as error:
            message = f"no broker answers at {self._where} within {wait_s:g} s; is it up?"
            raise Unavailable(message) from error

    async def publish(self, delivery: Delivery) -> None:
        await self._one_acknowledged()
        self._client.publish(delivery.topic, delivery.payload, qos=1)

    async def drain(self) -> None:
        for _ in range(self._in_flight_max):
            await self._one_acknowledged()

    async def close(self) -> None:
        self._client.disconnect()
        # Joins the thread, which may sit in a connection attempt: not on the event loop.
        await asyncio.to_thread(self._client.loop_stop)

    async def _one_acknowledged(self) -> None:
        if not self._in_flight.locked():
            await self._in_flight.acquire()
            return
        try:
            async with asyncio.timeout(self._puback_wait_s):
                await self._in_flight.acquire()
        except TimeoutError as error:
            silent = f"{self._where} acknowledges nothing for {self._puback_wait_s:g} s"
            message = f"{silent}; look at the broker, its disk and what the user may publish"
            raise Unavailable(message) from error

    def _on_connect(self, _client: Any, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        # In paho's thread, where an exception would end it unseen: hand over and return.
        self._loop.call_soon_threadsafe(self._answered, reason.is_failure, str(reason))

    def _answered(self, refused: bool, reason: str) -> None:  # noqa: FBT001 -- call_soon takes positions only
        if self._connected.done():
            return
        if refused:
            fault = Unavailable(f"{self._where} refuses the connection: {reason}; check user and password")
            self._connected.set_exception(fault)
        else:
            self._connected.set_result(None)

    def _on_publish(self, _client: Any, _userdata: Any, _mid: Any, _reason: Any, _properties: Any) -> None:
        self._loop.call_soon_threadsafe(self._in_flight.release)
