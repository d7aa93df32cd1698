"""Polls: the cursor is stored with the events, what does not answer is asked later, and a full spool is waited for."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from edge.check import check
from edge.collect import poll as module
from edge.collect.composed import collectors_of
from edge.collect.poll import HOLD, Poller, Transports
from edge.config.faults import ConfigFault
from edge.config.settings import EdgeSettings
from edge.sources import configured_sources
from meter.embedded.partdir import LOOPBACK
from meter.model.instant import EPOCH, instant_text
from tests.edge.agent import RunningAgent
from tests.edge.clocks import VirtualClock
from tests.edge.collect.kept import Kept, spooled
from tests.edge.collect.logs import FORMAT, line, numbers
from tests.edge.told import told_settings
from tests.ingest.loopback import served
from tests.sources.snmp_agent import COMMUNITY, free_udp_port, printer_agent

NEXUDUS = {"secrets": ["s"], "api_key": "k:v"}


def settings(**sources: Any) -> EdgeSettings:
    return told_settings(sources=sources)


@pytest_asyncio.fixture
async def transports() -> AsyncIterator[Transports]:
    async with aclosing(Transports(VirtualClock())) as made:
        yield made


def poller(kept: Kept, transports: Transports, clock: VirtualClock | None = None, **sources: Any) -> Poller:
    told, clock = settings(**sources), clock or VirtualClock()
    (found,) = collectors_of(
        told,
        sources=configured_sources(told),
        transports=transports,
        keeper=kept.keeper,
        intake=kept.intake(clock),
        clock=clock,
    )
    assert isinstance(found, Poller)
    return found


def files(path: Path) -> dict[str, Any]:
    return {"cups": {"hall": {"every_s": 7, "options": {"path": str(path), "format": FORMAT}}}}


async def test_the_cursor_is_stored_with_the_events(tmp_path: Path, transports: Transports) -> None:
    kept, clock = Kept(), VirtualClock()
    path = tmp_path / "page_log"
    path.write_bytes(line(1) + line(2))
    one = poller(kept, transports, clock, **files(path))
    clock.advance(timedelta(minutes=1))
    assert await one.poll() == 7
    assert numbers(kept) == [1, 2]
    assert one.state.complete_until == clock.wall
    assert all(item.stamped for item in kept.items)
    assert json.loads(kept.stored[one.name])["cursor"]["files"].keys() == {"page_log"}
    await one.poll()
    assert numbers(kept) == [1, 2], "a file that did not change"
    again = poller(kept, transports, clock, **files(path))
    await again.remember()
    await again.poll()
    assert numbers(kept) == [1, 2]


async def test_a_long_answer_is_kept_in_portions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transports: Transports
) -> None:
    """The cursor comes with the last: what was not kept is asked for again."""
    monkeypatch.setattr(module, "_PORTION_EVENTS", 10)
    kept = Kept()
    path = tmp_path / "page_log"
    path.write_bytes(b"".join(map(line, range(35))))
    one = poller(kept, transports, **files(path))
    puts: list[int] = []
    put = kept.put

    async def counting(items: Any, positions: Any = None) -> Any:
        made = tuple(items)
        puts.append(len(made))
        assert bool(positions) == (len(puts) == 4)
        return await put(made, positions)

    monkeypatch.setattr(kept, "put", counting)
    await one.poll()
    assert puts == [10, 10, 10, 5]
    assert numbers(kept) == [*range(35)]


async def test_a_full_spool_is_waited_for(tmp_path: Path, transports: Transports) -> None:
    kept = Kept()
    path = tmp_path / "page_log"
    path.write_bytes(line(1))
    one = poller(kept, transports, **files(path))
    kept.full = True
    await one.poll()
    assert (one.state.state, one.state.complete_until, kept.stored) == ("waiting", EPOCH, {})
    kept.full = False
    await one.poll()
    assert numbers(kept) == [1]


async def test_who_does_not_answer_is_asked_later_each_time(transports: Transports) -> None:
    status, headers = 503, {"Retry-After": "900"}

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers, body=b"{")

    kept = Kept()
    async with served(answer) as base:
        one = poller(kept, transports, nexudus={"main": {**NEXUDUS, "api_base": base}})
        assert await one.poll() == 900
        headers = {}
        waits = [await one.poll() for _ in range(4)]
        assert waits == sorted(waits)
        assert 3 <= waits[0] <= waits[-1] <= 3600
        assert (one.state.state, one.state.complete_until) == ("failing", EPOCH)
        status = 401
        assert await one.poll() >= 600
        assert kept.items == []
        status = 200
        await one.poll()
        assert len(kept.refusals) == 1, "what cannot be read is kept for people"


async def test_a_printer_is_asked_by_snmp(data_dir: Path, tmp_path: Path, transports: Transports) -> None:
    """Its library is loaded by who needs it, and it is a reading of the agent's own clock."""
    port = free_udp_port()
    source: dict[str, Any] = {"snmp": {"lounge": {"api_base": f"snmp://{LOOPBACK}:{port}", "api_key": COMMUNITY}}}
    env = {"METER_EDGE_GATEWAY__HTTP_URL": "http://127.0.0.1:9", "METER_EDGE_SOURCES": json.dumps(source)}
    async with printer_agent(data_dir, port, count=4_294_967_290):
        kept = Kept()
        one = poller(kept, transports, **source)
        assert await one.poll() == 900
        (event,) = kept.events
        assert (event["data"]["count"], kept.items[0].stamped) == (4_294_967_290, True)
        found = {finding.about: finding for finding in await check(settings(**source))}
        assert found["polled snmp/lounge"].detail == "answers over snmp: 1 printer.counter"
        async with RunningAgent(tmp_path / "edge", env=env) as agent, asyncio.timeout(30):
            while not (await agent.get("/v1/status"))["spooled"]:
                pass
    (event,) = spooled(tmp_path / "edge")
    assert event["source"] == "berlin/print/snmp-lounge"


