"""Whole gateways whose clock jumps by an hour and a day, both ways, with that of the database's machine or without it.

They take in usage over HTTP and MQTT, bill it, and tell a receiver of webhooks that refuses everything just before each
jump, so that every jump meets deliveries that wait. The bill is that of a gateway whose clock was right.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import pytest
from aiohttp import web

from meter.clock import now
from meter.embedded.broker import EmbeddedBroker
from tests.booking.space import BOOKS
from tests.e2e.faked import CACHE_S, FakedClock, FakedPostgres, forget, library
from tests.gateway import RunningGateway
from tests.ingest.gateway import publish
from tests.ingest.loopback import served
from tests.rows.moments import DAY, HOUR, RIGHT, START, ZONES, catalog, usage
from tests.rows.sizes import sized
from tests.targets.fakes.receiver import SECRET

How: TypeAlias = Literal["running", "killed", "hung"]
# How far the clock is off while a part of the events comes, and what becomes of the gateway before: it goes on, is
# killed and started again, or hangs with its leases while another is there.
JUMPS: Final[list[tuple[timedelta, How]]] = [
    (RIGHT, "running"), (HOUR, "running"), (-HOUR, "running"), (DAY, "running"), (-DAY, "hung"), (RIGHT, "running"),
    (DAY, "killed"), (-DAY, "killed"), (RIGHT, "killed"),
] * sized(1, 6)  # fmt: skip
LATER: Final = timedelta(days=40)
_DUE: Final = "SELECT count(*) FROM wakes WHERE due_at <= clock_timestamp()"
THESE: Final = BOOKS | {
    "periods": "SELECT account, member, meter, price, settlement, period_start, trim_scale(sum(quantity)),"
    " trim_scale(sum(amount)) FROM charges"
    " GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(quantity) <> 0 OR sum(amount) <> 0 ORDER BY 1, 2, 3, 4, 5, 6",
    "events": "SELECT source, id, CASE WHEN timed THEN time END FROM events ORDER BY 1, 2",
}


class Receiver:
    """Takes each message, or refuses everything."""

    def __init__(self) -> None:
        self.refusing = False
        self.refused = 0
        self.taken: list[str] = []
        self.charges: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if self.refusing:
            self.refused += 1
            return web.Response(status=500)
        self.taken.append(request.headers["webhook-id"])
        self.charges += [one["id"] for one in body["data"].get("charges", ())]
        return web.Response(status=204)

    async def refuses(self) -> None:
        """Wait until it has refused something; where all is held for the future, there is nothing to refuse."""
        before = self.refused
        for _ in range(30):
            if self.refused > before:
                return
            await asyncio.sleep(0.1)


class World:
    """A gateway and another one, a database server, a broker and a receiver; times are of the clocks that are set."""

    def __init__(self, directory: Path, stack: AsyncExitStack, *, together: bool) -> None:
        self._directory, self._stack = directory, stack
        self.base = START - now()
        self.clock = FakedClock(directory / "clock")
        self.server_clock = self.clock if together else FakedClock(directory / "server-clock")
        self.together = together
        self.receiver = Receiver()
        self.codes: list[str | None] = []
        self.untimed: dict[str, timedelta] = {}
        self.sent = 0
        self.pids: set[int] = set()

    async def open(self) -> None:
        """Start everything; whatever happens is ended with the stack."""
        await self.set(RIGHT)
        if not self.together:
            self.server_clock.set(self.base)
        postgres = await self._stack.enter_async_context(FakedPostgres(self._directory, self.server_clock))
        self.broker = await self._stack.enter_async_context(EmbeddedBroker(self._directory))
        hook = await self._stack.enter_async_context(served(self.receiver.answer))
        (self._directory / "catalog.yaml").write_text(catalog())
        env = {
            **self.clock.env,
            "METER_CATALOG": str(self._directory / "catalog.yaml"),
            "METER_DATABASE_URL": postgres.url,
            "METER_MQTT_URL": self.broker.url,
            "METER_IDENTITY_KEY": "the same for both",
            "METER_TARGETS__HOOK__KIND": "webhook",
            "METER_TARGETS__HOOK__BASE_URL": f"{hook}/hook",
            "METER_TARGETS__HOOK__SECRETS": json.dumps([SECRET]),
        }
        self.gateways = []
        for name in ("one", "other"):
            (self._directory / name).mkdir()
            self.gateways.append(RunningGateway(self._directory / name, env=env))
        self._stack.push_async_callback(self._end)
        await self.start(0)

    async def set(self, off: timedelta) -> None:
        """Set the clock to so far off the right one."""
        self.clock.set(self.base + off)
        await asyncio.sleep(2 * CACHE_S)

    async def start(self, which: int) -> None:
        await self.gateways[which].start()
        self.pids.add(self.gateways[which].process.pid)

    async def _end(self) -> None:
        for gateway in self.gateways:
            if gateway._process is not None and gateway.process.returncode is None:
                gateway.process.send_signal(signal.SIGCONT)
                await gateway.stop()
        for pid in self.pids:
            forget(pid)

    async def take(self, gateway: RunningGateway, part: list[bytes]) -> None:
        """Have events come over HTTP and MQTT in turn, and one more that does not say when."""
        name = f"untimed-{len(self.untimed)}"
        door = {"door": "main", "granted": True, "direction": "out"}
        bare = {"specversion": "1.0", "id": name, "source": "berlin/door/main", "type": "door.access", "data": door}
        self.untimed[name] = self.clock.off - self.base
        body = b"[" + b",".join([*part[::2], json.dumps(bare).encode()]) + b"]"
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        async with gateway.client() as client, client.post("/v1/events", data=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            results = (await answer.json())["results"]
        assert {result["status"] for result in results} == {"accepted"}, results
        self.codes += [result.get("code") for result in results]
        messages = [{"topic": f"spaces/{json.loads(one)['source']}", "payload": one, "qos": 1} for one in part[1::2]]
        await publish(self.broker.url, messages)
        self.sent += len(part) + 1

    async def books(self, gateway: RunningGateway) -> dict[str, list[tuple[Any, ...]]]:
        return {name: await gateway.rows(query) for name, query in THESE.items()}

    async def told(self, gateway: RunningGateway) -> None:
        """Every charge was told, once."""
        charges = sorted(str(row[0]) for row in await gateway.rows("SELECT id FROM charges"))
        assert sorted(self.receiver.charges) == charges
        assert len(set(self.receiver.taken)) == len(self.receiver.taken)

    async def finished(self) -> dict[str, list[tuple[Any, ...]]]:
        """The books once the clock is forty days on and all is closed."""
        gateway = self.gateways[0]
        self.receiver.refusing = False
        await gateway.settled(events=self.sent)
        await gateway.stop()
        if not self.together:
            self.server_clock.set(self.base + LATER)
        await self.set(LATER)
        await self.start(0)
        before: dict[str, Any] = {}
        while before != (found := await self.books(gateway)) or (await gateway.rows(_DUE))[0][0]:
            before = found
            await asyncio.sleep(3)
            await gateway.settled(events=self.sent)
        await self.told(gateway)
        return found


@asynccontextmanager
async def world(directory: Path, *, together: bool) -> AsyncIterator[World]:
    directory.mkdir(mode=0o711)  # noqa: ASYNC240 -- at once
    async with AsyncExitStack() as stack:
        made = World(directory, stack, together=together)
        await made.open()
        yield made


async def _jump(here: World, parts: list[list[bytes]]) -> None:
    """Let each part come around a jump: one half is refused by the receiver before, the other comes after."""
    one, other = here.gateways
    for (off, how), part in zip(JUMPS, parts, strict=True):
        half = len(part) // 2
        here.receiver.refusing = True
        await here.take(one, part[:half])
        await here.receiver.refuses()
        hangs = how == "hung" and here.together
        if hangs:
            await here.start(1)
            one.process.send_signal(signal.SIGSTOP)
        elif how == "killed":
            await one.kill()
        await here.set(off)
        here.receiver.refusing = False
        if how == "killed":
            await here.start(0)
        working = other if hangs else one
        await here.take(working, part[half:])
        # Nothing stands still: what waited and what came is rated and told under this clock.
        await working.settled(events=here.sent)
        if hangs:
            one.process.send_signal(signal.SIGCONT)
            await other.stop()
            await one.settled(events=here.sent)


async def _untimed(here: World) -> None:
    """What does not say when it was is of the clock as it came, and says so."""
    rows = await here.gateways[0].rows("SELECT id, time, timed, received_at FROM events WHERE id LIKE 'untimed-%'")
    assert len(rows) == len(here.untimed)
    for id, time, timed, received_at in rows:
        assert not timed
        assert time == received_at
        passed = time - START - here.untimed[id]
        assert RIGHT <= passed < HOUR / 2, f"{id} came under another clock: {time}"


@pytest.fixture(scope="module")
def parts() -> list[list[bytes]]:
    # The newest of each comes after its jump, and over HTTP, which says what is held.
    made = usage(len(JUMPS))
    for part in made:
        part.sort(key=lambda one: str(json.loads(one)["time"]))
        part[len(part) // 2 :] = part[: len(part) // 2 - 1 : -1]
    return made


@pytest.mark.slow
async def test_the_bill_does_not_depend_on_the_clock(data_dir: Path, parts: list[list[bytes]]) -> None:
    library()
    async with world(data_dir / "right", together=True) as right:
        for part in parts:
            await right.take(right.gateways[0], part[: len(part) // 2])
            await right.take(right.gateways[0], part[len(part) // 2 :])
        expected = await right.finished()
    assert len(expected["periods"]) >= len(ZONES) * 3, "too little is billed to show anything"
    assert set(right.codes) == {None}
    for together in (True, False):
        async with world(data_dir / f"jumping-{together}", together=together) as jumping:
            await _jump(jumping, parts)
            await _untimed(jumping)
            found = await jumping.finished()
        for name, value in expected.items():
            assert found[name] == value, (name, together)
        assert "future_time" in jumping.codes, "a clock behind has held nothing"
        assert jumping.receiver.refused > 0, "no jump has met a delivery that waits"
        print(  # noqa: T201
            f"clocks: together={together}, {len(JUMPS)} jumps, {jumping.sent} events,"
            f" {jumping.codes.count('future_time')} held, {jumping.receiver.refused} refused,"
            f" {len(jumping.receiver.charges)} charges told once"
        )
