"""kill -9 of the agent, from the device to the bill: at random moments and at every named point.

METER_TEST_WAY_KILLS   kills at random, 10 unless set; each named point has a twenty-fifth of them, and one at least
METER_TEST_SEED        of the moments and of the devices
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest_asyncio

from edge import failpoints
from edge.spool.schema import PAGE_BYTES
from tests.edge.e2e.brokers import NatsBroker
from tests.edge.e2e.rig import AGENT, Rig, rigged

KILLS: Final = int(os.environ.get("METER_TEST_WAY_KILLS", "10"))
SEED: Final = int(os.environ.get("METER_TEST_SEED", "1"))
# Eight devices with five events each: 400 events a second, so that hardly a moment is without one underway.
PAUSE_S: Final = 0.1
# A hang is not waited for; nor is a failpoint that is never reached.
PATIENCE_S: Final = 60
# What one message is of a process that was acknowledged nothing, so that more than that is behind it.
_SOME_EVENTS: Final = 150
SALVAGE: Final = ("before_salvage_moved", "between_salvage_moves")
# What has to be done for a process to come by there; the others are crossed by any work.
PLANS: Final[dict[str, dict[str, Any]]] = {
    "before_checkpoint": {"at": 1},
    "after_checkpoint": {"at": 1},
    "ballast_released": {"full_after_syncs": 20},
    "spool_opened": {"at": 1},
}


@pytest_asyncio.fixture
async def rig(data_dir: Path, database_url: str) -> AsyncIterator[Rig]:
    async with rigged(data_dir, database_url=database_url, broker=NatsBroker) as running:
        yield running


async def judge(rig: Rig, kills: Counter[str]) -> None:
    """The bill is what devices were told. `kills` by where they were."""
    rig.agent.command = AGENT
    await rig.agent.start()
    verdict = await rig.verdict()
    told = {name: len(rig.journal.told(name)) for name in ("safe", "unknown")} | {"refused": len(rig.journal.refused)}
    print(f"seed {SEED}, kills: {dict(kills)}: {told}, {verdict.stored} stored")  # noqa: T201
    assert verdict.faults == {}
    codes = {code for (code,) in await rig.gateway.rows("SELECT DISTINCT code FROM rejections")}
    assert codes <= {"bad_data"}, "what nobody sent was refused"


async def test_killed_at_any_moment_what_devices_were_told_is_billed_once(rig: Rig) -> None:
    dice = random.Random(SEED)  # noqa: S311  a run is repeated by its seed
    kills: Counter[str] = Counter()
    async with rig.posting(rig.devices(seed=SEED, pause_s=PAUSE_S)):
        while kills.total() < KILLS:
            # Half of its lives end while nothing is sent yet, the others among messages and acknowledgements.
            if dice.random() < 0.5:
                await rig.online()
            await rig.journal.more(dice.randint(1, 60))
            await rig.agent.kill()
            kills["running"] += 1
            while kills.total() < KILLS and dice.random() < 0.2:
                await rig.agent.begin()
                await asyncio.sleep(dice.uniform(0, 0.8))
                await rig.agent.kill()
                kills["starting"] += 1
            await rig.agent.start()
        await rig.agent.kill()
    await judge(rig, kills)


async def test_killed_at_each_failpoint_what_devices_were_told_is_billed_once(rig: Rig) -> None:
    dice = random.Random(SEED)  # noqa: S311  a run is repeated by its seed
    kills: Counter[str] = Counter()
    await rig.agent.kill()
    for life in range(max(1, KILLS // 25)):
        async with rig.posting(rig.devices(seed=SEED, pause_s=PAUSE_S, part=f"f{life}-")):
            for name in failpoints.NAMES:
                if name not in {*SALVAGE, "before_renumber", "before_close"}:
                    await killed(rig, {"kill": name, "at": dice.randint(1, 30)} | PLANS.get(name, {}))
                    kills[name] += 1
            await killed_while_it_stops(rig)
        kills["before_close"] += 1
        for name in SALVAGE:
            await drained(rig, part=f"{name}{life}-")
            damage(rig.agent.directory / "spool")
            await killed(rig, {"kill": name})
            kills[name] += 1
        await older_copy(rig, part=f"copy{life}-")
        async with rig.posting(rig.devices(seed=SEED, pause_s=PAUSE_S, part=f"renumbered{life}-")):
            await killed(rig, {"kill": "before_renumber"})
        kills["before_renumber"] += 1
    assert set(kills) == set(failpoints.NAMES)
    await judge(rig, kills)


async def killed(rig: Rig, plan: dict[str, Any]) -> None:
    """Run the agent until it has killed itself."""
    rig.agent.command = ("tests.edge.e2e.child", json.dumps(plan))
    await rig.agent.begin()
    code = await asyncio.wait_for(rig.agent.process.wait(), PATIENCE_S)
    assert code == -signal.SIGKILL, f"{plan} was not reached: {rig.agent.log.read_text()[-2000:]}"


async def killed_while_it_stops(rig: Rig) -> None:
    rig.agent.command = ("tests.edge.e2e.child", json.dumps({"kill": "before_close"}))
    await rig.agent.start()
    await rig.journal.more(20)
    assert await rig.agent.stop() == -signal.SIGKILL


async def drained(rig: Rig, *, part: str) -> None:
    """Have some events taken, sent and acknowledged, and the agent stopped."""
    rig.agent.command = AGENT
    await rig.agent.start()
    async with rig.posting(rig.devices(seed=SEED, pause_s=0.01, part=part)):
        await rig.journal.more(_SOME_EVENTS)
    await rig.agent.drained()
    assert await rig.agent.stop() == 0


def damage(spool: Path) -> None:
    """Spoil a page in the middle, as a tired card does; everything that was told safe is at the gateway."""
    path = spool / "spool" / "events.sqlite"
    content = bytearray(path.read_bytes())
    middle = len(content) // PAGE_BYTES // 2 * PAGE_BYTES
    content[middle : middle + PAGE_BYTES] = b"\xff" * PAGE_BYTES
    path.write_bytes(content)
    (spool / "suspect").touch()


async def older_copy(rig: Rig, *, part: str) -> None:
    """Put the spool back to what it was before the gateway had had more of it."""
    spool, copy = rig.agent.directory / "spool", rig.agent.directory / "copy"
    await drained(rig, part=f"{part}before-")
    shutil.copytree(spool, copy)
    await drained(rig, part=f"{part}after-")
    shutil.rmtree(spool)
    copy.rename(spool)
