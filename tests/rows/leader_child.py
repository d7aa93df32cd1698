"""A process that rates while it leads, until it is killed: python -m tests.rows.leader_child DATABASE [unfenced].

It waits before the fence and notes each time that it came past it, so that a stop finds it in between.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Iterable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking import worker as worker_module
from meter.booking.worker import RatingWorker
from meter.clock import now
from meter.model.errors import Unavailable
from meter.store import leases as leases_module
from meter.store.engine import Database
from meter.store.leases import Lease, LeaseKeeper, fence
from meter.telemetry import Telemetry

TTL_S = 0.5
RENEW_S = 0.1
# The longest wait before the fence; a step without it takes a tenth.
WAIT_S_MAX = 0.3
_NOTE = text("INSERT INTO past_the_fence (epoch, pid) VALUES (:epoch, :pid)")


async def lead(url: str, *, fenced: bool) -> None:
    database = Database(url, operator="northside")
    leases = LeaseKeeper(database, holder=str(os.getpid()))

    async def slow_fence(connection: AsyncConnection, held: Iterable[Lease]) -> None:
        [mine] = held
        await asyncio.sleep(random.uniform(0, WAIT_S_MAX))  # noqa: S311  any moment will do
        if fenced:
            await fence(connection, [mine])
        async with database.begin() as noting:
            await noting.execute(_NOTE, {"epoch": mine.epoch, "pid": os.getpid()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_module, "fence", slow_fence)
        patch.setattr(leases_module, "LEASE_TTL_S", TTL_S)
        patch.setattr(leases_module, "RENEW_INTERVAL_S", RENEW_S)
        worker = RatingWorker(
            database=database, operator="northside", shards=1, leases=leases, telemetry=Telemetry(), clock=now
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(leases.keep(worker.shards.lease_names, gained=lambda: None))
            while True:
                try:
                    more = await worker.step()
                except Unavailable:
                    more = False
                except Exception:  # noqa: BLE001  without a fence it meets what another wrote, and goes on
                    more = False
                if not more:
                    await asyncio.sleep(0.005)


if __name__ == "__main__":
    asyncio.run(lead(sys.argv[1], fenced=sys.argv[2:] != ["unfenced"]))
