"""A RADIUS day: FreeRADIUS' own radclient, a network that loses and repeats, a real database, and the bill."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from meter.clock import now
from meter.ingest.accept import Acceptor
from meter.ingest.batcher import Batcher
from meter.ingest.radius import radius_port
from meter.telemetry import Telemetry
from tests.booking.space import Space, open_space
from tests.ingest.bodies import northside
from tests.ingest.radius_peer import SECRETS, network, packet, peer, radius_sources
from tests.tools import need_tool

_CATALOG = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin}
meters:
  down: {event: wifi.session, aggregate: counter, value: bytes_in, key: session, from_zero: true, unit: byte}
  up: {event: wifi.session, aggregate: counter, value: bytes_out, key: session, from_zero: true, unit: byte}
  online: {event: wifi.session, aggregate: counter, value: seconds, key: session, from_zero: true, unit: tick}
  presence: {event: wifi.session, aggregate: duration, key: session, start: {status: start}, end: {status: stop},
             missing_end: last_seen, unit: second}
plans:
  flex:
    name: Flex
    prices:
      down: [{id: down, model: per_unit, unit_price: "0.000001"}]
      up: [{id: up, model: per_unit, unit_price: "0.000001"}]
      online: [{id: online, model: per_unit, unit_price: "0.01"}]
      presence: [{id: presence, model: per_unit, unit_price: "0.01"}]
accounts:
  acme: {name: ACME, subscriptions: [{id: acme-flex, plan: flex, from: 2020-01-01}]}
members:
"""
_MEMBERS = 6


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One session; its counters after each reading."""

    number: int
    member: int
    began: int
    readings: list[tuple[int, int, int]]  # seconds, octets down, octets up

    def packets(self, *, timed: bool) -> list[str]:
        """What the NAS sends, as radclient reads it."""
        found = []
        for place, (seconds, down, up) in enumerate(self.readings):
            status = "Start" if place == 0 else "Stop" if place == len(self.readings) - 1 else "Interim-Update"
            lines = [
                f"Acct-Status-Type = {status}",
                f'User-Name = "m{self.member}"',
                f'Acct-Session-Id = "day-{self.number}"',
                'NAS-Identifier = "ap-lobby"',
                f'Calling-Station-Id = "02-00-00-00-00-{self.member:02x}"',
                'Called-Station-Id = "00-10-A4-23-19-C0:Members"',
            ]
            if timed:
                lines.append(f"Event-Timestamp = {self.began + seconds}")
            if place:
                lines += [
                    f"Acct-Session-Time = {seconds}",
                    f"Acct-Input-Octets = {up % 2**32}",
                    f"Acct-Output-Octets = {down % 2**32}",
                    f"Acct-Output-Gigawords = {down >> 32}",
                ]
            found.append("\n".join(lines))
        return found


def day(seed: int) -> list[Visit]:
    dice = random.Random(seed)  # noqa: S311 -- repeatable, not secret
    midnight = int(now().timestamp()) // 86_400 * 86_400 - 86_400
    visits = []
    for number in range(16):
        seconds = down = up = 0
        readings = [(0, 0, 0)]
        for _ in range(dice.randint(1, 3)):
            seconds += dice.randint(60, 3600)
            down += dice.randint(0, 2**32)
            up += dice.randint(0, 2**24)
            readings.append((seconds, down, up))
        began = midnight + dice.randint(0, 50_000)
        visits.append(Visit(number=number, member=number % _MEMBERS, began=began, readings=readings))
    return visits


@asynccontextmanager
async def open_day(database_url: str) -> AsyncIterator[tuple[Space, tuple[str, int], Telemetry]]:
    people = "".join(f'  m{n}: {{account: acme, name: M, identities: ["user:m{n}"]}}\n' for n in range(_MEMBERS))
    telemetry = Telemetry()
    async with open_space(database_url, _CATALOG + people) as space:
        acceptor = Acceptor(space.database, operator=northside, telemetry=telemetry, max_age_days=400)
        batcher = Batcher(acceptor.accept)
        async with radius_port("127.0.0.1:0", sources=radius_sources(), batcher=batcher, telemetry=telemetry) as port:
            running = asyncio.create_task(batcher.run())
            yield space, port, telemetry
            batcher.stop()
            await running


async def billed(space: Space) -> dict[tuple[str, str], Decimal]:
    """The quantities by meter and member."""
    space.now = now()
    await space.rate()
    return {(row[3], row[1]): row[5] for row in await space.sums()}


def owed(visits: list[Visit], *, timed: bool) -> dict[tuple[str, str], Decimal]:
    found: dict[tuple[str, str], Decimal] = {}
    for visit in visits:
        seconds, down, up = visit.readings[-1]
        for meter, amount in {"down": down, "up": up, "online": seconds, "presence": seconds if timed else 0}.items():
            key = (meter, f"m{visit.member}")
            found[key] = found.get(key, Decimal(0)) + amount
    return {key: amount for key, amount in found.items() if amount}


async def _play(radclient: str, file: Path, address: tuple[str, int]) -> None:
    """Have radclient send a file until all of it is answered.

    It gives up on what a stray answer to an earlier packet of the same identifier spoils; a NAS sends that again.
    """
    heard = b""
    for _ in range(5):
        client = await asyncio.create_subprocess_exec(
            radclient, "-q", "-p", "64", "-r", "60", "-t", "1", "-f", str(file), "{}:{}".format(*address),
            "acct", SECRETS[0], stderr=asyncio.subprocess.STDOUT, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        heard, _ = await client.communicate()
        if client.returncode == 0:
            return
    pytest.fail(f"radclient gave up: {heard.decode()}")


@pytest.mark.parametrize("timed", [True, False])
async def test_a_day_by_radclient_is_billed_to_the_octet(database_url: str, data_dir: Path, *, timed: bool) -> None:
    radclient = need_tool("radclient")
    visits = day(seed=17)
    async with open_day(database_url) as (space, port, telemetry), network(port, seed=4) as (address, between):
        if timed:  # the order of arrival is then of no account
            rounds = [[sent for visit in reversed(visits) for sent in reversed(visit.packets(timed=timed))]]
        else:
            rounds = [[v.packets(timed=timed)[place] for v in visits if place < len(v.readings)] for place in range(4)]
        for number, sent in enumerate(rounds):
            file = data_dir / f"packets-{number}"
            file.write_text("\n\n".join(sent) + "\n")
            await _play(radclient, file, address)
        assert between.lost
        assert between.repeated
        stored = await space.rows("SELECT count(*) FROM events")
        assert stored == [(sum(len(visit.readings) for visit in visits),)]
        assert await space.rows("SELECT count(*) FROM rejections") == [(0,)]
        bill = await billed(space)
        expected = owed(visits, timed=timed)
        # Without a clock of their own, times are those of the receipt.
        assert {key: bill[key] for key in bill if timed or key[0] != "presence"} == expected
        answered = telemetry.registry.get_sample_value("meter_radius_packets_total", {"outcome": "accepted"})
        assert answered is not None
        assert answered > stored[0][0]


@pytest.mark.parametrize("timed", [True, False])
async def test_a_nas_that_tells_its_delay_is_billed_to_the_octet(database_url: str, *, timed: bool) -> None:
    """Each retransmission has another delay, identifier and authenticator; every second answer is lost."""
    visits = day(seed=18)[:8]
    async with open_day(database_url) as (space, port, _), peer(port) as nas:
        number = 0
        for visit in visits:
            for place, (seconds, down, up) in enumerate(visit.readings):
                for delay_s in range(3):
                    number += 1
                    status = 1 if place == 0 else 2 if place == len(visit.readings) - 1 else 3
                    made = {
                        "Acct-Status-Type": status,
                        "User-Name": f"m{visit.member}",
                        "Acct-Session-Id": f"day-{visit.number}",
                        "NAS-Identifier": "ap-lobby",
                        "Acct-Delay-Time": delay_s,
                        "Acct-Session-Time": seconds,
                        "Acct-Input-Octets": up,
                        "Acct-Output-Octets": down % 2**32,
                        "Acct-Output-Gigawords": down >> 32,
                    } | ({"Event-Timestamp": visit.began + seconds} if timed else {})
                    nas.send(packet(made, number=number % 256).RequestPacket())
                    await nas.answer()
        assert await space.rows("SELECT count(*) FROM rejections") == [(0,)]
        assert await space.rows("SELECT count(*) FROM events") == [(sum(len(visit.readings) for visit in visits),)]
        bill = await billed(space)
        assert {key: bill[key] for key in bill if timed or key[0] != "presence"} == owed(visits, timed=timed)


def test_the_day_is_not_trivial() -> None:
    visits = day(seed=17)
    assert any(reading[1] >= 2**32 for visit in visits for reading in visit.readings)
    assert datetime.fromtimestamp(min(visit.began for visit in visits), UTC) < now()
