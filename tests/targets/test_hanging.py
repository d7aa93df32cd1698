"""A vendor that hangs: what is for others goes on, and what was on its way is there once when it goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from meter.export.http import Answer, Channel
from meter.export.targets.spec import Means
from tests.targets.case import Books
from tests.targets.driving import driven
from tests.targets.fault_run import cases, differing
from tests.targets.worlds import hurry

CASES: Final = cases()
ROOT: Final = Path(__file__).parents[2]
KINDS: Final = ("cobot", "quickbooks", "square", "stripe", "webhook", "xero")
ITEMS: Final = 12


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


class Vendor:
    """A fake in a process of its own."""

    def __init__(self, process: Process, url: str) -> None:
        self.url = url
        self._process = process

    def stop(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    async def books(self) -> Books:
        """What it holds when it is at work on nothing more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        idle, told = 0, dict[str, Any]()
        while idle < 2:  # what lies in a socket is read between the two
            self._process.stdin.write(b"\n")
            told = json.loads(await self._process.stdout.readline())
            idle = 0 if told["at_work"] else idle + 1
        return {batch: (Decimal(net), Decimal(tax)) for batch, (net, tax) in told["held"].items()}


@asynccontextmanager
async def vendor_of(name: str) -> AsyncIterator[Vendor]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.targets.fake_child", name, cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    try:
        assert process.stdout is not None
        yield Vendor(process, json.loads(await process.stdout.readline()))
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("name", KINDS)
async def test_what_was_on_its_way_to_a_vendor_that_was_stopped_is_there_once(
    name: str, means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped under a request that has left, and reads that when it goes on, long after we gave up on it."""
    case, ask, asked = CASES[name], Channel.request, 0
    items = case.items(ITEMS, 3)
    async with vendor_of(name) as vendor:

        async def request(channel: Channel, *given: Any, **named: Any) -> Answer:
            nonlocal asked
            asked += 1
            if asked in {4, 9}:
                vendor.stop()
            return await ask(channel, *given, **named)

        monkeypatch.setattr(Channel, "request", request)
        given = case.setup(vendor.url)
        async with driven(means.database, case.open(given, means), given.name) as lane:
            await lane.add(items)
            stopped = 0
            while any(one.state in {"pending", "sending", "uncertain"} for one in await lane.deliveries()):
                before = asked
                await lane.step()
                if before < 4 <= asked or before < 9 <= asked:
                    stopped += 1
                    await lane.step()  # it is asked in vain
                    vendor.go_on()
                    await vendor.books()
            assert {one.state for one in await lane.deliveries()} <= {"delivered", "superseded"}
        assert stopped
        assert not differing(case.wanted(items), await vendor.books())


async def test_one_stream_that_hangs_keeps_no_other(means: Means, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first customer's request hangs until every other customer's has been answered."""
    case, ask = CASES["quickbooks invoices"], Channel.request
    items = case.items(40, 3)
    streams = {item.key: item.stream for item in items}
    first, others, done = items[0], asyncio.Event(), set[str]()
    held_meanwhile: list[str] = []
    async with case.fake() as vendor:

        async def request(channel: Channel, *given: Any, **named: Any) -> Answer:
            key = (named.get("query") or {}).get("requestid", "")
            if key == first.key:
                await others.wait()
                held_meanwhile.extend(case.books(vendor))
            answer = await ask(channel, *given, **named)
            if key in streams:
                done.add(streams[key])
            if len(done) == len(set(streams.values())) - 1:
                others.set()
            return answer

        monkeypatch.setattr(Channel, "request", request)
        given = case.setup(vendor.url)
        async with driven(means.database, case.open(given, means), given.name) as lane:
            await lane.add(items)
            async with asyncio.timeout(60):
                await lane.drain()
        assert first.batch not in held_meanwhile
        assert len(held_meanwhile) >= len(set(streams.values())) - 1
        assert case.books(vendor) == case.wanted(items)
