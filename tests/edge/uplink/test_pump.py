"""The pump over a real spool: everything goes, and what was held back is not passed over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.spool.errors import Full
from edge.spool.file import Spool
from edge.spool.keeper import Keeper
from edge.spool.records import Item, Measurement, Place, Stored, Stretch
from edge.uplink import pump as module
from edge.uplink.pump import Pump
from edge.uplink.timekeeper import Timekeeper
from edge.uplink.window import Limits
from tests.edge.clocks import VirtualClock

# Only a test that has failed waits so long.
SOON_S = 30


class Gateway:
    """A channel to a gateway that acknowledges what it gets, unless it is told to keep quiet."""

    limits = Limits(messages_max=20, events_max=100, kept_messages=5)

    def __init__(self) -> None:
        self.got: list[tuple[int, int]] = []
        self.pump: Pump | None = None
        self.quiet = False
        self.asked = 0
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def send(self, body: bytes, _places: Sequence[Place]) -> None:
        for event in msgspec.json.decode(body):
            self.got.append((event["boot"], event["sequence"]))
            if self.pump is not None and not self.quiet:
                self.pump.acknowledged(event["boot"], 0, [event["sequence"]])

    async def ask_time(self) -> None:
        """Its answer is the test's."""
        self.asked += 1

    async def ended(self) -> str:
        return await asyncio.shield(self._ended)


def door(number: int, clock: VirtualClock) -> Item:
    body = {"specversion": "1.0", "id": f"d-{number}", "source": "berlin/door", "type": "door.access", "data": {}}
    return Item(body=msgspec.json.encode(body), heard=clock.read())


async def drained(keeper: Keeper) -> None:
    async with asyncio.timeout(SOON_S):
        while keeper.depth.events:
            committed = asyncio.Event()
            keeper.on_commit.append(committed.set)
            await committed.wait()


class Site:
    """A spool with its pump."""

    def __init__(self, keeper: Keeper, clock: VirtualClock) -> None:
        self.keeper = keeper
        now = clock.read()
        known = Measurement(
            machine_boot=now.machine_boot, boottime_ns=now.boottime_ns, true=now.wall, error_ms=1, ntp=False
        )
        timekeeper = Timekeeper({now.machine_boot: known}, clock=clock, keep=keeper.measure)
        self.gateway = Gateway()
        self.pump = self.gateway.pump = Pump(keeper, edge="hut", timekeeper=timekeeper)

    async def until_drained(self) -> None:
        serving = asyncio.create_task(self.pump.serve(self.gateway))
        letting = asyncio.create_task(self.pump.let_go())
        try:
            await drained(self.keeper)
        finally:
            for task in (serving, letting):
                task.cancel()
            await asyncio.gather(serving, letting, return_exceptions=True)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(datetime(2026, 11, 2, 9, tzinfo=UTC))


async def test_everything_of_a_spool_goes(tmp_path: Path, clock: VirtualClock) -> None:
    async with Keeper(Spool.open(tmp_path / "spool", clock=clock)) as keeper:
        await keeper.put([door(number, clock) for number in range(250)])
        site = Site(keeper, clock)
        await site.until_drained()
        assert sorted(set(site.gateway.got)) == [(keeper.boot, number) for number in range(1, 251)]


async def test_what_is_held_back_until_the_first_word_is_not_passed_over(
    tmp_path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The word comes while the spool is read: what was held back a moment ago was not in that."""
    async with Keeper(Spool.open(tmp_path / "spool", clock=clock)) as keeper:
        await keeper.put([door(1, clock)])
        await keeper.unsent(keeper.boot, 0, events_max=1, bytes_max=1000)
        await keeper.acknowledge(keeper.boot, 1)
        assert keeper.proven
        await keeper.put([door(2, clock)])
    async with Keeper(Spool.open(tmp_path / "spool", clock=clock)) as keeper:
        await keeper.put([door(number, clock) for number in (3, 4)])
        site = Site(keeper, clock)
        site.gateway.quiet = True
        read = keeper.unsent
        raced: list[int] = []

        async def unsent(boot: int, after: int, **bounds: Any) -> list[Stored]:
            if after == 2 and not raced:
                raced.append(after)
                assert not keeper.proven
                site.gateway.quiet = False
                await keeper.acknowledge(boot, 2)
                return []
            return await read(boot, after, **bounds)

        monkeypatch.setattr(keeper, "unsent", unsent)
        await site.until_drained()
        assert raced
        assert {sequence for _, sequence in site.gateway.got} == {2, 3, 4}


async def test_nothing_is_sent_before_its_time_is_known_however_long_the_gateway_is_away(
    tmp_path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker hears it, and would keep it for the gateway as of a clock that is wrong."""
    monkeypatch.setattr(module, "_TIME_WAIT_S", 0.01)
    clock.synchronised = False
    async with Keeper(Spool.open(tmp_path / "spool", clock=clock)) as keeper:
        await keeper.put([door(1, clock)])
        timekeeper = Timekeeper({}, clock=clock, keep=keeper.measure)
        gateway = Gateway()
        gateway.pump = Pump(keeper, edge="hut", timekeeper=timekeeper)
        serving = asyncio.create_task(gateway.pump.serve(gateway))
        letting = asyncio.create_task(gateway.pump.let_go())
        try:
            async with asyncio.timeout(SOON_S):
                while gateway.asked < 5:  # noqa: ASYNC110 -- it asks whenever it likes
                    await asyncio.sleep(0)
            assert gateway.got == []
            await timekeeper.answered(timekeeper.ask(), received=clock.read().wall)
            await drained(keeper)
            assert gateway.got == [(keeper.boot, 1)]
        finally:
            for task in (serving, letting):
                task.cancel()
            await asyncio.gather(serving, letting, return_exceptions=True)


async def test_what_waits_again_goes_over_the_connection_that_is_there(tmp_path: Path, clock: VirtualClock) -> None:
    async with Keeper(Spool.open(tmp_path / "spool", clock=clock)) as keeper:
        await keeper.put([door(number, clock) for number in range(250)])
        site = Site(keeper, clock)
        serving = asyncio.create_task(site.pump.serve(site.gateway))
        letting = asyncio.create_task(site.pump.let_go())
        try:
            await drained(keeper)
            site.gateway.got.clear()
            assert await keeper.replay(stretches=[Stretch(keeper.boot, 3, 4)]) == 2
            site.pump.start_over()
            await drained(keeper)
        finally:
            for task in (serving, letting):
                task.cancel()
            await asyncio.gather(serving, letting, return_exceptions=True)
        assert set(site.gateway.got) == {(keeper.boot, 3), (keeper.boot, 4)}


async def test_what_was_there_goes_where_what_is_new_is_held_back(
    tmp_path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk the first message of what is new cannot be noted; what was there before makes the room."""
    async with Keeper(Spool.open(tmp_path / "spool", clock=clock)) as keeper:
        await keeper.put([door(1, clock)])
        await keeper.unsent(keeper.boot, 0, events_max=1, bytes_max=1000)
        await keeper.acknowledge(keeper.boot, 1)
        await keeper.put([door(2, clock)])
    spool = Spool.open(tmp_path / "spool", clock=clock)

    def full() -> None:
        raise Full("planted", bound="disk")

    monkeypatch.setattr(spool, "allow_first", full)
    async with Keeper(spool) as keeper:
        site = Site(keeper, clock)
        await keeper.put([door(3, clock)])
        await site.until_drained()
        assert site.gateway.got == [(keeper.boot, 2), (keeper.boot, 3)]
