"""Processes that are stopped while they lead and go on later: whoever was overtaken writes nothing."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tests.booking.space import Space, pages
from tests.owning import as_owner
from tests.rows.leader_child import WAIT_S_MAX
from tests.rows.sizes import SEED, sized

FAILOVERS = sized(2, 100)
PROCESSES = 3
# The planted fault shows within a few of them.
PLANTED_MAX = 40
ROOT = Path(__file__).parents[2]
_TABLE = "CREATE TABLE past_the_fence (seq bigserial PRIMARY KEY, epoch bigint NOT NULL, pid bigint NOT NULL)"
_ZOMBIES = """
    SELECT count(*) FROM (SELECT epoch, max(epoch) OVER (ORDER BY seq) AS newest FROM past_the_fence) AS p
     WHERE epoch < newest
"""


class Leaders:
    """Processes that lead in turn."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.dice = random.Random(SEED)  # noqa: S311  a test is repeated by its seed
        self.events = 0
        self.stopped_inside = 0

    async def leader(self) -> tuple[int, int]:
        """The process that leads and its epoch."""
        while True:
            found = await self.space.rows("SELECT split_part(holder, '-', 1)::int, epoch FROM leases")
            if found:
                return found[0][0], found[0][1]
            await asyncio.sleep(0.02)

    async def feed(self) -> None:
        bodies = [pages(f"job-{self.events + n}", f"02T{8 + n:02}:00", 1) for n in range(3)]
        self.events += len(bodies)
        await self.space.accept(bodies)

    async def until(self, sql: str, *, within_s: float) -> bool:
        """Whether a query gives a row within that long."""
        try:
            async with asyncio.timeout(within_s):
                while not await self.space.rows(sql):  # noqa: ASYNC110  the database waits
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return False
        return True

    async def fail_over(self) -> None:
        """Stop the leader at a random moment of its work, wait for another that works, and let the first go on."""
        pid, epoch = await self.leader()
        await self.feed()
        await asyncio.sleep(self.dice.uniform(0, WAIT_S_MAX))
        os.kill(pid, signal.SIGSTOP)
        try:
            taken = f"SELECT 1 FROM leases WHERE epoch > {epoch}"  # noqa: S608  a number
            # One that stopped inside of its transaction holds its lease until it goes on or PostgreSQL ends it.
            if not await self.until(taken, within_s=3):
                self.stopped_inside += 1
                return
            await self.feed()
            worked = f"SELECT 1 FROM past_the_fence WHERE epoch > {epoch}"  # noqa: S608  as above
            assert await self.until(worked, within_s=60), "nobody leads"
        finally:
            os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(2 * WAIT_S_MAX)  # the moment in which it would write

    async def zombies(self) -> int:
        [(count,)] = await self.space.rows(_ZOMBIES)
        return int(count)

    async def rated(self) -> bool:
        """Whether all that came is rated within a while."""
        everything = f"SELECT 1 FROM charges HAVING sum(quantity) = {self.events}"  # noqa: S608  a number
        return await self.until(everything, within_s=60)


@asynccontextmanager
async def leading(space: Space, *arguments: str) -> AsyncIterator[Leaders]:
    async with as_owner(space.database) as connection:
        await connection.execute(text(_TABLE))
        await connection.execute(text("GRANT INSERT ON past_the_fence TO PUBLIC"))
        await connection.execute(text("GRANT USAGE ON SEQUENCE past_the_fence_seq_seq TO PUBLIC"))
    command: tuple[Any, ...] = (sys.executable, "-m", "tests.rows.leader_child", space.database.url, *arguments)
    children = [await asyncio.create_subprocess_exec(*command, cwd=ROOT) for _ in range(PROCESSES)]
    try:
        yield Leaders(space)
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()
            await child.wait()


async def test_no_leader_writes_once_another_has_taken_over(space: Space) -> None:
    async with leading(space) as leaders:
        for _ in range(10 * FAILOVERS):
            await leaders.fail_over()
            if (await leaders.leader())[1] > FAILOVERS:
                break
        assert await leaders.rated()
        _, epoch = await leaders.leader()
        assert epoch > FAILOVERS
        assert await leaders.zombies() == 0
        print(  # noqa: T201  for the long form
            f"leaders, seed {SEED}: {epoch - 1} fail-overs, {leaders.stopped_inside} more stopped inside of a"
            f" transaction, {leaders.events} events, no zombie write"
        )


async def test_a_missing_fence_is_found(space: Space) -> None:
    """Planted: whoever led when its step began goes on as if it still did."""
    async with leading(space, "unfenced") as leaders:
        for _ in range(PLANTED_MAX):
            await leaders.fail_over()
            if await leaders.zombies():
                break
        assert await leaders.zombies() > 0
