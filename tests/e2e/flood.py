"""What floods a gateway beside its traffic: slow peers, bombs and invented names.

A process of its own, because whoever measures how long an answer takes must not wait for a thousand peers that write:
`python -m tests.e2e.flood ADDRESS SLOW NAMES`, with the key in `METER_FLOOD_KEY`. It prints a line when its slow peers
are connected, and ends with a line of JSON: how often what was answered how, as [kind, status, count].
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp

from tests.rows.sizes import SEED, sized

KEY = "METER_FLOOD_KEY"
# Whatever comes in is paced: what is asked is what valid traffic feels, not what two cores can do in all.
OPENED_IN_S = sized(1, 30)
BOMB_EACH_S = 0.25
NAMES_EACH_S = 0.1
NAMING = sized(30, 25)
GZIP_BOMB = gzip.compress(b" " * (64 * 1024 * 1024))
DEEP = b"[" * 100_000 + b"]" * 100_000
WIDE = b'{"specversion":"1.0","id":' + b"9" * 900_000 + b"}"
# A string without an end, each escape of which looks like another beginning.
ENDLESS = b"[" * 33 + b'"' + b'\\"' * 100_000
BOMBS = [
    ("gzip", GZIP_BOMB, {"Content-Encoding": "gzip"}),
    ("deep", DEEP, {}),
    ("wide", WIDE, {}),
    ("endless", ENDLESS, {}),
]
EVENT = {"Content-Type": "application/cloudevents+json"}
HEAD = b"POST /hooks/square/till HTTP/1.1\r\nHost: x\r\n"
BODY = HEAD + b"Content-Length: 100000\r\n\r\n"


def event(name: str, **changes: str) -> bytes:
    """A badge at a door."""
    made = {
        "specversion": "1.0",
        "id": name,
        "source": "berlin/door/main",
        "type": "door.access",
        "subject": "badge:04A2991B",
        "time": "2026-03-02T08:00:00Z",
    } | changes
    return json.dumps({**made, "data": {"door": "main", "direction": "in", "granted": True}}).encode()


@asynccontextmanager
async def slow_peers(address: str, count: int) -> AsyncIterator[None]:
    """So many peers, one after another, that send a byte a second of a head or a body, and come again when closed."""
    place = urlsplit(address)
    connected = [asyncio.Event() for _ in range(count)]

    async def one(number: int) -> None:
        await asyncio.sleep(OPENED_IN_S * number / count)
        while True:
            try:
                _, writer = await asyncio.open_connection(place.hostname, place.port)
            except OSError:
                await asyncio.sleep(1)
                continue
            connected[number].set()
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
        for each in connected:
            await each.wait()
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
            for kind, bomb, packing in BOMBS:
                await self._ask(kind, "POST", "/v1/events", bomb, **packing)
                await asyncio.sleep(BOMB_EACH_S)

    async def names(self, count: int) -> None:
        async def some(number: int) -> None:
            await asyncio.sleep(NAMES_EACH_S * number / NAMING)
            for _ in range(count // NAMING):
                await self._name()
                await asyncio.sleep(NAMES_EACH_S)

        await asyncio.gather(*map(some, range(NAMING)))

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


async def flood(address: str, slow: int, names: int) -> None:
    """Flood the gateway until all names were tried."""
    headers = {"Authorization": f"Bearer {os.environ[KEY]}"}
    async with aiohttp.ClientSession(address, headers=headers) as client, slow_peers(address, slow):
        print("open", flush=True)  # noqa: T201  whoever started it waits for this
        it = Flood(client)
        bombs = asyncio.create_task(it.bombs())
        await it.names(names)
        bombs.cancel()
        await asyncio.gather(bombs, return_exceptions=True)
    print(json.dumps([[kind, status, count] for (kind, status), count in it.seen.items()]), flush=True)  # noqa: T201


if __name__ == "__main__":
    # It stands for other machines: what it is busy with must not keep the gateway from its turn.
    os.nice(19)
    asyncio.run(flood(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
