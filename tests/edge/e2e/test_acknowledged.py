"""What the gateway's word rests on: its commit, and that whatever it did not hear is sent again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from edge.uplink.window import RESEND_FIRST_S
from tests.edge.e2e.bill import Verdict
from tests.edge.e2e.brokers import MosquittoBroker, NatsBroker
from tests.edge.e2e.rig import AGENT, Rig, rigged
from tests.edge.e2e.test_faults import SEED

PAUSE_S: Final = 0.1
_WAITING: Final = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@asynccontextmanager
async def stalled(database_url: str) -> AsyncIterator[None]:
    """Let no event be stored meanwhile; the context begins when one waits for that."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE events IN EXCLUSIVE MODE")
            async with asyncio.timeout(60):
                while not await connection.fetchval(_WAITING):  # noqa: ASYNC110 -- nobody tells
                    await asyncio.sleep(0.02)
            yield
    finally:
        await connection.close()


async def under_way(rig: Rig) -> None:
    """Wait until events have gone all the way: nothing is sent before the gateway has said what time it is."""
    await rig.online()
    async with asyncio.timeout(60):
        while not await rig.gateway.rows("SELECT 1 FROM events WHERE type = 'door.access' LIMIT 1"):  # noqa: ASYNC110 -- nobody tells
            await asyncio.sleep(0.05)


async def killed_amid_commits(rig: Rig, database_url: str) -> Verdict:
    async with rig.posting(rig.devices(seed=SEED, pause_s=PAUSE_S)):
        await rig.journal.more(100)
        await under_way(rig)
        async with stalled(database_url):
            await rig.journal.more(200)
            await rig.gateway.kill()
        await rig.gateway.start()
        await rig.journal.more(50)
    return await rig.verdict()


async def test_a_gateway_killed_amid_its_commits_gets_everything_again(data_dir: Path, database_url: str) -> None:
    async with rigged(data_dir, database_url=database_url, broker=NatsBroker) as rig:
        assert (await killed_amid_commits(rig, database_url)).faults == {}


async def test_a_gateway_that_acknowledges_before_its_commit_loses_events(data_dir: Path, database_url: str) -> None:
    """The control. The agent would find out by comparing, while it lives; here it does not."""
    program, command = "tests.edge.e2e.hasty", ("tests.edge.e2e.child", json.dumps({"no_recall": True}))
    async with rigged(data_dir, database_url=database_url, broker=NatsBroker, program=program, command=command) as rig:
        verdict = await killed_amid_commits(rig, database_url)
        assert len(verdict.lost) > 0
        print(f"lost {len(verdict.lost)} of {len(rig.journal.told('safe'))}")  # noqa: T201


async def dropped_by_the_broker(rig: Rig) -> None:
    """Have more sent to a gateway that is away than its broker keeps, while the agent's connection holds."""
    async with rig.posting(rig.devices(seed=SEED, pause_s=PAUSE_S)):
        await rig.journal.more(100)
        await under_way(rig)
        await rig.gateway.kill()
        await rig.journal.more(400)
        await rig.gateway.start()


async def test_what_a_broker_drops_is_sent_again(data_dir: Path, database_url: str) -> None:
    broker = partial(MosquittoBroker, queued_max=2)
    async with rigged(data_dir, database_url=database_url, broker=broker) as rig:
        await dropped_by_the_broker(rig)
        assert (await rig.verdict()).faults == {}


async def test_without_sending_again_it_stays_in_the_spool(data_dir: Path, database_url: str) -> None:
    """The control."""
    broker = partial(MosquittoBroker, queued_max=2)
    command = ("tests.edge.e2e.child", json.dumps({"no_resend": True}))
    async with rigged(data_dir, database_url=database_url, broker=broker, command=command) as rig:
        await dropped_by_the_broker(rig)
        with pytest.raises(AssertionError, match="stays there"):
            await rig.agent.drained(within_s=3 * RESEND_FIRST_S)
        # It is not lost: the next connection begins anew.
        rig.agent.command = AGENT
        await rig.agent.kill()
        await rig.agent.start()
        assert (await rig.verdict()).faults == {}
