"""Wi-Fi sessions over a real database: looked at in any order, by whoever holds the lease, and billed the same."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from itertools import permutations
from typing import Any

import pytest
import pytest_asyncio

from meter.ingest.arrival import Arrival, Receipt
from meter.ingest.wifi_sessions import WifiSessions
from meter.model.errors import Unavailable
from meter.model.wire import read_event
from meter.store.tables import wifi_due, wifi_readings
from tests.booking.space import LATER, Space, open_space, void
from tests.ingest.gateway import until
from tests.ingest.rows import rows
from tests.owning import as_owner

_CATALOG = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin}
meters:
  down: {event: wifi.session, aggregate: counter, value: bytes_in, key: session, from_zero: true, unit: byte}
  presence: {event: wifi.session, aggregate: duration, key: session, start: {status: start}, end: {status: stop},
             missing_end: last_seen, unit: second}
plans:
  flex:
    name: Flex
    prices:
      down: [{id: down, model: per_unit, unit_price: "0.01"}]
      presence: [{id: presence, model: per_unit, unit_price: "0.01"}]
accounts:
  acme: {name: ACME, subscriptions: [{id: acme-flex, plan: flex, from: 2026-01-01}]}
  solo: {name: Solo, subscriptions: [{id: solo-flex, plan: flex, from: 2026-01-01}]}
members:
  ada: {account: acme, name: Ada, identities: ["user:ada"]}
  eve: {account: solo, name: Eve, identities: ["mac:aa-bb-cc-dd-ee-01"]}
"""
_SOURCE = "berlin/wifi/radius-aps"
_DEVICE = "mac:aa-bb-cc-dd-ee-01"


class Aps(Space):
    """A space, and a worker that looks at its sessions."""

    worked: WifiSessions

    async def receive(self, arrivals: Sequence[Arrival]) -> Sequence[Receipt]:
        return (await self._acceptor.accept(arrivals)).receipts

    def looking(self, receive: Any = None) -> WifiSessions:
        return WifiSessions(
            self.database,
            operator="northside",
            leases=self.leases,
            receive=receive or self.receive,
            clock=lambda: self.now,
        )

    async def look(self) -> None:
        """Look until nothing is due."""
        while await self.looking().turn():
            pass

    async def bill(self) -> dict[tuple[str, str], Any]:
        await self.look()
        await self.rate()
        return {(row[1], row[3]): row[5] for row in await self.sums()}

    async def begin_anew(self) -> None:
        await self.forget()
        async with as_owner(self.database) as connection:
            await connection.execute(wifi_readings.delete())
            await connection.execute(wifi_due.delete())


@pytest_asyncio.fixture
async def aps(database_url: str) -> AsyncIterator[Aps]:
    async with open_space(database_url, _CATALOG) as space:
        made = Aps(space.database)
        yield made
        await made.leases.close()


def told(status: str, minutes: int, subject: str | None, seconds: int, session: str = "s-1", **data: Any) -> bytes:
    rank = ("start", "interim", "stop").index(status)
    body = {
        "specversion": "1.0",
        "id": f"{rank}-{status}-{session}-{minutes}",
        "source": _SOURCE,
        "type": "wifi.session",
        "time": f"2026-03-02T12:{minutes:02d}:00Z",
        "data": {
            "session": session, "status": status, "seconds": seconds, "bytes_in": seconds * 10, "nas": "ap-lobby",
        } | data,
    }  # fmt: skip
    return json.dumps(body | ({"subject": subject} if subject else {})).encode()


def restarted(minutes: int) -> bytes:
    body = {"specversion": "1.0", "id": f"on-{minutes}", "source": _SOURCE, "type": "nas.restarted"}
    return json.dumps(body | {"time": f"2026-03-02T12:{minutes:02d}:00Z", "data": {"nas": "ap-lobby"}}).encode()


async def test_a_login_takes_over_what_its_device_used(aps: Aps) -> None:
    await aps.accept([told("start", 0, _DEVICE, 0), told("interim", 5, _DEVICE, 300)])
    assert await aps.bill() == {("eve", "down"): 3000, ("eve", "presence"): 300}
    await aps.accept([told("stop", 10, "user:ada", 600)])
    assert await aps.bill() == {("ada", "down"): 6000, ("ada", "presence"): 600}
    assert await rows(aps.database, wifi_due) == []


async def test_a_restart_ends_sessions_at_their_last_reading(aps: Aps) -> None:
    await aps.accept([told("start", 0, "user:ada", 0), told("interim", 5, "user:ada", 300), restarted(30)])
    assert await aps.bill() == {("ada", "down"): 3000, ("ada", "presence"): 300}
    await aps.accept([told("stop", 10, "user:ada", 600)])  # it had only been held up
    assert await aps.bill() == {("ada", "down"): 6000, ("ada", "presence"): 600}
    (line,) = await aps.rows("SELECT estimated FROM charges WHERE meter = 'presence' AND role = 'replacement'")
    assert line == (False,)


async def test_a_second_restart_ends_what_began_since(aps: Aps) -> None:
    await aps.accept([told("start", 0, "user:ada", 0), told("interim", 5, "user:ada", 300), restarted(10)])
    await aps.look()
    await aps.accept(
        [told("start", 20, "user:ada", 0, "s-2"), told("interim", 25, "user:ada", 300, "s-2"), restarted(40)]
    )
    assert await aps.bill() == {("ada", "down"): 6000, ("ada", "presence"): 600}


