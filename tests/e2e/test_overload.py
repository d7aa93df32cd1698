"""Slow peers, bombs and invented names beside valid traffic: all of it is answered, and nothing grows.

How long valid answers took before and meanwhile is printed (`-rP`), not judged: that is for a machine that does nothing
else. `METER_TEST_LONG=1` opens 1,000 slow connections and tries 100,000 names.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from meter.clock import monotonic_s
from meter.examples import example_catalog
from meter.telemetry import LABEL_VALUES_MAX
from tests.gateway import RunningGateway
from tests.rows.sizes import SEED, sized

SLOW = sized(150, 1_000)
NAMES = sized(300, 100_000)
VALID = sized(60, 2_000)
# Whoever comes in is paced: what is asked is what valid traffic feels, not what two cores can do in all.
VALID_EACH_S = 0.02
BOMBS_EACH_S = 0.1
NAMES_EACH_S = 0.1
NAMES_AT_ONCE = sized(30, 25)
GZIP_BOMB = gzip.compress(b" " * (64 * 1024 * 1024))
DEEP = b"[" * 100_000 + b"]" * 100_000
WIDE = b'{"specversion":"1.0","id":' + b"9" * 900_000 + b"}"
# A string without an end, each escape of which looks like another beginning.
ENDLESS = b"[" * 33 + b'"' + b'\\"' * 100_000
EVENT = {"Content-Type": "application/cloudevents+json"}
HEAD = b"POST /hooks/square/till HTTP/1.1\r\nHost: x\r\n"
BODY = HEAD + b"Content-Length: 100000\r\n\r\n"


def event(name: str, **changes: str) -> bytes:
    made = {
        "specversion": "1.0",
        "id": name,
        "source": "berlin/door/main",
        "type": "door.access",
        "subject": "badge:04A2991B",
        "time": "2026-03-02T08:00:00Z",
    } | changes
    return json.dumps({**made, "data": {"door": "main", "direction": "in", "granted": True}}).encode()


class Site:
    """A site's traffic, one event after another, and how long each answer took."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self._client = client
        self._numbers = itertools.count()

    async def send(self, count: int) -> list[float]:
        took = []
        for _ in range(count):
            began = monotonic_s()
            data = event(f"valid-{next(self._numbers)}")
            async with self._client.post("/v1/events", data=data, headers=EVENT) as answer:
                found = await answer.json()
                assert (answer.status, found["results"][0]["status"]) == (200, "accepted")
            took.append(monotonic_s() - began)
            await asyncio.sleep(VALID_EACH_S)
        return took


def p99_ms(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.99) - 1] * 1000


async def series(client: aiohttp.ClientSession) -> int:
    async with client.get("/metrics") as answer:
        return sum(not line.startswith("#") for line in (await answer.text()).splitlines())


@asynccontextmanager
async def slow_peers(address: str, count: int) -> AsyncIterator[None]:
    """So many peers that send a byte now and then, of a head or a body, and come again when they are closed."""
    place = urlsplit(address)

    async def one(number: int) -> None:
        while True:
            try:
                _, writer = await asyncio.open_connection(place.hostname, place.port)
            except OSError:
                await asyncio.sleep(1)
                continue
            try:
                writer.write((HEAD, BODY)[number % 2])
                while not writer.transport.is_closing():
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(1)
            except OSError:
                pass
            finally:
                writer.transport.abort()

    tasks = [asyncio.create_task(one(number)) for number in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Flood:
    """What comes in beside a site's traffic; `seen` counts what it was answered, 0 where the connection was closed."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self._client = client
        self._dice = random.Random(SEED)  # noqa: S311  a test is repeated by its seed
        self.seen: Counter[tuple[str, int]] = Counter()

    async def _ask(self, kind: str, method: str, path: str, body: bytes | None, **headers: str) -> None:
        try:
            async with self._client.request(method, path, data=body, headers={**EVENT, **headers}) as answer:
                self.seen[kind, answer.status] += 1
        except aiohttp.ClientConnectionError:
            self.seen[kind, 0] += 1

    async def bombs(self) -> None:
        while True:
            await self._ask("gzip", "POST", "/v1/events", GZIP_BOMB, **{"Content-Encoding": "gzip"})
            await self._ask("deep", "POST", "/v1/events", DEEP)
            await self._ask("wide", "POST", "/v1/events", WIDE)
            await self._ask("endless", "POST", "/v1/events", ENDLESS)
            await asyncio.sleep(BOMBS_EACH_S)

    async def names(self) -> None:
        for _ in range(NAMES // NAMES_AT_ONCE):
            await asyncio.gather(*[self._name() for _ in range(NAMES_AT_ONCE)])
            await asyncio.sleep(NAMES_EACH_S)

    async def _name(self) -> None:
        odd = f"x{self._dice.getrandbits(64):x}"
        method, path, body = self._dice.choice(
            [
                ("GET", f"/{odd}", None),
                (odd.upper(), "/v1/charges", None),
                ("POST", "/v1/events", event(odd, type=f"{odd}.{odd}", source=f"{odd}/{odd}")),
                ("POST", f"/hooks/{odd}/{odd}", b"{}"),
            ]
        )
        await self._ask("name", method, path, body, **{"User-Agent": odd})


async def test_valid_traffic_goes_on_beside_a_flood(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(example_catalog())
    async with RunningGateway(tmp_path, env={"METER_CATALOG": str(catalog)}) as gateway, gateway.client() as client:
        site, flood = Site(client), Flood(client)
        await site.send(20)
        before = await site.send(VALID)
        series_before = await series(client)
        async with slow_peers(gateway.addresses.http, SLOW):
            bombs, names = asyncio.create_task(flood.bombs()), asyncio.create_task(flood.names())
            meanwhile = await site.send(VALID)
            while not names.done():
                meanwhile += await site.send(20)
            await names
            bombs.cancel()
            await asyncio.gather(bombs, return_exceptions=True)
        after = await series(client)
        (events,) = await gateway.rows("SELECT count(*) FROM events WHERE id LIKE 'valid-%'")
    ratio = p99_ms(meanwhile) / p99_ms(before)
    print(  # noqa: T201  for the long form
        f"{SLOW} slow connections, {NAMES} names, {dict(flood.seen)}: p99 of {len(before)} answers"
        f" {p99_ms(before):.1f} ms, of {len(meanwhile)} meanwhile {p99_ms(meanwhile):.1f} ms ({ratio:.2f});"
        f" series {series_before} and {after}"
    )
    assert events == (20 + len(before) + len(meanwhile),)
    statuses = {kind: {status for which, status in flood.seen if which == kind} for kind, _ in flood.seen}
    assert statuses["gzip"] <= {413, 0}
    assert statuses["deep"] | statuses["wide"] | statuses["endless"] <= {200, 400, 413}
    assert statuses["name"] <= {200, 400, 404, 405}
    # A name that became a label would be a dozen series: a histogram's.
    assert after - series_before < min(NAMES, 10 * LABEL_VALUES_MAX)
