"""`meter-edge spool`: what is kept here, and sending it again; by the running agent, or in the file where none runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from edge.app import bounds_of, spool_directory
from edge.config.settings import EdgeSettings
from edge.local import ask_agent, running_agent
from edge.spool.file import Spool
from edge.uplink.recall import Replayed, Wanted
from meter.model.errors import Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What became of a replay. `running`: an agent sends it now, and not only when it is started."""

    replayed: Replayed
    running: bool


async def spool_figures(settings: EdgeSettings) -> dict[str, Any]:
    """Return what the spool holds: of the running agent, or of the file. Raises MeterError."""
    running = await running_agent(settings)
    if running is not None:
        return {name: running[name] for name in ("boot", "spooled", "spooled_bytes", "kept", "refused", "online")}
    async with _opened(settings) as spool:
        depth = spool.depth
        return {
            "boot": spool.boot,
            "spooled": depth.events,
            "spooled_bytes": depth.bytes,
            "kept": depth.kept_events,
            "running": False,
        }


async def replay(settings: EdgeSettings, wanted: Wanted) -> Replay:
    """Have what is kept sent again; what the gateway still has is a duplicate there. Raises MeterError."""
    if await running_agent(settings) is not None:
        status, told = await ask_agent(settings, "POST", "/v1/replay", msgspec.json.encode(wanted))
        if status != 200:
            message = f"the running agent answered {status} to /v1/replay: {str(told)[:200]}"
            raise Unavailable(message, code="replay_refused")
        return Replay(replayed=msgspec.convert(told, Replayed), running=True)
    async with _opened(settings) as spool:
        events = await asyncio.to_thread(spool.replay, since=wanted.since, stretches=wanted.stretches)
        return Replay(replayed=Replayed(events=events, spooled=spool.depth.events), running=False)


@asynccontextmanager
async def _opened(settings: EdgeSettings) -> AsyncIterator[Spool]:
    spool = await asyncio.to_thread(Spool.open, spool_directory(settings), bounds=bounds_of(settings))
    try:
        yield spool
    finally:
        await asyncio.to_thread(spool.close)
