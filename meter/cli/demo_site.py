"""The demo's site with its agent: doors post to it, its line is cut, its process killed, and nothing is lost.

doors ─HTTP─▶ agent ─line─▶ broker ─▶ gateway
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from meter.cli.demo_agent import DemoAgent
from meter.cli.demo_line import Line
from meter.cli.demo_view import Outage
from meter.clock import monotonic_s, now
from meter.embedded.partdir import LOOPBACK
from meter.model.errors import Unavailable
from meter.transport.mqtt_address import BrokerAddress, broker_address

# Of the playing's length, in this order: the line is cut, the process killed, the line mended.
_CUT, _KILLED, _MENDED = 0.35, 0.45, 0.55
_LOOK_S: Final = 0.2
# It connects again after pauses that grow to seconds, and sends a few hundred events.
_DRAIN_S_MAX: Final = 60.0


class DemoSite:
    """The agent and its line."""

    def __init__(self, agent: DemoAgent, line: Line) -> None:
        """Use `demo_site`."""
        self.agent = agent
        self._line = line
        self.outage: Outage | None = None

    async def play_outage(self, seconds: float, say: Callable[[str], None]) -> None:
        """Cut the site off in the course of `seconds`, and return when the gateway has everything.

        Raises Unavailable where it does not get it.
        """
        await asyncio.sleep(_CUT * seconds)
        self._line.cut()
        self.outage = Outage(cut=now())
        say("agent: its line to the gateway is cut; doors go on posting to it")
        await asyncio.sleep((_KILLED - _CUT) * seconds)
        before = await self._waiting()
        await self.agent.crash()
        after = await self._waiting()
        say(f"agent: {before} events waited with it when it was killed (kill -9); started again, it has {after}")
        await asyncio.sleep((_MENDED - _KILLED) * seconds)
        waiting = await self._waiting()
        self._line.mend()
        self.outage = replace(self.outage, mended=now())
        await self._drained()
        self.outage = replace(self.outage, drained=now())
        say(f"agent: the line is back; the gateway has committed the {waiting} events that waited")

    async def _waiting(self) -> int:
        return int((await self.agent.status())["spooled"])

    async def _drained(self) -> None:
        deadline_s = monotonic_s() + _DRAIN_S_MAX
        while waiting := await self._waiting():
            if monotonic_s() > deadline_s:
                message = f"{waiting} events still wait with the agent {_DRAIN_S_MAX:g} s after its line was mended"
                raise Unavailable(f"{message}; look at {self.agent.config.parent.parent}/agent.log", code="demo_failed")
            await asyncio.sleep(_LOOK_S)


@asynccontextmanager
async def demo_site(data_dir: Path, *, site: str, mqtt_url: str | None) -> AsyncIterator[DemoSite | None]:
    """Run the site's agent; None where no relay can stand before the broker, which is somebody's own, with TLS.

    Raises BadInput (the directory), Unavailable.
    """
    broker = None if mqtt_url is None else broker_address(mqtt_url)
    if broker is None or broker.tls:
        yield None
        return
    async with (
        Line(LOOPBACK, to=(broker.host, broker.port)) as line,
        DemoAgent(data_dir, site=site, mqtt_url=_through(line, broker)) as agent,
    ):
        yield DemoSite(agent, line)


def _through(line: Line, broker: BrokerAddress) -> str:
    who = "" if broker.user is None else f"{quote(broker.user, safe='')}:{quote(broker.password or '', safe='')}@"
    return f"mqtt://{who}{LOOPBACK}:{line.port}"
