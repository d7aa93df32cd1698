"""A Mosquitto of a test's own, which it may kill, and what devices publish there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from paho.mqtt.publish import multiple

from meter.embedded.partdir import LOOPBACK, is_free
from tests.edge.agent import free_port
from tests.tools import need_tool


class Mosquitto:
    """Keeps sessions on disk, so that a killed one knows them again. `queued_max`: of one away; 0: without a bound."""

    def __init__(self, home: Path, *, queued_max: int = 0) -> None:
        self.home = home
        self._queued_max = queued_max
        self.port = free_port()
        self.url = f"mqtt://{LOOPBACK}:{self.port}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.home.mkdir(exist_ok=True)
        config = self.home / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} {LOOPBACK}\nallow_anonymous true\npersistence true\nautosave_interval 1\n"
            f"autosave_on_changes true\npersistence_location {self.home}/\nmax_inflight_messages 0\n"
            f"max_queued_messages {self._queued_max}\n" + ("user root\n" if os.geteuid() == 0 else "")
        )
        self._process = await asyncio.create_subprocess_exec(
            need_tool("mosquitto"),
            "-c",
            str(config),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(20):
            while is_free(LOOPBACK, self.port):  # noqa: ASYNC110 -- another process tells nobody
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def publish(self, messages: Sequence[dict[str, Any]]) -> None:
        """Publish as devices do; returns when the broker has acknowledged all."""
        sent: list[Any] = [{"qos": 1, **one} for one in messages]
        await asyncio.to_thread(multiple, sent, hostname=LOOPBACK, port=self.port)


@asynccontextmanager
async def mosquitto(home: Path) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(home)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.kill()
