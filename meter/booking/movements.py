"""Has movements that came long ago keep no more than a bill needs: block by block, by one process (decision 0026)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.clock import Clock, monotonic_s
from meter.log import log
from meter.model.errors import MeterError
from meter.store.acting import say_operator
from meter.store.engine import Database, sqlstate
from meter.store.leases import LeaseKeeper
from meter.store.movement_copies import clear_copies
from meter.store.thinning import Thinned, thin_some

Begin: TypeAlias = Callable[[], AbstractAsyncContextManager[AsyncConnection]]

# A day is what people count in; what comes due in between waits for some hours.
_LOOK_S: Final = 6 * 3600.0
# After news of a fault, and while another process has the lease.
_PAUSE_S: Final = 900.0
_DENIED: Final = "42501"


async def thin(
    begin: Begin,
    operator: str,
    *,
    before: datetime,
    write: bool = True,
    told: Callable[[Thinned], None] = lambda _found: None,
) -> Thinned:
    """Thin what was sealed before an instant, a transaction at a time, and then clear what other tables hold of it.

    Killed anywhere, the next one goes on.

    `begin` gives transactions of the tables' owner; without `write`, which only looks, of anybody.
    """
    found = Thinned()
    while found.more:
        began_s = monotonic_s()
        async with begin() as connection:
            await thin_some(connection, operator, before=before, found=found, write=write)
        told(found)
        # Rating waits while one is under way: it has the floor for as long in between.
        await asyncio.sleep(monotonic_s() - began_s if write and found.more else 0.0)
    if write:
        async with begin() as connection:
            await clear_copies(connection, operator, before=before)
    return found


class MovementsKeeper:
    """Thins what has become old enough, some times a day. One process at a time, under a lease."""

    def __init__(
        self,
        database: Database,
        *,
        operator: str,
        leases: LeaseKeeper,
        days: int,
        clock: Clock,
    ) -> None:
        """Prepare; the lease is asked for by `run`. `database` names the server and who logs in."""
        self._database = database
        self._operator = operator
        self._leases = leases
        self._days = days
        self._clock = clock
        self._gained = asyncio.Event()
        # Set once it has tried, whether or not it could.
        self.tried = asyncio.Event()
        self.lease_name = f"movements {operator}"

    async def run(self) -> None:
        """Thin until cancelled; what fails is tried again."""
        self._leases.want([self.lease_name], gained=self._gained.set)
        while True:
            wait_s = _PAUSE_S
            try:
                if await self.step() is not None:
                    wait_s = _LOOK_S
            except (MeterError, OSError) as error:
                log.error("movements_kept", detail=error.detail if isinstance(error, MeterError) else str(error))
            except DBAPIError as error:
                if sqlstate(error) != _DENIED:
                    log.exception("movements_kept")
                else:
                    wait_s = _LOOK_S
                    log.error(
                        "movements_kept",
                        detail="only the owner of the tables may take something out of events, and METER_DATABASE_URL "
                        "names another user; run `meter privacy movements --yes` daily as the one of `meter migrate`",
                    )
            except Exception:  # noqa: BLE001 -- what is accepted and rated goes on
                log.exception("movements_kept")
            self.tried.set()
            self._gained.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._gained.wait()

    async def step(self) -> Thinned | None:
        """Thin all that is old enough, where this process is the one to do it. Raises MeterError, DBAPIError."""
        with self._leases.holding([self.lease_name]) as held:
            if not held:
                return None
            # Once a day: a connection of the owner's is not kept for it.
            database = Database(self._database.url, hasher=self._database.hasher, as_owner=True)

            @asynccontextmanager
            async def begin() -> AsyncIterator[AsyncConnection]:
                async with database.begin() as connection:
                    await say_operator(connection, self._operator)
                    yield connection

            try:
                found = await thin(begin, self._operator, before=self._clock() - timedelta(days=self._days))
            finally:
                await database.dispose()
        if found.thinned:
            log.info("movements_thinned", rows=found.thinned)
        if found.changed:
            log.error("movements_changed", detail="not what was sealed; see `meter audit verify`", rows=found.changed)
        return found