async def test_a_restart_that_is_taken_back_ends_nothing(aps: Aps) -> None:
    await aps.accept([told("start", 0, "user:ada", 0), told("interim", 5, "user:ada", 300), restarted(30)])
    before = await aps.bill()
    await aps.accept([void("v-1", "02T13:00", "on-30", _SOURCE)])
    assert await aps.bill() == before, "its policy says the same"
    assert await aps.rows("SELECT count(*) FROM events WHERE id LIKE '%~~%~x'") == [(1,)]


async def test_what_is_taken_back_takes_its_copy_along(aps: Aps) -> None:
    await aps.accept(
        [told("start", 0, _DEVICE, 0), told("interim", 5, _DEVICE, 300), told("stop", 10, "user:ada", 600)]
    )
    await aps.look()
    await aps.accept([void("v-1", "02T13:00", "2-stop-s-1-10", _SOURCE)])
    assert (await aps.bill())[("eve", "down")] == 3000


async def test_every_order_bills_the_same(aps: Aps) -> None:
    """Every event of a story that has everything, in sampled orders, looked at in between as it happens."""
    story = [
        told("start", 0, _DEVICE, 0),
        told("interim", 5, None, 300),
        told("interim", 10, "user:ada", 600),
        restarted(20),
        told("start", 30, _DEVICE, 0),
        told("stop", 40, _DEVICE, 600, bytes_in=20_000),
        restarted(50),
    ]
    dice = random.Random(11)  # noqa: S311 -- repeatable, not secret
    orders = dice.sample(list(permutations(range(len(story)))), 12)
    expected = None
    for order in [tuple(range(len(story))), *orders]:
        await aps.begin_anew()
        for place in order:
            await aps.accept([story[place]])
            if dice.random() < 0.4:
                await aps.look()
            if dice.random() < 0.3:
                await aps.rate()
        bill = await aps.bill()
        expected = expected or bill
        assert bill == expected, order
    assert expected == {("ada", "down"): 20_000, ("ada", "presence"): 1_200}


async def test_a_kill_loses_nothing(aps: Aps) -> None:
    """It dies before the commit, or after it and before the list is cleared."""
    await aps.accept([told("start", 0, _DEVICE, 0), told("stop", 10, "user:ada", 600)])

    async def before(_arrivals: Sequence[Arrival]) -> Sequence[Receipt]:
        raise Unavailable("killed")

    async def behind(arrivals: Sequence[Arrival]) -> Sequence[Receipt]:
        await aps.receive(arrivals)
        raise Unavailable("killed")

    for dying in (before, behind):
        with pytest.raises(Unavailable):
            await aps.looking(dying).turn()
        assert await rows(aps.database, wifi_due) != []
    assert await aps.bill() == {("ada", "down"): 6000, ("ada", "presence"): 600}
    assert await aps.rows("SELECT count(*) FROM rejections") == [(0,)]


async def test_two_at_once_agree(aps: Aps) -> None:
    """A lease was lost and nobody noticed: one works on what it saw before the other."""
    await aps.accept([told("start", 0, _DEVICE, 0), told("stop", 10, "user:ada", 600)])
    seen: list[Sequence[Arrival]] = []

    async def slow(arrivals: Sequence[Arrival]) -> Sequence[Receipt]:
        seen.append(arrivals)
        raise Unavailable("slow")

    with pytest.raises(Unavailable):
        await aps.looking(slow).turn()
    await aps.accept([told("interim", 5, "user:bob", 300)])
    await aps.look()
    for arrivals in seen:
        await aps.receive(arrivals)
    await aps.look()
    counting = await aps.rows(
        "SELECT e.subject, e.data ->> 'status' FROM events AS e WHERE e.type = 'wifi.session' AND NOT EXISTS"
        " (SELECT 1 FROM revisions AS v WHERE v.target_source = e.source AND v.target_id = e.id) ORDER BY e.time"
    )
    assert counting == [("user:bob", "start"), ("user:bob", "interim"), ("user:ada", "stop")]


async def test_what_comes_meanwhile_is_looked_at_again(aps: Aps) -> None:
    await aps.accept([told("start", 0, _DEVICE, 0), told("stop", 10, "user:ada", 600)])

    async def meanwhile(arrivals: Sequence[Arrival]) -> Sequence[Receipt]:
        receipts = await aps.receive(arrivals)
        await aps.accept([told("interim", 5, _DEVICE, 300)])
        return receipts

    await aps.looking(meanwhile).turn()
    assert "s-1" in [row["name"] for row in await rows(aps.database, wifi_due)]
    assert (await aps.bill())[("ada", "down")] == 6000
    assert ("eve", "down") not in await aps.bill()


async def test_it_works_while_it_holds_the_lease(aps: Aps) -> None:
    await aps.accept([told("start", 0, _DEVICE, 0), told("stop", 10, "user:ada", 600)])
    looking = aps.looking()
    tasks = [asyncio.create_task(aps.leases.run()), asyncio.create_task(looking.run())]
    done: list[bool] = []

    async def watch() -> None:
        while await rows(aps.database, wifi_due):  # noqa: ASYNC110 -- a table has no event of its own
            await asyncio.sleep(0.02)
        done.append(True)

    tasks.append(asyncio.create_task(watch()))
    try:
        await until(lambda: bool(done))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert aps.now == LATER
    assert await aps.rows("SELECT count(*) FROM events WHERE channel = 'derived'") == [(2,)]


async def test_events_of_other_types_leave_nothing_to_look_at(aps: Aps) -> None:
    body = {"specversion": "1.0", "id": "d", "source": "berlin/door/main", "type": "door.access"}
    door = read_event(json.dumps(body | {"data": {"door": "main", "granted": True}}).encode())
    await aps.receive([Arrival(parsed=door, channel="mqtt", origin="t", received_at=aps.now)])
    assert await rows(aps.database, wifi_due) == []
