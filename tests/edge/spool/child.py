"""An agent's spool with devices and a gateway, until it is killed: python -m tests.edge.spool.child DIR JSON.

It says on its output what it told, and only after it was told: `safe DEVICE ID BOOT SEQUENCE`, `refused DEVICE ID`,
`let-go BOOT SEQUENCE`. The JSON: `devices`; `gateway` (there is one); `count` (events of each device, otherwise without
end) and their `size`; `run` (part of the ids); `kill` (a failpoint) and `at` (its how manyeth time); `fail_sync` (from
which sync of the log on it fails); `full_after_syncs` (after how many there is no room for the log); `copy`
(acknowledge what was never sent); `early` (say "safe" before it is); `bounds`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from edge import failpoints
from edge.spool.errors import Full, SpoolFailed, leave
from edge.spool.file import Spool
from edge.spool.keeper import Keeper
from edge.spool.records import Bounds
from tests.edge.spool.making import SMALL, item
from tests.edge.spool.vfs import Spoiler, watched


def say(*words: object) -> None:
    """One write, so that a kill leaves whole lines."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def device(keeper: Keeper, plan: dict[str, Any], number: int) -> None:
    count = 0
    while plan.get("count") is None or count < plan["count"]:
        id = f"{plan.get('run', 0)}-{number}-{count}"
        if plan.get("early"):
            say("safe", number, id, 0, f"{plan['run']}{number}{count}")
        try:
            (place,) = await keeper.put([item(id, size=plan.get("size", 50))], {f"device-{number}": str(count)})
        except Full:
            say("refused", number, id)
            return
        if not plan.get("early"):
            say("safe", number, id, *place)
        count += 1


async def gateway(keeper: Keeper, plan: dict[str, Any]) -> None:
    """Acknowledge as it is sent, now and then, and keep the numbers apart that were told."""
    while True:
        sent = await keeper.unsent(keeper.boot, 0, events_max=20, bytes_max=1 << 20)
        if not sent:
            await asyncio.sleep(0)
            continue
        last = sent[-1].place
        await keeper.acknowledge(last.boot, last.sequence + (10**6 if plan.pop("copy", False) else 0))
        say("let-go", *last)


async def work(directory: Path, plan: dict[str, Any]) -> None:
    bounds = Bounds(**plan["bounds"]) if "bounds" in plan else SMALL
    async with Keeper(Spool.open(directory, bounds=bounds)) as keeper:
        devices = [asyncio.create_task(device(keeper, plan, n)) for n in range(plan.get("devices", 4))]
        beside = [asyncio.create_task(gateway(keeper, plan))] if plan.get("gateway") else []
        try:
            await asyncio.gather(*devices)
        finally:
            for task in (*devices, *beside):
                task.cancel()
            await asyncio.gather(*devices, *beside, return_exceptions=True)
        if keeper.failure is not None:
            leave()


def arm(plan: dict[str, Any]) -> None:
    left = plan.get("at", 1)

    def kill() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    failpoints.arm(plan["kill"], kill)


def spoiler_of(plan: dict[str, Any]) -> Spoiler:
    spoiler = Spoiler()
    syncs = 0

    def rule(operation: str, name: str) -> int:
        nonlocal syncs
        if name != "events.sqlite-wal":
            return 0
        syncs += operation == "sync"
        if "fail_sync" in plan and operation == "sync" and syncs >= plan["fail_sync"]:
            return sqlite3.SQLITE_IOERR_FSYNC
        if "full_after_syncs" in plan and operation == "write" and syncs >= plan["full_after_syncs"]:
            return sqlite3.SQLITE_FULL
        return 0

    spoiler.rule = rule
    return spoiler


def main() -> None:
    directory, plan = Path(sys.argv[1]), json.loads(sys.argv[2])
    if "kill" in plan:
        arm(plan)
    spoiled = plan.keys() & {"fail_sync", "full_after_syncs"}
    with watched(spoiler_of(plan)) if spoiled else nullcontext():
        try:
            asyncio.run(work(directory, plan))
        except SpoolFailed:
            leave()


if __name__ == "__main__":
    main()
