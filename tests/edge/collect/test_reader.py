"""Card readers at a serial port (a pty) and as a keyboard (a FIFO in its place): gone and back, and a full spool."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from edge.collect import reader as module
from edge.collect.keys import Characters
from edge.collect.reader import ReaderCollector
from edge.config.faults import ConfigFault
from edge.config.settings import ReaderSettings
from tests.edge.agent import RunningAgent
from tests.edge.clocks import VirtualClock
from tests.edge.collect.kept import Kept, spooled
from tests.edge.collect.keyboard import keys
from tests.edge.told import told_settings


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_GONE_S", "_FULL_S"):
        monkeypatch.setattr(module, name, 0.02)
    monkeypatch.setattr(module, "SETTLED_S", 0.0)


class Port:
    """A serial port, behind a name that stays while the port comes and goes."""

    def __init__(self, name: Path) -> None:
        self.name = name
        self.master = -1

    def plug_in(self) -> None:
        self.master, slave = pty.openpty()
        self.name.unlink(missing_ok=True)
        self.name.symlink_to(os.ttyname(slave))
        os.close(slave)

    def pull_out(self) -> None:
        os.close(self.master)
        self.name.unlink()

    def type(self, text: bytes) -> None:
        os.write(self.master, text)


def made(kept: Kept, device: Path, **more: Any) -> ReaderCollector:
    settings = ReaderSettings(device=str(device), door="main", direction="in", **more)
    clock = VirtualClock()
    return ReaderCollector("front", settings, site="berlin", intake=kept.intake(clock), clock=clock)


@asynccontextmanager
async def running(collector: ReaderCollector) -> AsyncIterator[ReaderCollector]:
    task = asyncio.create_task(collector.run())
    try:
        yield collector
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not found():  # noqa: ASYNC110 -- a device tells nobody
            await asyncio.sleep(0.005)


def opened(collector: ReaderCollector) -> Callable[[], bool]:
    return lambda: collector.state.state == "running"


async def test_a_number_is_an_access(tmp_path: Path) -> None:
    kept, port = Kept(), Port(tmp_path / "reader")
    port.plug_in()
    async with running(made(kept, port.name, form="decimal", bytes=4)) as collector:
        await until(opened(collector))
        port.type(b"77764891\r\nno number\r\n")
        await until(lambda: len(kept.items) == 2)
    (event,) = kept.events
    assert (event["source"], event["subject"]) == ("berlin/door/reader-front", "badge:04A2991B")
    assert event["data"] == {"door": "main", "granted": True, "direction": "in"}
    assert kept.items[0].stamped
    assert len(kept.refusals) == 1
    port.pull_out()


async def test_another_kind_of_identity_is_kept_as_it_is(tmp_path: Path) -> None:
    kept, port = Kept(), Port(tmp_path / "reader")
    port.plug_in()
    async with running(made(kept, port.name, kind="member-card")) as collector:
        await until(opened(collector))
        port.type(b"0042\n")
        await until(lambda: len(kept.events) == 1)
    assert kept.events[0]["subject"] == "member-card:0042"
    port.pull_out()


async def test_a_reader_that_is_pulled_out_is_told_and_heard_again(tmp_path: Path) -> None:
    kept, port = Kept(), Port(tmp_path / "reader")
    async with running(made(kept, port.name)) as collector:
        await until(lambda: "No such file" in str(collector.state.detail))
        for number in range(3):
            port.plug_in()
            await until(opened(collector))
            port.type(b"04A2991%d\n123" % number)
            await until(lambda count=number + 1: len(kept.events) == count)  # type: ignore[misc]
            port.pull_out()
            await until(lambda: collector.state.state == "failing")
    assert [event["subject"] for event in kept.events] == [f"badge:04A2991{number}" for number in range(3)]


async def test_half_a_number_is_dropped_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HALF_S", 0.05)
    kept, port = Kept(), Port(tmp_path / "reader")
    dropped = asyncio.Event()
    drop = Characters.drop

    def told(typed: Characters) -> None:
        drop(typed)
        dropped.set()

    monkeypatch.setattr(Characters, "drop", told)
    port.plug_in()
    async with running(made(kept, port.name)) as collector:
        await until(opened(collector))
        port.type(b"0102")
        await asyncio.wait_for(dropped.wait(), 20)
        port.type(b"04A2991B\n")
        await until(lambda: len(kept.events) == 1)
    assert kept.events[0]["subject"] == "badge:04A2991B"
    port.pull_out()


async def test_the_rest_of_a_number_is_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed right after the start may have begun before it."""
    monkeypatch.setattr(module, "SETTLED_S", 3600.0)
    kept, port = Kept(), Port(tmp_path / "reader")
    port.plug_in()
    async with running(made(kept, port.name)) as collector:
        await until(opened(collector))
        port.type(b"991B\r\n04A2991C\r\n")
        await until(lambda: len(kept.events) == 1)
    assert kept.events[0]["subject"] == "badge:04A2991C"
    port.pull_out()


