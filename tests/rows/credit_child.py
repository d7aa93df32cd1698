"""A gateway whose workers draw one account's credit.

Each worker asks before it prints and lets events in, and lets batches of scans in that nobody asked for; beside them
the process rates while it leads. At the end it prints what was promised, in its last line:
python -m tests.rows.credit_child DATABASE NUMBER BEGUN ASKS BATCHES [unlocked]; the last plants the fault.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from meter.booking import authorizing
from meter.booking.authorizing import Authorizer, Wanted
from meter.booking.worker import RatingWorker
from meter.clock import monotonic_s
from meter.ingest.accept import Acceptor
from meter.ingest.arrival import Arrival
from meter.model.errors import Unavailable
from meter.model.wire import read_event
from meter.store.authorizations import release_authorization
from meter.store.engine import Database
from meter.store.leases import LeaseKeeper
from meter.telemetry import Telemetry
from tests.booking.asking import printed
from tests.booking.space import LATER
from tests.ingest.bodies import northside
from tests.rows.sizes import SEED, sized

WORKERS = 16
# Scans a batch; each is a draw.
BATCH = sized(20, 100)
PAGES_MAX = 3
# One promise in so many is given back.
RELEASED = 8


class Gateway:
    def __init__(self, url: str, number: int, begun_s: float) -> None:
        self.number = number
        self.begun_s = begun_s
        self.database = Database(url, operator="northside")
        self.telemetry = Telemetry()
        self.authorizer = Authorizer(self.database, "northside", clock=self.now)
        self.acceptor = Acceptor(
            self.database, operator=northside, telemetry=self.telemetry, max_age_days=400, clock=self.now
        )
        self.counts: Counter[str] = Counter()

    def now(self) -> datetime:
        """The same for every process; a month ends in none of the runs."""
        return LATER + timedelta(days=1, seconds=monotonic_s() - self.begun_s)

    async def work(self, worker: int, asks: int, batches: int) -> None:
        """Do what one worker does, in an order by its seed."""
        name = f"{self.number}-{worker}"
        dice = random.Random(f"{SEED} {name}")  # noqa: S311  a test is repeated by its seed
        turns = ["ask"] * asks + ["batch"] * batches
        dice.shuffle(turns)
        for n, turn in enumerate(turns):
            if turn == "ask":
                await self.print_something(
                    f"{name}-{n}", dice.randint(1, PAGES_MAX), released=not dice.randrange(RELEASED)
                )
            else:
                scans = [_scan(f"{name}-{n}-{k}", self.now()) for k in range(BATCH)]
                await self.accept(scans)
                self.counts["scans"] += len(scans)

    async def print_something(self, name: str, count: int, *, released: bool) -> None:
        wanted: dict[str, Any] = {"identity": "badge:ADA1", "site": "berlin", "meter": "print-pages"}
        answered = await self.authorizer.ask(
            Wanted(id=name, quantity=Decimal(count), expires_s=3600, key="test", **wanted)
        )
        if not answered.authorization.allowed:
            self.counts["refused"] += 1
        elif released:
            async with self.database.begin() as connection:
                await release_authorization(connection, "northside", name, at=self.now())
            self.counts["released"] += 1
        else:
            await self.accept([printed(name, count, self.now(), settles=name)])
            self.counts["prints"] += 1
            self.counts["pages"] += count

    async def accept(self, bodies: list[bytes]) -> None:
        arrivals = [
            Arrival(parsed=read_event(body), channel="http", origin="test", received_at=self.now()) for body in bodies
        ]
        receipts = (await self.acceptor.accept(arrivals)).receipts
        assert {receipt.status for receipt in receipts} == {"accepted"}, receipts

    async def rate(self) -> None:
        """Rate whenever this process leads."""
        leases = LeaseKeeper(self.database)
        worker = RatingWorker(
            database=self.database,
            operator="northside",
            shards=1,
            leases=leases,
            telemetry=self.telemetry,
            clock=self.now,
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(leases.keep(worker.shards.lease_names, gained=lambda: None))
                while True:
                    try:
                        more = await worker.step()
                    except Unavailable:
                        more = False
                    if not more:
                        await asyncio.sleep(0.01)
        finally:
            await leases.close()


def _scan(name: str, at: datetime) -> bytes:
    body = json.loads(printed(name, 1, at)) | {"type": "scan.job", "data": {"pages": 1}}
    return json.dumps(body).encode()


async def main(url: str, number: str, begun_s: str, asks: str, batches: str) -> None:
    gateway = Gateway(url, int(number), float(begun_s))
    rating = asyncio.create_task(gateway.rate())
    await asyncio.gather(*(gateway.work(n, int(asks), int(batches)) for n in range(WORKERS)))
    rating.cancel()
    await asyncio.gather(rating, return_exceptions=True)
    await gateway.database.dispose()
    print(json.dumps(gateway.counts))  # noqa: T201  what the test reads


async def _nothing(*_: Any) -> None:
    """Lock nothing."""


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        if sys.argv[6:] == ["unlocked"]:
            patch.setattr(authorizing, "lock_account", _nothing)
        asyncio.run(main(*sys.argv[1:6]))
