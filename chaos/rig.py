"""Every process of the run and the wires between them, with what can be done to each.

agent's doors ─▶ agent ──wire──▶ broker ──wire──▶ gateway a ─wire─▶ PostgreSQL      gateways ──wire──▶ Stripe, webhooks
                   └──────wire (HTTP)──────────▶ gateway b ─wire──▶                       (fakes, in this process)
printers ──wire──▶ broker;  printers, locks ──wire──▶ gateway a or b
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chaos.journal import Journal
from chaos.oracle import Verdict, judged
from chaos.parts import Gateway, Postgres, family, signalled
from chaos.reading import at_rest, read
from chaos.schedule import WIRES
from chaos.senders import LOOPBACK, AgentDoor, HookedDoor, HttpPrinter, MqttPrinter, Sender
from chaos.world import ACCOUNTS, Pack, catalog, customer_of
from tests.edge.agent import RunningAgent, free_port
from tests.edge.e2e.brokers import NatsBroker
from tests.edge.e2e.schedule import Fault
from tests.edge.e2e.suffering import Suffering
from tests.edge.e2e.wires import Wire
from tests.targets.fakes.receiver import SECRET, FakeReceiver
from tests.targets.fakes.stripe import FakeStripe

# Longer than any back-off of a sender, an agent and a lane together, on a machine that does much else.
DRAIN_S: Final = 300
# The agent keeps 32 MB free of any disk.
SPOOL_MB: Final = 96
TARGETS: Final = 3
_KISI: Final = "a-secret-of-the-run-that-signs-kisi"
# Longer than a lease: half of the frozen are replaced, and come back as zombies.
_FROZEN_S: Final = (1.0, 18.0)
_WRONG_S: Final = 3 * 3600


def mounted(directory: Path) -> bool:
    """Return whether a small disk of its own could be mounted there: for root alone."""
    directory.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={SPOOL_MB}m", "tmpfs", str(directory)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass(kw_only=True)
class Rig(Suffering):
    """The parts. `key` is the administrator's, of both gateways."""

    journal: Journal
    directory: Path
    pack: Pack
    key: str
    postgres: Postgres
    broker: NatsBroker
    gateways: Mapping[str, Gateway]
    agent: RunningAgent
    ports: Mapping[str, int]
    stripe: FakeStripe
    receiver: FakeReceiver
    books: FakeReceiver
    small_disk: bool

    @property
    def skipped(self) -> frozenset[str]:
        """Return the faults that cannot be here."""
        return frozenset() if self.small_disk else frozenset({"fill_disk"})

    def senders(self, *, seed: int, pause_s: float) -> list[Sender]:
        """Return the devices."""
        urls = [f"http://{LOOPBACK}:{self.wires[name].port}" for name in ("device_a", "device_b")]
        agent = [f"http://{LOOPBACK}:{self.agent.port}"]
        broker = self.wires["device_broker"].port
        told: dict[str, Any] = {"journal": self.journal, "seed": seed, "pause_s": pause_s}
        return [
            *(AgentDoor(n, urls=agent, key="", **told) for n in range(4)),
            *(HttpPrinter(n, urls=urls, key=self.key, **told) for n in range(3)),
            *(MqttPrinter(n, port=broker, **told) for n in range(3)),
            *(HookedDoor(n, urls=urls, secret=_KISI, **told) for n in range(3)),
        ]

    @asynccontextmanager
    async def sending(self, *, seed: int, pause_s: float) -> AsyncIterator[None]:
        """Have devices send while the context is open; it is left once all of them were told that all is safe."""
        over = False
        tasks = [asyncio.create_task(one.run(lambda: over)) for one in self.senders(seed=seed, pause_s=pause_s)]
        try:
            yield
            over = True
            async with asyncio.timeout(DRAIN_S):
                await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- faults -------------------------------------------------------------------------------------------------------

    async def _kill_gateway_a(self, fault: Fault) -> None:
        await self._kill_gateway("gateway_a", fault)

    async def _kill_gateway_b(self, fault: Fault) -> None:
        await self._kill_gateway("gateway_b", fault)

    async def _kill_gateway(self, name: str, fault: Fault) -> None:
        await self.gateways[name].kill()
        await self.journal.more(fault.lasts)
        await self.gateways[name].start()

    async def _kill_agent(self, fault: Fault) -> None:
        await self.agent.kill()
        await self.journal.more(fault.lasts)
        await self.agent.start()

    async def _kill_broker(self, fault: Fault) -> None:
        await self.broker.kill()
        await self.journal.more(fault.lasts)
        await self.broker.start()

    async def _kill_postgres(self, fault: Fault) -> None:
        await self._end_postgres(signal.SIGKILL, fault)

    async def _stop_postgres(self, fault: Fault) -> None:
        await self._end_postgres(signal.SIGQUIT, fault)

    async def _end_postgres(self, how: signal.Signals, fault: Fault) -> None:
        await self.postgres.kill(how)
        await self.journal.more(fault.lasts)
        await self.postgres.start()

    async def _freeze_gateway_a(self, fault: Fault) -> None:
        await self._freeze(self.gateways["gateway_a"].pid, fault)

    async def _freeze_gateway_b(self, fault: Fault) -> None:
        await self._freeze(self.gateways["gateway_b"].pid, fault)

    async def _freeze_agent(self, fault: Fault) -> None:
        await self._freeze(self.agent.process.pid, fault)

    async def _freeze_broker(self, fault: Fault) -> None:
        await self._freeze(self.broker.pid, fault)

    async def _freeze_postgres(self, fault: Fault) -> None:
        await self._freeze(self.postgres.pid, fault)

    async def _freeze(self, pid: int | None, fault: Fault) -> None:
        """Stop a process and all its children, and have them go on as if nothing had been."""
        pids = [] if pid is None else family(pid)
        signalled(pids, signal.SIGSTOP)
        try:
            await asyncio.sleep(_FROZEN_S[fault.lost])
        finally:
            signalled(pids, signal.SIGCONT)

    async def _fill_disk(self, fault: Fault) -> None:
        """Leave the agent no byte to write."""
        async with self.alone("agent"):
            filler = self.directory / "edge" / "filler"
            await asyncio.to_thread(_filled, filler)
            await self.journal.more(fault.lasts)
            filler.unlink()
            if self.agent.process.returncode is not None:  # it may end itself, and systemd starts it
                await self.agent.start()

    async def _jump_clock(self, fault: Fault) -> None:
        """Have the agent's machine start with a clock that is hours off until NTP sets it."""
        async with self.alone("agent"):
            ntp = self.directory / f"ntp-{self.done['jump_clock']}"
            clock = {
                "since_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 570 * 10**9,
                "boot": secrets.token_hex(4),
                "off_s": _WRONG_S if fault.lost else -_WRONG_S,
                "ntp": str(ntp),
            }
            await self.agent.kill()
            self.agent.command = ("tests.edge.e2e.child", json.dumps({"clock": clock}))
            await self.agent.start()
            await self.journal.more(fault.lasts)
            ntp.touch()

    # --- the end ------------------------------------------------------------------------------------------------------

    async def whole(self) -> None:
        """Mend every wire, and start whatever does not run."""
        for wire in self.wires.values():
            if wire.cut:
                wire.heal()
        await self.served()
        if self.agent.process.returncode is not None:
            await self.agent.start()

    async def served(self) -> None:
        """Start the gateways that do not run."""
        await asyncio.gather(*(gateway.start() for gateway in self.gateways.values() if gateway.pid is None))

    async def settled(self) -> bool:
        """Return whether all that was sent is stored, rated and told to the targets."""
        await self.agent.drained(within_s=DRAIN_S)
        return await at_rest(self.postgres.url, targets=TARGETS, within_s=DRAIN_S)

    async def verdict(self) -> Verdict:
        """Hold what is there to what was meant."""
        url = f"http://{LOOPBACK}:{self.ports['gateway_a']}"
        held = await read(
            self.postgres.url, url, self.key, stripe=self.stripe, receiver=self.receiver, books=self.books
        )
        return judged(self.journal.intents, self.journal.told, held, self.pack)


