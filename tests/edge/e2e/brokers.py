"""Brokers of a test's own that it kills, and whose data it deletes."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Protocol

from meter.embedded.broker import EmbeddedBroker
from tests.edge.agent import free_port
from tests.edge.collect.broker import Mosquitto


class Broker(Protocol):
    """Listens on one port for all of its lives."""

    port: int

    async def start(self) -> None:
        """Start it, and return when it answers."""

    async def kill(self) -> None:
        """End it without a warning. Harmless where it does not run."""

    def forget(self) -> None:
        """Delete all that it has kept. It does not run."""


class NatsBroker:
    """nats-server as `meter up` runs it."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self._home = home
        self._server = EmbeddedBroker(home, port=self.port)

    @property
    def pid(self) -> int | None:
        """Its process, None while it does not run."""
        return self._server.pid

    async def start(self) -> None:
        await self._server.start()

    async def kill(self) -> None:
        if self._server.pid is not None:
            os.kill(self._server.pid, signal.SIGKILL)
        await self._server.stop()

    def forget(self) -> None:
        for path in (self._home / EmbeddedBroker.name / "home").iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


class MosquittoBroker(Mosquitto):
    """Mosquitto, which writes its sessions down now and then, and loses the rest with its life."""

    def forget(self) -> None:
        (self.home / "mosquitto.db").unlink(missing_ok=True)
