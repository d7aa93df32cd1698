"""A real agent in a process of its own, killed and started again as a test likes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

# Half a second on a machine that does nothing else.
_START_TIMEOUT_S: Final = 120


def free_port() -> int:
    """Return a TCP port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RunningAgent:
    """`meter-edge run` for the site berlin, with its spool below `directory`; `command` runs another program."""

    def __init__(self, directory: Path, *, env: Mapping[str, str], command: Sequence[str] = ("edge", "run")) -> None:
        self.directory = directory
        self.command = command
        self.port = free_port()
        self.log = directory / "agent.log"
        self.env = {
            **os.environ,
            "METER_EDGE_SITE": "berlin",
            "METER_EDGE_DATA_DIR": str(directory),
            "METER_EDGE_HTTP": f"127.0.0.1:{self.port}",
            "METER_EDGE_HEARTBEAT_S": "5",
            **env,
        }
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.stop()

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    async def begin(self) -> None:
        """Start and wait for nothing."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *self.command, env=self.env, stderr=log
            )

    async def start(self) -> None:
        """Start and wait until it hears devices."""
        await self.begin()
        async with asyncio.timeout(_START_TIMEOUT_S):
            while True:
                try:
                    await self.get("/health")
                except (aiohttp.ClientError, OSError):
                    assert self.process.returncode is None, self.log.read_text()[-4000:]
                    await asyncio.sleep(0.05)
                else:
                    return

    async def kill(self) -> None:
        """End it as a power cut would, but for the disk's cache."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """Ask it to stop and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 30)

    async def get(self, path: str) -> Any:
        """Return what it answers."""
        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{self.port}{path}") as answer:
            return await answer.json()

    async def post(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the results of a batch."""
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        body = json.dumps(events).encode()
        url = f"http://127.0.0.1:{self.port}/v1/events"
        async with aiohttp.ClientSession(headers=headers) as client, client.post(url, data=body) as answer:
            assert answer.status == 200, await answer.text()
            results: list[dict[str, Any]] = (await answer.json())["results"]
            return results

    async def drained(self, *, within_s: float = 60) -> None:
        """Wait until the gateway has said of everything that it is committed."""
        deadline_s = asyncio.get_running_loop().time() + within_s
        while (status := await self.get("/v1/status"))["spooled"]:
            told = f"{status}\n{self.log.read_text()[-4000:]}"
            assert asyncio.get_running_loop().time() < deadline_s, f"what is spooled stays there: {told}"
            await asyncio.sleep(0.05)
