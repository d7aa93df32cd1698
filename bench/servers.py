"""The gateway under test, started as users start it, and what can be asked of it while it works."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp
import asyncpg

from meter.rundir import Addresses, admin_key, read_addresses

_READY_S_MAX: Final = 120.0
_RATED_S_MAX: Final = 600.0
_POLL_S: Final = 0.05
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
# Four look-ups in indexes: cheap enough to ask twenty times a second. `seq` counts what was inserted.
_RATED: Final = """
    SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('events', 'seq')::regclass), 0) >= $2
       AND (SELECT (xid, seq) FROM events WHERE operator = $1 ORDER BY xid DESC, seq DESC LIMIT 1)
         = (SELECT (xid, seq) FROM rating_cursors WHERE operator = $1 ORDER BY xid, seq LIMIT 1)
       AND NOT EXISTS (SELECT FROM refolds WHERE operator = $1 AND due_at <= now())
"""


class _Connection:
    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> asyncpg.Connection:
        self._connection = await asyncpg.connect(self._url)
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()


class Gateway:
    """`meter up` on a data directory with the embedded parts, as an async context manager.

    `targets` are its settings of that name (None: the ledger alone).
    """

    def __init__(
        self,
        data_dir: Path,
        catalog: Path,
        *,
        command: tuple[str, ...] = ("-m", "meter"),
        targets: Mapping[str, object] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self._targets = {} if targets is None else {"METER_TARGETS": json.dumps(targets)}
        self._catalog = catalog
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        try:
            if not (self.data_dir / "postgres").exists():
                await self._initialize()
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def _initialize(self) -> None:
        await self._start()
        await self._stop()
        # The server's own record of when each transaction was committed tells when a line was there.
        with (self.data_dir / "postgres" / "home" / "cluster" / "postgresql.conf").open("a") as settings:
            settings.write("track_commit_timestamp = on\n")

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self._stop()

    async def _start(self) -> None:
        arguments = [*self._command, "up", "--data-dir", str(self.data_dir), "--catalog", str(self._catalog)]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "METER_HTTP": "127.0.0.1:0", "METER_LOG_LEVEL": "error", **self._targets},
        )
        if self._process.stdout is None:
            raise SystemExit("no pipe")
        async with asyncio.timeout(_READY_S_MAX):
            while line := await self._process.stdout.readline():
                if line.startswith(b"ready "):
                    return
        raise SystemExit("the gateway ended before it served")

    async def _stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
            await self._process.wait()

    @property
    def addresses(self) -> Addresses:
        """Return where it answers."""
        found = read_addresses(self.data_dir)
        if found is None:
            raise SystemExit("the gateway has left no addresses")
        return found

    @property
    def key(self) -> str:
        """Return the administrator's key."""
        return admin_key(self.data_dir)

    def connection(self) -> _Connection:
        """Return an async context manager with a connection to its database."""
        return _Connection(self.addresses.database)

    async def subscribed(self) -> None:
        """Wait until it listens at the broker: what is published before is delivered to nobody."""
        async with asyncio.timeout(_READY_S_MAX), aiohttp.ClientSession(self.addresses.http) as http:
            while b"\nmeter_mqtt_connected 1.0" not in await (await http.get("/metrics")).read():  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)

    async def rated(self, operator: str, events: int) -> None:
        """Wait until `events` events are stored and all shards have rated them; both are committed then."""
        async with asyncio.timeout(_RATED_S_MAX), self.connection() as connection:
            while not await connection.fetchval(_RATED, operator, events):  # noqa: ASYNC110 -- another process
                await asyncio.sleep(_POLL_S)

    def memory_peak_mb(self) -> float:
        """Return the largest resident size so far of the gateway's process. Linux only."""
        return memory_peak_mb(self.addresses.pid)

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU time used so far by the gateway, PostgreSQL and the broker, children included. Linux only."""
        used: dict[str, float] = {}
        parents = _parents()
        for pid in parents:
            root = pid
            while root in parents and parents[root] != self.addresses.pid and root != self.addresses.pid:
                root = parents[root]
            if root in parents:
                name = "gateway" if pid == self.addresses.pid else _name(root)
                used[name] = used.get(name, 0.0) + _cpu_s(pid)
        return used


def memory_peak_mb(pid: int) -> float:
    """Return the largest resident size so far of a process. Linux only."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    peak_kb = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak_kb) / 1024


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()


def _parents() -> Mapping[int, int]:
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found[int(entry.name)] = int(_stat(int(entry.name))[1])
        except OSError:
            continue
    return found


def _cpu_s(pid: int) -> float:
    try:
        fields = _stat(pid)
    except OSError:
        return 0.0
    # utime, stime, and those of the children that have ended
    return sum(int(ticks) for ticks in fields[11:15]) / _TICKS_PER_S


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip()
