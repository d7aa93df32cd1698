"""Every failpoint of the gateway, crossed with kills while devices send: in a random order that the seed gives."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from chaos.parts import Gateway
from chaos.points import Points
from chaos.rig import Rig

# What is not passed for so long is never passed: a failpoint that nothing reaches makes the run fail.
PATIENCE_S: Final = 180
_LOOK_S: Final = 0.1
_AT_MAX: Final = 3
_ANSWERS_MAX: Final = 20
# Passed so seldom that the first time has to do.
_SELDOM: Final = frozenset(("delivery_asked", "before_seal_commit", "after_seal_commit", "head_told"))


async def cross(rig: Rig, points: Points, names: Sequence[str], *, seed: int, kills: int) -> list[str]:
    """Kill a gateway at each of `names` so many times, another one taking over; return what was not reached."""
    dice = random.Random(seed)  # noqa: S311  a run is repeated by its seed
    missed = []
    async with _restarted(rig):
        for _ in range(kills):
            for name in dice.sample(names, len(names)):
                await rig.journal.more(dice.randint(1, _ANSWERS_MAX))
                points.arm(name, at=1 if name in _SELDOM else dice.randint(1, _AT_MAX))
                before = points.killed()[name]
                await _provoke(rig, name, dice)
                if not await _killed(points, name, before):
                    missed.append(name)
    return missed


@asynccontextmanager
async def _restarted(rig: Rig) -> AsyncIterator[None]:
    """Have gateways that died started again at once, as systemd does."""
    over = False

    async def keep(gateway: Gateway) -> None:
        while not over:
            if gateway.pid is None:
                await gateway.start()
            await asyncio.sleep(_LOOK_S)

    async with asyncio.TaskGroup() as keepers:
        for gateway in rig.gateways.values():
            keepers.create_task(keep(gateway))
        try:
            yield
        finally:
            over = True


async def _provoke(rig: Rig, name: str, dice: random.Random) -> None:
    """Do what has to be done for a gateway to come by; any work passes the others."""
    if name == "lease_taken":
        for gateway in rig.gateways.values():
            if gateway.pid is not None:
                await gateway.kill()
    elif name == "delivery_asked":
        # Stripe keeps what it answered under a key: after a 500 it has to be asked, whether it did the work or not.
        rig.stripe.fail_next(500, committed=dice.random() < 0.5, method="POST")


async def _killed(points: Points, name: str, before: int) -> bool:
    """Wait until a gateway has died there."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while points.killed()[name] == before:  # noqa: ASYNC110 -- another process tells nobody
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        points.disarm()
        return False
    return True
