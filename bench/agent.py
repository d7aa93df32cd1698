"""The agent on site: what it takes in without a gateway, how soon it does after a start, and how fast it drains.

    devices ──one event a post──▶ agent, nobody to send to ──stopped──▶ started on what waits ──▶ gateway, until rated

Devices are the load generator (`load.py`); each post is answered after the spool's commit.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Final

from rich.console import Console

from bench.sending import to_agent
from bench.servers import Gateway, memory_peak_mb
from meter.clock import now
from tests.edge.agent import RunningAgent
from tests.edge.e2e.week import SPAN, Week

OPERATOR: Final = "northside"
# A door by itself, and a site at its busiest: what comes while a commit runs is in the next.
DEVICES: Final = (1, 16)
# Of what is posted, what one device posts: it waits for each answer.
_ALONE_SHARE: Final = 10
_DRAIN_S_MAX: Final = 600.0
_POLL_S: Final = 0.1
_NOBODY: Final = {"METER_EDGE_GATEWAY__HTTP_URL": "http://127.0.0.1:9"}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many events devices post."""

    events: int


WHOLE: Final = Sizes(events=40_000)
SHORT: Final = Sizes(events=1_500)


@dataclass(kw_only=True)
class Agent:
    """What one agent did. `start_s` is from the start of the process to the first event that it accepted."""

    events: int
    alone_per_s: float
    together_per_s: float
    start_s: float
    drain_per_s: float
    memory_peak_mb: float


async def measure(work: Path, sizes: Sizes) -> dict[str, Any]:
    """Return the figures of one run in the directory `work`."""
    week = Week(events=sizes.events, start=(now() - SPAN - timedelta(minutes=1)).replace(microsecond=0))
    bodies = [json.dumps(one.body).encode() for one in week.all()]
    alone = len(bodies) // _ALONE_SHARE
    directory = work / "agent"
    async with RunningAgent(directory, env=_NOBODY) as agent:
        alone_per_s = await _posts(agent, _written(work / "alone.ndjson", bodies[:alone]), devices=DEVICES[0])
        together_per_s = await _posts(agent, _written(work / "together.ndjson", bodies[alone:]), devices=DEVICES[1])
    catalog = work / "agent.yaml"
    catalog.write_text(week.catalog(), encoding="utf-8")
    data = work / "agent-gateway"
    data.mkdir(mode=0o711)
    async with Gateway(data, catalog) as gateway:
        await gateway.subscribed()
        agent = RunningAgent(directory, env={"METER_EDGE_GATEWAY__MQTT_URL": gateway.addresses.mqtt or ""})
        started = monotonic()
        async with agent:
            await agent.post([week.fresh(0, now()).body])
            accepted = monotonic()
            await _drained(agent)
            await gateway.rated(OPERATOR, len(bodies) + 1)
            ended = monotonic()
            peak_mb = memory_peak_mb(agent.process.pid)
    figures = Agent(
        events=len(bodies),
        alone_per_s=alone_per_s,
        together_per_s=together_per_s,
        start_s=accepted - started,
        drain_per_s=len(bodies) / (ended - accepted),
        memory_peak_mb=peak_mb,
    )
    return asdict(figures)


def show(figures: Mapping[str, Any], console: Console) -> None:
    """Print what `measure` returned."""
    console.print(
        f"the agent: {figures['alone_per_s']:,.0f} events/s of one device, {figures['together_per_s']:,.0f} of "
        f"{DEVICES[1]}, one a post; with {figures['events']:,} waiting it accepts {figures['start_s']:.2f} s after its "
        f"start and drains {figures['drain_per_s']:,.0f} events/s until rated; peak {figures['memory_peak_mb']:.0f} MB"
    )


def _written(file: Path, bodies: Iterable[bytes]) -> Path:
    file.write_bytes(b"\n".join(bodies))
    return file


async def _posts(agent: RunningAgent, file: Path, *, devices: int) -> float:
    """Return how many events a second the agent accepts of so many devices."""
    sent = await to_agent(agent.port, file, devices=devices)
    return sent["events"] / (sent["ended_s"] - sent["began_s"])


async def _drained(agent: RunningAgent) -> None:
    async with asyncio.timeout(_DRAIN_S_MAX):
        while (await agent.get("/v1/status"))["spooled"]:  # noqa: ASYNC110 -- another process
            await asyncio.sleep(_POLL_S)
