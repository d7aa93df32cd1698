"""Hints between gateways on one database: that something was committed, so that nobody has to look all the time.

    commit ─▶ tell ─▶ NOTIFY (at most every 50 ms, outside of every transaction that counts) ─▶ the others hear it

A hint may be lost, or come before what it tells of can be read; whoever waits for one looks now and then all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.log import log
from meter.store.engine import Database, reason_of

_CHANNEL: Final = "meter_hints"
# What rating has to look at was committed: events, facts, closings.
ACCEPTED: Final = "accepted"
# What exporters have to look at was committed.
BOOKED: Final = "booked"
# The catalog has a new version.
CATALOG: Final = "catalog"
# A key was revoked, or ends.
KEYS: Final = "keys"
# So often a hint is passed on at most: a burst of commits is one.
TELL_INTERVAL_S: Final = 0.05
# A connection that died without a word is found out by asking after so long.
CHECK_INTERVAL_S: Final = 30.0
CHECK_TIMEOUT_S: Final = 10.0
RECONNECT_PAUSE_S: Final = 1.0


async def tell_at_commit(connection: AsyncConnection, name: str) -> None:
    """Have every gateway told once this transaction commits: for what is rare, and may be another program's change."""
    await connection.execute(text("SELECT pg_notify(:channel, :name)"), {"channel": _CHANNEL, "name": name})


class Hints:
    """The hints of one process: `tell` the other processes, and have `heard` called by name when they tell."""

    def __init__(self, database: Database, *, heard: Mapping[str, Callable[[], None]]) -> None:
        """Connect to nothing yet."""
        self._database = database
        self._heard = heard
        self._untold: set[str] = set()
        self._waiting = asyncio.Event()
        self.listening = asyncio.Event()

    def tell(self, name: str) -> None:
        """Pass a hint on to the other processes, soon."""
        self._untold.add(name)
        self._waiting.set()

    async def run(self) -> None:
        """Pass on and listen until cancelled; while the database is away nobody hears anything."""
        while True:
            try:
                await self._connected()
            except Exception as error:  # noqa: BLE001 -- whatever it was, everybody still looks now and then
                log.warning("hints_lost", detail=reason_of(error))
            await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _connected(self) -> None:
        made = await self._database.engine.connect()
        try:
            connection = await made.execution_options(isolation_level="AUTOCOMMIT")
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection  # asyncpg's
            mine = driver.get_server_pid()

            def hear(_connection: object, pid: int, _channel: str, name: str) -> None:
                if pid != mine and name in self._heard:
                    self._heard[name]()

            await driver.add_listener(_CHANNEL, hear)
            self.listening.set()
            for heard in self._heard.values():  # what was told before is unknown
                heard()
            await self._pass_on(connection)
        finally:
            self.listening.clear()
            # Never back into the pool, where it would go on listening.
            await made.invalidate()
            await made.close()

    async def _pass_on(self, connection: AsyncConnection) -> None:
        while True:
            try:
                async with asyncio.timeout(CHECK_INTERVAL_S):
                    await self._waiting.wait()
            except TimeoutError:
                pass
            self._waiting.clear()
            names = sorted(self._untold)
            self._untold.clear()
            # With no name there is nothing to tell, and the connection is tried.
            statement = text("SELECT pg_notify(:channel, name) FROM unnest(CAST(:names AS text[])) AS told (name)")
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await connection.execute(statement, {"channel": _CHANNEL, "names": names})
            await asyncio.sleep(TELL_INTERVAL_S)