@asynccontextmanager
async def silent_printer(port: int) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """Hears questions, which are given, and answers none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as printer:
        printer.setblocking(False)
        printer.bind((LOOPBACK, port))
        yield partial(asyncio.get_running_loop().sock_recv, printer, 4_096)


async def test_an_agent_that_asks_a_silent_printer_ends_when_it_is_told_to(tmp_path: Path) -> None:
    port = free_udp_port()
    source: dict[str, Any] = {"snmp": {"lounge": {"api_base": f"snmp://{LOOPBACK}:{port}", "api_key": COMMUNITY}}}
    env = {"METER_EDGE_GATEWAY__HTTP_URL": "http://127.0.0.1:9", "METER_EDGE_SOURCES": json.dumps(source)}
    async with silent_printer(port) as asked, RunningAgent(tmp_path / "edge", env=env) as agent:
        assert await asyncio.wait_for(asked(), 30)
        assert await agent.stop() == 0


def unanswered(kept: Kept, transports: Transports, clock: VirtualClock) -> Poller:
    return poller(kept, transports, clock, nexudus={"main": {**NEXUDUS, "api_base": "http://127.0.0.1:9"}})


async def test_a_month_waits_for_who_is_silent_for_a_while(transports: Transports) -> None:
    """Named from the first on, also by an agent that was started anew meanwhile."""
    kept, clock = Kept(), VirtualClock()
    first = clock.wall
    one = unanswered(kept, transports, clock)
    await one.poll()
    assert (one.state.state, one.state.complete_until) == ("failing", EPOCH)
    assert str(one.state.detail).startswith(f"no answer since {instant_text(first)}: ")
    clock.advance(HOLD - timedelta(seconds=1))
    await one.poll()
    assert one.state.complete_until == EPOCH
    anew = unanswered(kept, transports, clock)
    await anew.remember()
    await anew.poll()
    assert (anew.state.state, anew.state.complete_until) == ("failing", EPOCH)
    clock.advance(timedelta(seconds=1))
    for waited in (one, anew):
        assert (waited.state.state, waited.state.complete_until) == ("failing", None)
        assert instant_text(first) in str(waited.state.detail)


async def test_who_answers_again_is_waited_for_again(tmp_path: Path, transports: Transports) -> None:
    kept, clock = Kept(), VirtualClock()
    path = tmp_path / "page_log"
    one = poller(kept, transports, clock, **files(path))
    await one.poll()
    clock.advance(HOLD)
    silent = one.state
    assert (silent.state, silent.complete_until) == ("failing", None)
    path.write_bytes(line(1))
    await one.poll()
    assert (one.state.state, one.state.complete_until) == ("running", clock.wall)
    path.unlink()
    await one.poll()
    assert one.state.complete_until == clock.wall, "silent from now on, not since then"


async def test_what_no_bill_depends_on_holds_no_month(transports: Transports) -> None:
    one = poller(Kept(), transports, snmp={"lounge": {"api_base": "snmp://"}})
    await one.poll()
    assert (one.state.state, one.state.complete_until) == ("failing", None)


async def test_a_poll_that_is_answered_twice_is_one_sample(data_dir: Path, transports: Transports) -> None:
    """By the agent, and by the one that is started after a kill; nothing is written where nothing has changed."""
    port, kept = free_udp_port(), Kept()
    source: dict[str, Any] = {"snmp": {"lounge": {"api_base": f"snmp://{LOOPBACK}:{port}", "api_key": COMMUNITY}}}
    async with printer_agent(data_dir, port, count=41):
        one = poller(kept, transports, **source)
        await one.poll()
        stored = dict(kept.stored)
        kept.full = True  # whatever is written now fails
        await one.poll()
        anew = poller(kept, transports, **source)
        await anew.remember()
        await anew.poll()
    assert (one.state.state, anew.state.state) == ("running", "running")
    assert (len(kept.events), kept.stored) == (1, stored)


def test_snmp_without_its_library_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysnmp", None)
    with pytest.raises(ConfigFault, match=r"SOURCES__SNMP__LOUNGE: .* pip install .*edge-snmp"):
        configured_sources(settings(snmp={"lounge": {"api_base": "snmp://127.0.0.1:9"}}))


@pytest.mark.parametrize(
    ("sources", "named"),
    [
        ({"ipp": {"hall": {}}}, "SOURCES__IPP__HALL: needs"),
        ({"ipp": {"hall": {"api_base": "http://10.0.0.9", "every_s": 1}}}, "SOURCES__IPP__HALL__EVERY_S: is 1"),
        ({"kisi": {"main": {}}}, "SOURCES__KISI__MAIN: needs"),
    ],
)
def test_what_cannot_be_polled_is_named(sources: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        configured_sources(settings(**sources))
    assert named in caught.value.detail