async def test_half_a_number_at_a_kill_is_no_event(tmp_path: Path) -> None:
    card = "04A2991B"
    port = Port(tmp_path / "reader")
    port.plug_in()
    reader = {"front": {"device": str(port.name), "door": "main"}}
    env = {"METER_EDGE_GATEWAY__HTTP_URL": "http://127.0.0.1:9", "METER_EDGE_READERS": json.dumps(reader)}
    agent = RunningAgent(tmp_path / "edge", env=env)

    async def spooled_events() -> int:
        found: int = (await agent.get("/v1/status"))["spooled"]
        return found

    async def a_card_is_heard() -> None:
        before = await spooled_events()
        async with asyncio.timeout(30):
            while await spooled_events() == before:
                port.type(f"{card}\n".encode())  # the first ones come before the reader has settled
                await asyncio.sleep(0.2)

    async with agent:
        for _ in range(2):
            await a_card_is_heard()
            port.type(card[:4].encode())
            await agent.kill()
            port.type(f"{card[4:]}\n".encode())
            await agent.start()
        await a_card_is_heard()
    assert {event["subject"] for event in spooled(tmp_path / "edge")} == {f"badge:{card}"}
    port.pull_out()


async def test_cards_wait_for_room_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_MAX", 3)
    kept, port = Kept(), Port(tmp_path / "reader")
    port.plug_in()
    async with running(made(kept, port.name)) as collector:
        await until(opened(collector))
        kept.full = True
        port.type(b"".join(b"04A2991%d\n" % number for number in range(5)))
        await until(lambda: collector.dropped == 2 and collector.state.state == "waiting")
        assert collector.state.complete_until == VirtualClock().wall
        kept.full = False
        await until(lambda: len(kept.events) == 3)
        assert collector.state.detail == "2 cards had no room"
    assert [event["subject"][-1] for event in kept.events] == ["0", "1", "2"]
    port.pull_out()


async def test_a_keyboard_is_heard_by_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO takes the device's place: it gives the same bytes and cannot be grabbed."""
    grabbed: list[int] = []
    monkeypatch.setattr(fcntl, "ioctl", lambda _device, request, _on: grabbed.append(request))
    monkeypatch.setattr(module, "_INPUT", str(tmp_path))
    kept, device = Kept(), tmp_path / "event-kbd"
    os.mkfifo(device)
    async with running(made(kept, device)) as collector:
        # Until somebody writes there is no keyboard behind a FIFO: it is opened again and again.
        writing = -1
        async with asyncio.timeout(20):
            while writing < 0:
                with suppress(OSError):
                    writing = os.open(device, os.O_WRONLY | os.O_NONBLOCK)
                await asyncio.sleep(0.005)
        await until(opened(collector))
        os.write(writing, keys("04a2991b\n12"))
        await until(lambda: len(kept.events) == 1)
        os.close(writing)
        await until(lambda: collector.state.state == "failing")
    assert kept.events[0]["subject"] == "badge:04A2991B"
    assert set(grabbed) == {0x40044590}


@pytest.mark.parametrize(
    ("reader", "named"),
    [
        ({"device": "event0", "door": "main"}, "READERS__FRONT__DEVICE: 'event0' is no full path"),
        ({"device": "/dev/input/event0"}, "READERS__FRONT__DOOR: is not set"),
        ({"device": "/dev/input/event0", "door": "x", "form": "octal"}, "READERS__FRONT__FORM"),
        ({"device": "/dev/input/event0", "door": "x", "bytes": 33}, "READERS__FRONT__BYTES: is 33"),
        ({"device": "/dev/ttyUSB0", "door": "x", "baud": 9601}, "READERS__FRONT__BAUD: is 9601"),
    ],
)
def test_a_reader_that_cannot_be_meant_is_named(reader: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        told_settings(readers={"front": reader})
    assert named in caught.value.detail
