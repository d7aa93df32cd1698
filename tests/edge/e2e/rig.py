"""From devices to the bill over real processes, each of which is killed, and wires between them that are cut.

devices ─▶ agent ──wire──▶ broker ──wire──▶ gateway ─▶ PostgreSQL
              └───────────────wire──────────────┘
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from meter.embedded.partdir import LOOPBACK
from meter.rundir import admin_key
from tests.edge.agent import RunningAgent, free_port
from tests.edge.e2e.bill import Verdict, catalog, judged
from tests.edge.e2e.brokers import Broker
from tests.edge.e2e.devices import DEVICES, Device, Journal
from tests.edge.e2e.schedule import Fault
from tests.edge.e2e.suffering import Suffering
from tests.edge.e2e.wires import Wire
from tests.gateway import RunningGateway

# What an agent waits at the most before it connects again, and as much for what then drains.
DRAIN_S: Final = 180
# A broker loses its data with so many events in it that the gateway has not heard.
_QUEUED_EVENTS: Final = 40
_ONLINE_S: Final = 30
_SETTLINGS_MAX: Final = 20
AGENT: Final = ("edge", "run")


@dataclass(kw_only=True)
class Rig(Suffering):
    """The parts."""

    agent: RunningAgent
    broker: Broker
    gateway: RunningGateway
    journal: Journal = field(default_factory=Journal)

    def devices(self, *, seed: int, pause_s: float, count: int = DEVICES, part: str = "e") -> list[Device]:
        url = f"http://{LOOPBACK}:{self.agent.port}"
        numbers = range(count)
        return [Device(n, url=url, journal=self.journal, seed=seed, pause_s=pause_s, part=part) for n in numbers]

    @asynccontextmanager
    async def posting(self, devices: Sequence[Device]) -> AsyncIterator[None]:
        """Have devices post for as long as the context is open; each hears the answer to its last post."""
        over = False
        tasks = [asyncio.create_task(device.run(lambda: over)) for device in devices]
        try:
            yield
        finally:
            over = True
            await asyncio.gather(*tasks)

    async def _kill_broker(self, fault: Fault) -> None:
        await self.broker.kill()
        await self.journal.more(fault.lasts)
        await self.broker.start()

    async def _lose_broker(self, _fault: Fault) -> None:
        """Delete the broker's data while it holds what the gateway has not heard."""
        await self.online()
        async with self.alone("broker_gateway"):
            wire = self.wires["broker_gateway"]
            wire.break_("silent")
            await self.journal.more(_QUEUED_EVENTS)
            await self.broker.kill()
            self.broker.forget()
            wire.heal()
            await self.broker.start()

    async def _kill_gateway(self, fault: Fault) -> None:
        await self.gateway.kill()
        await self.journal.more(fault.lasts)
        await self.gateway.start()

    async def _kill_agent(self, _fault: Fault) -> None:
        await self.agent.kill()
        await self.agent.start()

    async def online(self) -> None:
        """Wait until the agent reaches the gateway, or give up: another fault may keep it from that."""
        deadline_s = asyncio.get_running_loop().time() + _ONLINE_S
        while asyncio.get_running_loop().time() < deadline_s:
            try:
                if (await self.agent.get("/v1/status"))["online"]:
                    return
            except (aiohttp.ClientError, OSError):
                pass  # it is just being killed
            await asyncio.sleep(0.1)

    async def verdict(self) -> Verdict:
        """Let everything arrive that can, and judge."""
        for wire in self.wires.values():
            if wire.cut:
                wire.heal()
        try:
            await self.agent.drained(within_s=DRAIN_S)
        except AssertionError as error:
            message = f"{error}\nthe gateway's log:\n{self.gateway.log.read_text()[-4000:]}"
            raise AssertionError(message) from None
        await self.agent.stop()
        await self._settled()
        return await judged(self.gateway, self.journal)

    async def _settled(self) -> None:
        """Wait until all that the gateway has heard is stored and billed; what is not acknowledged may still come."""
        for _ in range(_SETTLINGS_MAX):
            ((stored,),) = await self.gateway.rows("SELECT count(*) FROM events")
            try:
                await self.gateway.settled(events=stored)
            except TimeoutError:
                break
            except AssertionError:
                continue  # more has come meanwhile
            return
        message = f"the gateway does not come to an end:\n{self.gateway.log.read_text()[-4000:]}"
        raise AssertionError(message)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A gateway and its broker, with a wire between them; `port` is the gateway's own."""

    gateway: RunningGateway
    broker: Broker
    wire: Wire
    port: int


@asynccontextmanager
async def served(
    directory: Path, *, database_url: str, broker: Callable[[Path], Broker], space: str, program: str = "meter"
) -> AsyncIterator[Served]:
    """Run a gateway with the catalog `space`."""
    catalog_file = directory / "catalog.yaml"
    catalog_file.write_text(space)
    server = broker(directory / "broker")
    await server.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.kill)
        port, wire = free_port(), await stack.enter_async_context(Wire(server.port))
        env = {
            "METER_CATALOG": str(catalog_file),
            "METER_DATABASE_URL": database_url,
            "METER_MQTT_URL": f"mqtt://{LOOPBACK}:{wire.port}",
            "METER_HTTP": f"{LOOPBACK}:{port}",
        }
        gateway = await stack.enter_async_context(RunningGateway(directory, env=env, program=program))
        yield Served(gateway=gateway, broker=server, wire=wire, port=port)


@asynccontextmanager
async def rigged(
    directory: Path,
    *,
    database_url: str,
    broker: Callable[[Path], Broker],
    over: Sequence[str] = ("mqtt",),
    command: Sequence[str] = AGENT,
    program: str = "meter",
) -> AsyncIterator[Rig]:
    """Run a gateway, a broker and an agent that reaches them `over` MQTT, HTTP or both."""
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(
            served(directory, database_url=database_url, broker=broker, space=catalog(), program=program)
        )
        mqtt = await stack.enter_async_context(Wire(there.broker.port))
        http = await stack.enter_async_context(Wire(there.port))
        env = {"METER_EDGE_SPOOL__EVENTS_MAX": "2000"}
        if "mqtt" in over:
            env["METER_EDGE_GATEWAY__MQTT_URL"] = f"mqtt://{LOOPBACK}:{mqtt.port}"
        if "http" in over:
            env["METER_EDGE_GATEWAY__HTTP_URL"] = f"http://{LOOPBACK}:{http.port}"
            env["METER_EDGE_GATEWAY__API_KEY"] = admin_key(directory)
        agent = await stack.enter_async_context(RunningAgent(directory / "edge", env=env, command=command))
        wires = {"agent_broker": mqtt, "broker_gateway": there.wire, "agent_gateway": http}
        yield Rig(agent=agent, broker=there.broker, gateway=there.gateway, wires=wires)
