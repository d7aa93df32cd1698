"""Slow peers, bombs and invented names beside valid traffic: all of it is answered, and nothing grows.

How long valid answers took before and meanwhile is printed (`-rP`), not judged: that is for a machine that does nothing
else. `METER_TEST_LONG=1` opens 1,000 slow connections and tries 100,000 names.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from meter.clock import monotonic_s
from meter.examples import example_catalog
from meter.rundir import admin_key
from meter.telemetry import LABEL_VALUES_MAX
from tests.e2e.flood import EVENT, KEY, event
from tests.gateway import RunningGateway
from tests.rows.sizes import sized

ROOT = Path(__file__).parents[2]
SLOW = sized(150, 1_000)
NAMES = sized(300, 100_000)
VALID = sized(60, 2_000)
VALID_EACH_S = 0.02


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


def percentile_ms(took: list[float], share: float) -> float:
    return sorted(took)[int(len(took) * share) - 1] * 1000


async def series(client: aiohttp.ClientSession) -> int:
    async with client.get("/metrics") as answer:
        return sum(not line.startswith("#") for line in (await answer.text()).splitlines())


@asynccontextmanager
async def flooding(gateway: RunningGateway) -> AsyncIterator[Process]:
    """The process that floods it, connected."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.e2e.flood", gateway.addresses.http, str(SLOW), str(NAMES),
        cwd=ROOT, stdout=PIPE, env=os.environ | {KEY: admin_key(gateway.data_dir)},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"open\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_valid_traffic_goes_on_beside_a_flood(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(example_catalog())
    async with RunningGateway(tmp_path, env={"METER_CATALOG": str(catalog)}) as gateway, gateway.client() as client:
        site = Site(client)
        await site.send(20)
        before = await site.send(VALID)
        series_before = await series(client)
        async with flooding(gateway) as process:
            ended = asyncio.create_task(process.communicate())
            meanwhile = await site.send(VALID)
            while not ended.done():
                meanwhile += await site.send(20)
            seen = json.loads((await ended)[0])
            assert process.returncode == 0
        after = await series(client)
        (events,) = await gateway.rows("SELECT count(*) FROM events WHERE id LIKE 'valid-%'")
    print(f"{SLOW} slow connections, {NAMES} names, {seen}; series {series_before} and {after}")  # noqa: T201
    for share in (0.5, 0.99):
        first, then = percentile_ms(before, share), percentile_ms(meanwhile, share)
        print(  # noqa: T201  for the long form
            f"p{share * 100:.0f} of {len(before)} answers {first:.1f} ms, of {len(meanwhile)} meanwhile {then:.1f} ms"
            f" ({then / first:.2f})"
        )
    assert events == (20 + len(before) + len(meanwhile),)
    statuses = {kind: {status for which, status, _ in seen if which == kind} for kind, _, _ in seen}
    assert statuses["gzip"] <= {413, 0}
    assert statuses["deep"] | statuses["wide"] | statuses["endless"] <= {200, 400, 413}
    assert statuses["name"] <= {200, 400, 404, 405}
    # A name that became a label would be a dozen series: a histogram's.
    assert after - series_before < min(NAMES, 10 * LABEL_VALUES_MAX)
