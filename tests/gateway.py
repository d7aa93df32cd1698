"""A whole gateway as a user runs it: `meter up` in a process of its own, on a data directory."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import asyncpg

from meter.rundir import Addresses, admin_key, read_addresses

READY_TIMEOUT_S = 120
SETTLE_TIMEOUT_S = 120
# The days of tests stay where they are while the years go by; what is of another century is too old all the same.
MAX_AGE_DAYS = "10000"
_UNSETTLED = """
    SELECT EXISTS (SELECT 1 FROM refolds)
        OR EXISTS (SELECT 1 FROM outbox WHERE state IN ('pending', 'sending', 'uncertain'))
        OR EXISTS (SELECT 1 FROM export_cursors AS c
                    WHERE EXISTS (SELECT 1 FROM charges AS b WHERE (b.xid, b.seq) > (c.xid, c.seq))
                      AND EXISTS (SELECT 1 FROM entries AS b WHERE (b.xid, b.seq) > (c.xid, c.seq)))
        OR NOT EXISTS (SELECT 1 FROM export_cursors)
        OR EXISTS (SELECT 1 FROM export_buckets WHERE dirty AND due_at <= clock_timestamp() + interval '1 second')
        OR EXISTS (SELECT 1 FROM events AS e WHERE (e.xid, e.seq) > (
               SELECT xid, seq FROM rating_cursors ORDER BY xid, seq LIMIT 1))
        OR NOT EXISTS (SELECT 1 FROM rating_cursors)
"""


class RunningGateway:
    """`meter up` on `data_dir`; an async context manager that ends it in order. `program` is one that does the same."""

    def __init__(
        self,
        data_dir: Path,
        *,
        arguments: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        program: str = "meter",
    ) -> None:
        self.data_dir = data_dir
        self.program = program
        self._arguments = arguments
        self.env = {**os.environ, "METER_HTTP": "127.0.0.1:0", "METER_MAX_AGE_DAYS": MAX_AGE_DAYS, **(env or {})}
        self._process: asyncio.subprocess.Process | None = None
        self.log = data_dir / "gateway.log"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self.stop()

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "not started"
        return self._process

    @property
    def addresses(self) -> Addresses:
        """Where it answers."""
        found = read_addresses(self.data_dir)
        assert found is not None, "it has left no addresses"
        return found

    async def start(self) -> None:
        """Start it and wait until it serves."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self.program, "up", "--data-dir", str(self.data_dir), *self._arguments,
                stdout=asyncio.subprocess.PIPE, stderr=log, env=self.env,
            )  # fmt: skip
        assert self._process.stdout is not None
        async with asyncio.timeout(READY_TIMEOUT_S):
            while True:
                line = await self._process.stdout.readline()
                if line.startswith(b"ready "):
                    return
                assert line, f"it ended before it served:\n{self.log.read_text()[-4000:]}"

    async def kill(self) -> None:
        """Kill it as a power cut would: no warning, children included as far as they notice."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """Ask it to stop, as Ctrl-C does; return its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
        return await asyncio.wait_for(self.process.wait(), READY_TIMEOUT_S)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A client with the administrator's key."""
        headers = {"Authorization": f"Bearer {admin_key(self.data_dir)}"}
        async with aiohttp.ClientSession(self.addresses.http, headers=headers) as session:
            yield session

    async def get(self, path: str, **query: str) -> Any:
        """What a GET gives."""
        async with self.client() as client, client.get(path, params=query) as response:
            response.raise_for_status()
            return await response.json()

    async def said(self, *arguments: str) -> str:
        """What `meter ...` beside it prints, complaints included."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "meter", *arguments,
            env={**self.env, "METER_DATA_DIR": str(self.data_dir)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        printed, _ = await process.communicate()
        return printed.decode()

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query of its database gives."""
        connection = await asyncpg.connect(self.addresses.database)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    async def settled(self, *, events: int) -> None:
        """Wait until so many events are stored, and all of them are rated and delivered."""
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            stored = 0
            while stored < events:  # another process tells nobody
                await asyncio.sleep(0.1)
                stored = (await self.rows("SELECT count(*) FROM events"))[0][0]
            assert stored == events, "more events are stored than were sent"
            while (await self.rows(_UNSETTLED))[0][0]:  # noqa: ASYNC110 -- another process tells nobody
                await asyncio.sleep(0.1)
