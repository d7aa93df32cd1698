"""64 workers of four gateways draw one account's credits: never more than there is, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio

from meter.clock import monotonic_s
from tests.booking.asking import strict
from tests.booking.space import CATALOG, Space, open_space
from tests.rows.credit_child import BATCH, WORKERS
from tests.rows.sizes import SEED, sized

PROCESSES = 4
# Each worker's; in the long form 100,000 draws in all.
ASKS = sized(3, 60)
BATCHES = sized(1, 16)
# Both are used up on the way.
PAGES = PROCESSES * WORKERS * ASKS
SCANS = PROCESSES * WORKERS * BATCHES * BATCH * 19 // 20
ROOT = Path(__file__).parents[2]
_DRAWN = "SELECT unit, sum(amount) FROM draws GROUP BY 1"
_USED = "SELECT meter, sum(quantity), sum(covered), sum(billable) FROM charges GROUP BY 1"
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@pytest_asyncio.fixture
async def hot(database_url: str) -> AsyncIterator[Space]:
    """A space in which ADA's account has so many pages and scans."""
    catalog = strict(CATALOG).replace(
        '{id: pages, unit: page, amount: "10", meters: [print-pages], overage: deny}',
        f'{{id: pages, unit: page, amount: "{PAGES}", meters: [print-pages], overage: deny}},'
        f' {{id: scans, unit: scan, amount: "{SCANS}", meters: [scans]}}',
    )
    price = 'prices:\n      scans: [{id: scan, model: per_unit, unit_price: "0.01"}]'
    meters = "meters:\n  scans: {event: scan.job, aggregate: sum, value: pages, unit: scan}"
    catalog = catalog.replace("meters:\n", f"{meters}\n", 1).replace("prices:", price, 1)
    async with open_space(database_url, catalog) as space:
        yield space


async def _race(space: Space, *arguments: str, asks: int, batches: int) -> Counter[str]:
    """Let the processes draw until each has done its part; return what they were promised."""
    begun_s = monotonic_s()
    command = (sys.executable, "-m", "tests.rows.credit_child", space.database.url)
    children = [
        await asyncio.create_subprocess_exec(
            *command, *map(str, (number, begun_s, asks, batches)), *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        for number in range(PROCESSES)
    ]
    try:
        ended = asyncio.gather(*(child.communicate() for child in children))
        while not ended.done():
            await asyncio.wait([ended], timeout=0.2)
            await _assert_never_negative(space)
        counts: Counter[str] = Counter()
        for child, (told, _) in zip(children, await ended, strict=True):
            assert child.returncode == 0
            counts.update(json.loads(told.splitlines()[-1]))  # above it is the log
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()
            await child.wait()
    space.now += timedelta(days=1, seconds=monotonic_s() - begun_s)
    await space.rate()
    await _assert_never_negative(space)
    return counts


async def _assert_never_negative(space: Space) -> None:
    drawn = dict(await space.rows(_DRAWN))
    assert drawn.get("page", 0) <= PAGES, "more pages were drawn than there are"
    assert drawn.get("scan", 0) <= SCANS, "more scans were drawn than there are"


async def _assert_right(space: Space, counts: Counter[str]) -> None:
    """What was promised is free to the last page, what nobody asked for is free until the credit is gone."""
    assert counts["refused"] > 0, "there was credit for everybody: nothing was raced for"
    assert counts["released"] > 0
    used = {meter: tuple(map(int, figures)) for meter, *figures in await space.rows(_USED)}
    assert used["print-pages"] == (counts["pages"], counts["pages"], 0), "somebody pays for what was promised"
    assert counts["pages"] <= PAGES
    assert used["scans"] == (counts["scans"], SCANS, counts["scans"] - SCANS)
    assert dict(await space.rows(_DRAWN)) == {"page": Decimal(counts["pages"]), "scan": Decimal(SCANS)}
    assert await space.rows(_DEADLOCKS) == [(0,)]


async def test_credits_that_many_draw_are_never_overdrawn(hot: Space) -> None:
    counts = await _race(hot, asks=ASKS, batches=BATCHES)
    await _assert_right(hot, counts)
    draws = (await hot.rows("SELECT count(*) FROM draws"))[0][0]
    print(f"credit race, seed {SEED}: {PROCESSES * WORKERS} workers, {draws} draws, {dict(counts)}")  # noqa: T201  for the long form


async def test_without_the_accounts_lock_more_is_promised_than_there_is(hot: Space) -> None:
    """Planted: whoever asks does not wait for who asks at the same time."""
    counts = await _race(hot, "unlocked", asks=ASKS, batches=0)
    with pytest.raises(AssertionError, match="pays for what was promised"):
        await _assert_right(hot, counts)
