"""The processes of the run: each can be killed, frozen and started again on the port that it had."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from meter.embedded.postgres import EmbeddedPostgres
from tests.edge.agent import free_port
from tests.gateway import RunningGateway

_STARTS_MAX: Final = 12
_AGAIN_S: Final = 0.5


class Postgres:
    """A PostgreSQL that is stopped without a checkpoint, as by a power cut, and recovers."""

    def __init__(self, directory: Path) -> None:
        self._server = EmbeddedPostgres(directory, port=free_port(), settings={"max_connections": "200"})

    @property
    def url(self) -> str:
        """Where it answers, past all wires."""
        return self._server.url

    @property
    def port(self) -> int:
        """Return the port, the same in all its lives."""
        return self._server.port

    @property
    def pid(self) -> int | None:
        """Return the postmaster's process, None while it does not run."""
        return self._server.pid

    async def start(self) -> None:
        """Start it and wait until it has recovered."""
        await self._server.start()

    async def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it: SIGQUIT is what `pg_ctl stop -m immediate` sends."""
        if self._server.pid is not None:
            os.kill(self._server.pid, how)
        await self._server.stop()


class Gateway(RunningGateway):
    """`meter up`, started again until it serves: it gives up where the database is away, and systemd restarts it."""

    async def start(self) -> None:
        for attempt in range(_STARTS_MAX):
            try:
                return await super().start()
            except AssertionError:
                if attempt == _STARTS_MAX - 1:
                    raise
                await asyncio.sleep(_AGAIN_S)
        return None

    @property
    def pid(self) -> int | None:
        """Return its process while it runs."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def stop(self) -> int:
        return 0 if self._process is None else await super().stop()


def family(pid: int) -> list[int]:
    """Return the process and all that descend from it. Linux only."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # gone meanwhile
        children.setdefault(parent, []).append(int(entry.name))
    found, next_ones = [pid], [pid]
    while next_ones:
        next_ones = [child for one in next_ones for child in children.get(one, ())]
        found += next_ones
    return found


def signalled(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to processes, of which some may be gone."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
