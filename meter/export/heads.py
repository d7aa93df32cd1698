"""Seals, made and told outside: the newest block's hash is written where no one who changes the database reaches.

One process at a time, under a lease. Nothing waits for it: what it has not sealed yet it seals with the next step.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from meter import failpoints
from meter.clock import Clock, monotonic_s
from meter.export.head_places import Heads
from meter.log import log
from meter.model.errors import Unavailable
from meter.model.instant import instant_text
from meter.store.engine import Database, reason_of
from meter.store.leases import LeaseKeeper, LeaseLost, fence
from meter.store.seals import BLOCK_ROWS_MAX, newest, seal_some
from meter.store.verify import Head
from meter.telemetry import Telemetry

# After a fault, and while another process seals.
_PAUSE_S: Final = 5.0


class Sealer:
    """Seals what was added every `seal_s`, and appends the newest block's hash to `heads` every `every_s`."""

    def __init__(
        self,
        database: Database,
        *,
        operator: str,
        leases: LeaseKeeper,
        heads: Heads,
        seal_s: float,
        every_s: float,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        """Prepare; the lease is asked for by `run`."""
        self._database = database
        self._operator = operator
        self._leases = leases
        self._heads = heads
        self._seal_s = seal_s
        self._every_s = every_s
        self._telemetry = telemetry
        self._clock = clock
        self._gained = asyncio.Event()
        self._told: int | None = None
        self._tell_at_s = monotonic_s()
        self.lease_name = f"seals {operator}"

    async def run(self) -> None:
        """Seal until cancelled."""
        self._leases.want([self.lease_name], gained=self._gained.set)
        while True:
            wait_s = self._seal_s
            try:
                if await self.step():
                    wait_s = 0.0
            except LeaseLost:
                wait_s = _PAUSE_S
            except Unavailable as error:
                log.warning("sealing_stalled", detail=error.detail)
                wait_s = _PAUSE_S
            except OSError as error:
                log.error(
                    "head_unwritten", detail=f"{self._heads.where}: {reason_of(error)}; what is sealed waits to be told"
                )
                wait_s = _PAUSE_S
            except Exception:  # noqa: BLE001 -- what is accepted and rated goes on; the alert tells that sealing does not
                log.exception("sealing_failed")
                wait_s = _PAUSE_S
            self._gained.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._gained.wait()

    async def step(self) -> bool:
        """Seal a block of each stream, and tell the head where it is time to; return whether there is more.

        Raises Unavailable, LeaseLost, OSError.
        """
        with self._leases.holding([self.lease_name]) as held:
            if not held:
                return False
            async with self._database.begin() as connection:
                await fence(connection, held)
                made = await seal_some(connection, self._operator, at=self._clock())
                failpoints.reach("before_seal_commit")
        failpoints.reach("after_seal_commit")
        self._telemetry.sealed(self._clock().timestamp(), rows=sum(block.rows for block in made))
        more = any(block.rows == BLOCK_ROWS_MAX for block in made)
        if not more and monotonic_s() >= self._tell_at_s:
            await self.tell()
            self._tell_at_s = monotonic_s() + self._every_s
        return more

    async def tell(self) -> None:
        """Have the newest block's hash among the heads; where it is there already, nothing. Raises OSError."""
        async with self._database.begin() as connection:
            last = await newest(connection, self._operator)
        if last is not None and last.block.n != self._told:
            at = instant_text(self._clock())
            await self._heads.add(self._operator, Head(n=last.block.n, hash=last.hash.hex(), at=at))
            failpoints.reach("head_told")
            self._told = last.block.n
        self._telemetry.head_told(self._clock().timestamp())
