"""RADIUS accounting on site: an answer says that it is in the spool; what is not, is not answered and comes again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from edge.collect.composed import radius_of
from edge.collect.radius import RadiusCollector
from edge.config.faults import ConfigFault
from edge.sources import configured_sources
from meter.model.errors import BadInput
from meter.transport.samples import SAMPLES_PER_HOUR_MAX
from tests.edge.agent import RunningAgent, free_port
from tests.edge.clocks import VirtualClock
from tests.edge.collect.kept import Kept, spooled
from tests.edge.told import told_settings
from tests.ingest.radius_peer import SECRETS, Peer, network, packet, peer
from tests.sources.radius_bodies import attributes

STOP = attributes(Acct_Status_Type=2)
AP = {"radius": {"aps": {"secrets": list(SECRETS)}}}


def collector(kept: Kept, *, radius: str = "127.0.0.1:0") -> RadiusCollector:
    settings = told_settings(radius=radius, sources=AP)
    clock = VirtualClock()
    made = radius_of(settings, sources=configured_sources(settings), intake=kept.intake(clock), clock=clock)
    assert made is not None
    return made


class Port:
    """A port before a spool in memory, and a peer of it."""

    def __init__(self, kept: Kept, made: RadiusCollector, address: tuple[str, int], one: Peer) -> None:
        self.kept = kept
        self.collector = made
        self.address = address
        self.peer = one


@asynccontextmanager
async def open_port() -> AsyncIterator[Port]:
    kept = Kept()
    made = collector(kept)
    async with made.listening() as address, peer(address) as one:
        yield Port(kept, made, address, one)
        kept.open()


@pytest_asyncio.fixture
async def port() -> AsyncIterator[Port]:
    async with open_port() as opened:
        yield opened


async def until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not found():  # noqa: ASYNC110 -- a datagram tells nobody
            await asyncio.sleep(0.005)


async def test_an_answer_says_that_it_is_kept(port: Port) -> None:
    sent = packet(STOP, number=7, signed=True)
    port.kept.shut()
    port.peer.send(sent.RequestPacket())
    await until(lambda: port.kept.waiting == 1)
    for _ in range(2):
        port.peer.send(sent.RequestPacket())  # a NAS that waits
    other = packet(STOP, number=8)
    port.peer.send(other.RequestPacket())
    await until(lambda: port.kept.waiting == 2)
    assert port.peer.heard.empty(), "answered before the commit"
    port.kept.open()
    answers = [await port.peer.answer() for _ in range(4)]
    assert sorted(answer[1] for answer in answers) == [7, 7, 7, 8]
    assert sent.VerifyReply(sent.CreateReply(packet=answers[0]))
    (first, second) = port.kept.events
    assert (first["source"], first["subject"]) == ("berlin/wifi/radius-aps", "email:ada@acme.example")
    assert first["id"] == second["id"]
    assert port.collector.state.last == VirtualClock().wall


async def test_a_full_spool_answers_nothing_and_takes_it_later(port: Port) -> None:
    port.kept.full = True
    sent = packet(STOP).RequestPacket()
    for times in range(3):
        port.peer.send(sent)
        await until(lambda wanted=times + 1: port.collector.counted["overloaded"] == wanted)  # type: ignore[misc]
    assert port.peer.heard.empty()
    assert port.collector.state.detail == "3 overloaded"
    port.kept.full = False
    port.peer.send(sent)
    assert (await port.peer.answer())[0] == 5
    assert len(port.kept.events) == 1


async def test_what_is_not_made_with_the_secret_stays_out(port: Port) -> None:
    for number in range(SAMPLES_PER_HOUR_MAX + 5):
        port.peer.send(packet(STOP, secret="guessed", number=number).RequestPacket())
    await until(lambda: port.collector.counted["bad_authenticator"] == SAMPLES_PER_HOUR_MAX + 5)
    await until(lambda: len(port.kept.refusals) == SAMPLES_PER_HOUR_MAX)
    assert port.peer.heard.empty()
    assert port.kept.events == []


async def test_what_counts_nothing_is_answered(port: Port) -> None:
    port.kept.full = True
    port.peer.send(packet(STOP | {"Acct-Status-Type": 9}).RequestPacket())
    assert (await port.peer.answer())[0] == 5
    assert port.kept.items == []


async def test_a_network_that_loses_and_repeats(port: Port) -> None:
    """A NAS sends until it hears; each session's end is there, and nothing else."""
    async with network(port.address, seed=5) as (through, _), peer(through) as nas:
        for number in range(60):
            sent = packet(STOP | {"Acct-Session-Id": f"s-{number}"}, number=number).RequestPacket()
            heard = False
            while not heard:
                nas.send(sent)
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        while not heard:  # late answers to earlier ones are no reason to send again
                            heard = (await nas.heard.get())[1] == number
    assert len({event["id"] for event in port.kept.events}) == 60


async def test_a_port_that_is_taken_is_named(port: Port) -> None:
    with pytest.raises(BadInput, match="METER_EDGE_RADIUS"):
        async with collector(port.kept, radius=f"127.0.0.1:{port.address[1]}").listening():
            pass


def test_a_source_without_the_port_is_a_fault() -> None:
    with pytest.raises(ConfigFault, match=r"METER_EDGE_SOURCES__RADIUS__APS: needs the port .* METER_EDGE_RADIUS"):
        configured_sources(told_settings(sources=AP))
    with pytest.raises(ConfigFault, match="METER_EDGE_RADIUS: 'nowhere' is not HOST:PORT"):
        told_settings(radius="nowhere")


async def test_what_was_answered_outlives_a_kill(tmp_path: Path) -> None:
    udp = free_port()
    env = {
        "METER_EDGE_GATEWAY__HTTP_URL": "http://127.0.0.1:9",
        "METER_EDGE_RADIUS": f"127.0.0.1:{udp}",
        "METER_EDGE_SOURCES__RADIUS__APS__SECRETS": json.dumps(SECRETS),
    }
    agent = RunningAgent(tmp_path / "edge", env=env)
    answered: set[str] = set()
    async with agent:
        for turn in range(3):
            async with peer(("127.0.0.1", udp)) as nas:
                for number in range(80):
                    made = STOP | {
                        "Acct-Session-Id": f"s-{turn}-{number}",
                        "User-Name": f"{turn}.{number}@acme.example",
                    }
                    nas.send(packet(made, number=number).RequestPacket())
                for _ in range(40):
                    answered.add(f"email:{turn}.{(await nas.answer())[1]}@acme.example")
                await agent.kill()
                while not nas.heard.empty():
                    answered.add(f"email:{turn}.{nas.heard.get_nowait()[1]}@acme.example")
            await agent.start()
    assert len(answered) >= 120
    assert answered <= {event["subject"] for event in spooled(tmp_path / "edge")}
