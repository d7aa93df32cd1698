"""Starts the load generator (`load.py`), a process of its own, against a gateway or an agent."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Final

from bench.servers import Gateway

# One connection keeps the broker busy, and a window of this size the batches full.
MQTT_CONNECTIONS: Final = 1
MQTT_WINDOW: Final = 500
HTTP_CONNECTIONS: Final = 4
HTTP_BATCH: Final = 250


async def over_mqtt(gateway: Gateway, file: Path, *, rate: float | None = None) -> dict[str, float]:
    """Publish the file's events, as fast as they are taken or at `rate` a second; return when it began and ended."""
    host, port = _address(gateway.addresses.mqtt or "")
    paced = [] if rate is None else ["--rate", str(rate)]
    flow = ["--connections", str(MQTT_CONNECTIONS), "--window", str(MQTT_WINDOW)]
    return await _load("mqtt", str(file), host, port, *flow, *paced)


async def over_http(gateway: Gateway, file: Path) -> dict[str, float]:
    """Post the file's events in batches, as fast as they are taken; return when it began and ended."""
    host, port = _address(gateway.addresses.http)
    flow = ["--connections", str(HTTP_CONNECTIONS), "--batch", str(HTTP_BATCH), "--key", gateway.key]
    return await _load("http", str(file), host, port, *flow)


async def to_agent(port: int, file: Path, *, devices: int) -> dict[str, float]:
    """Post the file's events to an agent on this machine, one a post; return when it began, when it ended, how many."""
    flow = ["--connections", str(devices), "--batch", "1"]
    return await _load("http", str(file), "127.0.0.1", str(port), *flow)


async def _load(*arguments: str) -> dict[str, float]:
    """Run the load generator; it starts sending when it has prepared everything."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.load",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if process.stdin is None or process.stdout is None:
        raise SystemExit("no pipes")
    await process.stdout.readline()
    process.stdin.write(b"\n")
    line = await process.stdout.readline()
    if await process.wait() != 0 or not line:
        raise SystemExit("the load generator failed")
    found: dict[str, float] = json.loads(line)
    return found


def _address(url: str) -> tuple[str, str]:
    host, _, port = url.rpartition("/")[2].rpartition(":")
    return host, port