def _filled(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


def _through(postgres: Postgres, wire: Wire) -> str:
    return postgres.url.replace(f":{postgres.port}/", f":{wire.port}/")


@asynccontextmanager
async def rigged(directory: Path, *, pack: Pack, watched: Mapping[str, str] | None = None) -> AsyncIterator[Rig]:
    """Start everything in `directory`. `watched`: gateways are `chaos.child`, with this environment."""
    directory.chmod(0o711)  # noqa: ASYNC240 -- nothing runs yet
    key, identities = secrets.token_urlsafe(24), secrets.token_urlsafe(32)
    (directory / "catalog.yaml").write_text(catalog(pack))
    async with AsyncExitStack() as stack:
        journal = stack.enter_context(Journal(directory / "journal.jsonl"))
        postgres, broker = Postgres(directory / "database"), NatsBroker(directory / "broker")
        (directory / "database").mkdir(mode=0o711)
        for part in (postgres, broker):
            stack.push_async_callback(part.kill)
            await part.start()
        stripe, receiver, books = FakeStripe(reference="meter_batch"), FakeReceiver(), FakeReceiver()
        rate = stripe.add_tax_rate("19")
        for n in range(ACCOUNTS):
            stripe.add_customer(customer_of(f"a{n}"))
        for fake in (stripe, receiver, books):
            await stack.enter_async_context(fake)
        ports = {"gateway_a": free_port(), "gateway_b": free_port()}
        fakes = {"stripe": stripe, "receiver": receiver, "books": books}
        ends = {
            **dict.fromkeys(("postgres_a", "postgres_b"), postgres.port),
            **dict.fromkeys(("broker_a", "broker_b", "agent_broker", "device_broker"), broker.port),
            "agent_http": ports["gateway_b"],
            "device_a": ports["gateway_a"],
            "device_b": ports["gateway_b"],
            **{name: int(fake.url.rpartition(":")[2]) for name, fake in fakes.items()},
        }
        wires = {name: await stack.enter_async_context(Wire(ends[name])) for name in WIRES}
        at = {name: f"http://{LOOPBACK}:{wire.port}" for name, wire in wires.items()}
        targets = {
            "stripe": {
                "kind": "stripe", "grain": "day", "base_url": at["stripe"], "api_key": "sk_of_the_fake",
                "options": {"tax_codes": {"vat19": rate}},
            },
            "receiver": {"kind": "webhook", "base_url": f"{at['receiver']}/hook", "secrets": [SECRET]},
            "books": {
                "kind": "webhook", "base_url": f"{at['books']}/hook", "secrets": [SECRET],
                "options": {"dataset": "journal"},
            },
            "ledger": {"kind": "ledger", "enabled": False},
        }  # fmt: skip
        gateways = {}
        for name in ("gateway_a", "gateway_b"):
            (directory / name).mkdir(mode=0o711)
            env = {
                "METER_CATALOG": str(directory / "catalog.yaml"),
                "METER_DATABASE_URL": _through(postgres, wires[f"postgres_{name[-1]}"]),
                "METER_MQTT_URL": f"mqtt://{LOOPBACK}:{wires[f'broker_{name[-1]}'].port}",
                "METER_HTTP": f"{LOOPBACK}:{ports[name]}",
                "METER_ADMIN_KEY": key,
                "METER_IDENTITY_KEY": identities,
                "METER_LOG_LEVEL": "warning",
                "METER_TARGETS": json.dumps(targets),
                "METER_WEBHOOKS": json.dumps({"kisi": {"front": {"secrets": [_KISI], "site": "berlin"}}}),
                # As often as can be set, so that faults meet what is sealed.
                "METER_AUDIT": json.dumps({"seal_s": 1, "every_s": 10}),
                **(watched or {}),
            }
            gateway = Gateway(directory / name, env=env, program="chaos.child" if watched else "meter")
            gateways[name] = await stack.enter_async_context(gateway)
        small = mounted(directory / "edge")
        if small:
            stack.callback(subprocess.run, ["umount", "-l", str(directory / "edge")], check=False)
        told = {
            "METER_EDGE_SPOOL__EVENTS_MAX": "4000",
            "METER_EDGE_GATEWAY__MQTT_URL": f"mqtt://{LOOPBACK}:{wires['agent_broker'].port}",
            "METER_EDGE_GATEWAY__HTTP_URL": at["agent_http"],
            "METER_EDGE_GATEWAY__API_KEY": key,
        }
        running = await stack.enter_async_context(RunningAgent(directory / "edge", env=told))
        yield Rig(
            journal=journal, wires=wires, directory=directory, pack=pack, key=key, postgres=postgres, broker=broker,
            gateways=gateways, agent=running, ports=ports, stripe=stripe, receiver=receiver, books=books,
            small_disk=small,
        )  # fmt: skip
