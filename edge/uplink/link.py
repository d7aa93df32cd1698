"""Keeps a connection to the gateway: over MQTT, and over HTTP where that is barred (decision 0015)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from edge.clock import monotonic_s
from edge.uplink.http import HttpUplink
from edge.uplink.mqtt import MqttUplink
from edge.uplink.pump import Channel, Pump
from meter.log import log
from meter.model.errors import Unavailable

_BACKOFF_FIRST_S: Final = 0.5
_BACKOFF_MAX_S: Final = 60.0
# A connection that held so long was none of a series of failures.
_STABLE_S: Final = 10.0
# MQTT has failed so often in a row: HTTP has its turn, for so long.
_MQTT_TRIES: Final = 3
_HTTP_TURN_S: Final = 300.0


class Link:
    """Runs one connection after the other. `online` tells whether one is there; `reason` why none is."""

    def __init__(
        self,
        pump: Pump,
        *,
        mqtt: MqttUplink | None,
        http: HttpUplink | None,
        beat: Callable[[], Awaitable[None]],
        beat_s: float,
    ) -> None:
        """Connect to nothing yet. `beat` stores a heartbeat: when a connection begins, and every `beat_s` seconds."""
        self._pump = pump
        self._mqtt = mqtt
        self._http = http
        self._beat = beat
        self._beat_s = beat_s
        self._mqtt_failures = 0
        self.online = False
        self.over = ""
        self.reason = "not connected yet"

    async def run(self) -> None:
        """Connect, send, and connect again with growing pauses, until cancelled."""
        backoff_s = _BACKOFF_FIRST_S
        while True:
            started_s = monotonic_s()
            try:
                self.reason = await self._connection()
            except Unavailable as error:
                self.reason = error.detail
            finally:
                self.online = False
            log.warning("gateway_unreachable", over=self.over, detail=self.reason)
            if monotonic_s() - started_s > _STABLE_S:
                backoff_s = _BACKOFF_FIRST_S
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1))  # noqa: S311 -- spreads reconnections
            backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)

    async def _connection(self) -> str:
        """Hold one connection until it ends, and return why. Raises Unavailable."""
        if self._mqtt is not None and (self._http is None or self._mqtt_failures < _MQTT_TRIES):
            return await self._over_mqtt(self._mqtt)
        if self._http is None:
            raise Unavailable("no way to the gateway is configured", code="gateway_unavailable")
        self._mqtt_failures = 0
        return await self._over_http(self._http)

    async def _over_mqtt(self, uplink: MqttUplink) -> str:
        self.over = "mqtt"
        try:
            channel = await uplink.connect()
        except Unavailable:
            self._mqtt_failures += 1
            raise
        self._begun()
        try:
            return await self._serve(channel)
        finally:
            channel.close()
            self._mqtt_failures = self._mqtt_failures + 1 if channel.refused else 0

    async def _over_http(self, uplink: HttpUplink) -> str:
        self.over = "http"
        channel = await uplink.connect()
        self._begun()
        try:
            async with asyncio.timeout(None if self._mqtt is None else _HTTP_TURN_S):
                return await self._serve(channel)
        except TimeoutError:
            return "MQTT is tried again"
        finally:
            await channel.close()

    async def _serve(self, channel: Channel) -> str:
        """Send until the connection ends, with heartbeats beside. Raises Unavailable; whatever ended the heartbeats."""
        serving = asyncio.create_task(self._pump.serve(channel))
        beating = asyncio.create_task(self._heartbeats(channel))
        try:
            await asyncio.wait([serving, beating], return_when=asyncio.FIRST_COMPLETED)
            if beating.done():
                beating.result()
            return await serving
        finally:
            serving.cancel()
            beating.cancel()
            await asyncio.gather(serving, beating, return_exceptions=True)

    async def _heartbeats(self, channel: Channel) -> None:
        """Have heartbeats stored for as long as there is somebody to hear them, once the time is known."""
        await self._pump.ready.wait()
        while True:
            try:
                await self._beat()
                await channel.ask_time()
            except Unavailable as error:
                log.warning("heartbeat_missed", code=error.code, detail=error.detail)
            await asyncio.sleep(self._beat_s)

    def _begun(self) -> None:
        self.online = True
        self.reason = ""
        log.info("gateway_connected", over=self.over)
