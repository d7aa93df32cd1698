"""Bad bodies among good ones: every good one is stored and billed, and what the bad ones cost is measured."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from time import perf_counter

from meter.clock import now
from meter.ingest.arrival import Arrival
from meter.model.wire import read_event
from tests.booking.space import Space, pages
from tests.ingest.bodies import acceptor, poisonous
from tests.rows.sizes import SEED, sized

GOOD = sized(1_000, 100_000)
BAD = sized(50, 1_000)
# What the gateway writes at once, at most.
BATCH = 500


async def _let_in(space: Space, bodies: Sequence[bytes]) -> float:
    """Read and store bodies as the doors do; return the seconds."""
    door = acceptor(space.database, now=space.now)
    started = perf_counter()
    for at in range(0, len(bodies), BATCH):
        arrivals = [
            Arrival(parsed=read_event(body), channel="mqtt", origin="spaces/berlin/x", received_at=now(), site="berlin")
            for body in bodies[at : at + BATCH]
        ]
        await door.accept(arrivals)
    return perf_counter() - started


def _good(run: str) -> list[bytes]:
    return [pages(f"{run}-{n}", f"{2 + n % 27:02}T{8 + n % 12:02}:{n % 60:02}", 1) for n in range(GOOD)]


async def test_bad_bodies_cost_no_good_event(space: Space) -> None:
    dice = random.Random(SEED)  # noqa: S311  a test is repeated by its seed
    bad = [poisonous(number, "berlin") for number in range(BAD)]
    seconds = {"good": 0.0, "mixed": 0.0}
    # Turn about, in parts, so that both meet the same machine and the same size of tables.
    good, mixed = _good("good"), [*_good("mixed"), *bad]
    dice.shuffle(mixed)
    parts = 10
    for n in range(parts):
        seconds["good"] += await _let_in(space, good[n::parts])
        seconds["mixed"] += await _let_in(space, mixed[n::parts])
    ratio = seconds["good"] / seconds["mixed"]
    print(f"poison, seed {SEED}: {BAD} bad among {GOOD} good at {ratio:.0%} of the speed, {seconds}")  # noqa: T201
    assert await space.rows("SELECT count(*) FROM events") == [(2 * GOOD,)]
    assert await space.rows("SELECT sum(count) FROM rejections") == [(BAD,)]
    await space.rate()
    [(quantity,)] = await space.rows("SELECT sum(quantity) FROM charges WHERE account = 'acme'")
    assert quantity == Decimal(2 * GOOD)
