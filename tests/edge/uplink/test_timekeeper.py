"""What time it truly is: NTP's word for a boot is kept whether or not the gateway was ever reached in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from edge.spool.errors import Full
from edge.spool.records import Measurement
from edge.uplink.clocks import Correction
from edge.uplink.timekeeper import Timekeeper
from tests.edge.clocks import START, VirtualClock

THREE_HOURS = timedelta(hours=3)


class Kept:
    """A spool's measurements."""

    def __init__(self) -> None:
        self.all: list[Measurement] = []
        self.full = False

    async def keep(self, found: Measurement) -> None:
        if self.full:
            raise Full("the disk is full; free some room", bound="disk")
        self.all.append(found)


@asynccontextmanager
async def watching(clock: VirtualClock, kept: Kept) -> AsyncIterator[Timekeeper]:
    known = {one.machine_boot: one for one in kept.all}
    timekeeper = Timekeeper(known, clock=clock, keep=kept.keep)
    task = asyncio.create_task(timekeeper.watch_ntp())
    try:
        await looked(timekeeper)
        yield timekeeper
    finally:
        assert not task.done(), task
        task.cancel()


async def looked(timekeeper: Timekeeper) -> None:
    """Have it look once more."""
    timekeeper.look.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not timekeeper.look.is_set()


async def test_a_boot_that_ntp_knew_is_corrected_after_its_end() -> None:
    clock, kept = VirtualClock(START - THREE_HOURS, synchronised=False), Kept()
    async with watching(clock, kept) as timekeeper:
        stamp = clock.read()
        clock.advance(timedelta(minutes=10))
        await looked(timekeeper)
        assert kept.all == []
        clock.set_wall(START + timedelta(minutes=10))
        clock.synchronised = True
        await looked(timekeeper)
        assert [one.ntp for one in kept.all] == [True]
    clock.reboot()
    clock.synchronised = False
    async with watching(clock, kept) as timekeeper:
        assert timekeeper.correction(stamp) == Correction(offset_ms=-10_800_000)


async def test_it_is_kept_once_until_crystals_have_drifted() -> None:
    clock, kept = VirtualClock(), Kept()
    async with watching(clock, kept) as timekeeper:
        clock.advance(timedelta(hours=2))
        await looked(timekeeper)
        assert len(kept.all) == 1
        clock.advance(timedelta(hours=1))
        await looked(timekeeper)
        assert len(kept.all) == 2


async def test_the_gateways_word_is_better_than_ntps() -> None:
    clock, kept = VirtualClock(), Kept()
    now = clock.read()
    gateway = Measurement(
        machine_boot=now.machine_boot, boottime_ns=now.boottime_ns, true=START, error_ms=20, ntp=False
    )
    kept.all.append(gateway)
    async with watching(clock, kept):
        assert kept.all == [gateway]


@pytest.mark.filterwarnings("error")
async def test_a_full_disk_ends_nothing_and_the_next_look_keeps_it() -> None:
    clock, kept = VirtualClock(), Kept()
    kept.full = True
    async with watching(clock, kept) as timekeeper:
        assert kept.all == []
        assert timekeeper.known.is_set()
        kept.full = False
        await looked(timekeeper)
        assert len(kept.all) == 1


async def test_an_answer_that_was_underway_for_long_says_too_little() -> None:
    """A broker has kept the question for a gateway that was away: the half of that is no measurement."""
    clock, kept = VirtualClock(synchronised=False), Kept()
    timekeeper = Timekeeper({}, clock=clock, keep=kept.keep)
    stale = timekeeper.ask()
    clock.advance(timedelta(minutes=30))
    await timekeeper.answered(stale, received=clock.read().wall)
    assert not timekeeper.known.is_set()
    prompt = timekeeper.ask()
    clock.advance(timedelta(seconds=1))
    await timekeeper.answered(prompt, received=clock.read().wall)
    assert [one.error_ms for one in kept.all] == [500]
    assert timekeeper.known.is_set()
