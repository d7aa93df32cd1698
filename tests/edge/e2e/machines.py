"""Computers on site whose clock is wrong until NTP sets it, each with an agent on it and a wire to the broker."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from edge.clock import Reading
from meter.embedded.partdir import LOOPBACK
from tests.edge.agent import RunningAgent, free_port
from tests.edge.e2e.wires import Wire

# NTP answers ten minutes after a machine has started; here its agent starts a little before that.
UP: Final = timedelta(minutes=9, seconds=30)


class WrongClock:
    """The clocks of a machine that started `since_ns` on this one's boot clock, wrong by `off_s` until `ntp` exists."""

    def __init__(self, *, since_ns: int, boot: str, off_s: float, ntp: str) -> None:
        self._since_ns = since_ns
        self._boot = boot
        self._off = timedelta(seconds=off_s)
        self._ntp = Path(ntp)

    def read(self) -> Reading:
        held = self._ntp.exists()
        boottime_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - self._since_ns
        wall = datetime.now(UTC) + (timedelta(0) if held else self._off)
        return Reading(wall=wall, boottime_ns=boottime_ns, machine_boot=self._boot, synchronised=held)


class Machine:
    """Starts with `boot`; out of reach of the gateway until `reach`. `told`: when each event was posted, in truth."""

    def __init__(self, name: str, directory: Path, wire: Wire) -> None:
        self.name = name
        self.told: dict[str, tuple[datetime, datetime]] = {}
        self._boots = 0
        self._wire, self._target = wire, wire.target
        self._directory = directory / name
        env = {"METER_EDGE_EDGE": name, "METER_EDGE_GATEWAY__MQTT_URL": f"mqtt://{LOOPBACK}:{wire.port}"}
        self.agent = RunningAgent(self._directory, env=env)
        self.leave()

    @property
    def _ntp(self) -> Path:
        return self._directory / f"ntp-{self._boots}"

    async def boot(self, off: timedelta) -> None:
        """Start the machine anew, its agent killed, with a clock that is off until `set_by_ntp`."""
        if self._boots:
            await self.agent.kill()
        self._boots += 1
        clock = {
            "since_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME) - int(UP.total_seconds() * 1e9),
            "boot": f"{self.name}-{self._boots}",
            "off_s": off.total_seconds(),
            "ntp": str(self._ntp),
        }
        self.agent.command = ("tests.edge.e2e.child", json.dumps({"clock": clock}))
        await self.agent.start()

    async def restart(self) -> None:
        """Kill the agent and start another in the same boot of the machine."""
        await self.agent.kill()
        await self.agent.start()

    def set_by_ntp(self) -> None:
        """Step the wall clock to the true time."""
        self._ntp.touch()

    def reach(self) -> None:
        """Let the agent reach the gateway."""
        self._wire.target = self._target

    def leave(self) -> None:
        """Cut it off."""
        self._wire.target = free_port()
        self._wire.heal()

    async def post(self, part: str) -> None:
        """Post an event without a time."""
        id = f"{self.name}-{part}"
        event = {
            "specversion": "1.0",
            "id": id,
            "source": f"berlin/door/{self.name}",
            "type": "door.access",
            "subject": "badge:B1",
            "data": {"door": self.name, "granted": True},
        }
        before = datetime.now(UTC)
        (result,) = await self.agent.post([event])
        assert result["status"] == "accepted"
        self.told[id] = (before, datetime.now(UTC))

    async def measured(self) -> None:
        """Wait until the spool knows what time it is in the running boot."""
        query = "SELECT 1 FROM machine_boots WHERE id = ? AND boottime_ns IS NOT NULL"
        with closing(sqlite3.connect(self._directory / "spool" / "spool" / "events.sqlite")) as spool:
            async with asyncio.timeout(60):
                boot = f"{self.name}-{self._boots}"
                while not spool.execute(query, (boot,)).fetchall():  # noqa: ASYNC110 -- another process tells nobody
                    await asyncio.sleep(0.05)
