"""What is heard over MQTT: the filters of the settings, and the topics of the catalog in force, as it changes.

a new version is told, or one takes effect ─▶ read anew ─▶ changed
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from meter.catalog.build import catalog_from_body
from meter.clock import Clock, now
from meter.log import log
from meter.model.errors import Unavailable
from meter.store.catalogs import in_force, newest_version, read_versions
from meter.store.engine import Database
from meter.transport.topics import Topics

# Without a hint (store/hints.py) the newest version's number is looked at so often.
LOOK_INTERVAL_S: Final = 10.0
# After the database was away, or a version could not be read.
RECOVERY_PAUSE_S: Final = 2.0


class Subscriptions:
    """The topics of one operator. `told` is set by whoever hears of a new version."""

    def __init__(
        self,
        database: Database,
        *,
        operator: str,
        filters: Sequence[str],
        former: Sequence[str] = (),
        told: asyncio.Event,
        clock: Clock = now,
    ) -> None:
        """Know the settings' `filters` only, until `read`, and which others they may have had (`former`)."""
        self._database = database
        self._operator = operator
        self._told = told
        self._clock = clock
        self._newest: int | None = None
        self._next: datetime | None = None
        self._former = tuple(former)
        self.topics = Topics(tuple(filters))

    async def read(self) -> bool:
        """Read what is in force, where that may be another than before; return whether `topics` differ.

        What any version named and none in force does is left: a broker keeps the subscriptions of a session.
        Raises Unavailable.
        """
        self._told.clear()  # before anything is read: what is told meanwhile is looked at again
        at = self._clock()
        async with self._database.begin() as connection:
            newest = await newest_version(connection, self._operator)
            if newest == self._newest and (self._next is None or at < self._next):
                return False
            versions = await read_versions(connection, self._operator)
        current = in_force(versions, at)
        maps = (
            ()
            if current is None
            else catalog_from_body(current.body, version=current.version, effective=current.effective).topics
        )
        named = (entry["topic"] for version in versions for entry in version.body.get("mqtt") or ())
        former = tuple(dict.fromkeys([*self._former, *named]))
        known, self.topics = self.topics, Topics(self.topics.filters, maps, former)
        ahead = [v.effective for v in versions if v.account is None and v.effective is not None and v.effective > at]
        self._newest, self._next = newest, min(ahead, default=None)
        return known != self.topics

    async def follow(self, changed: Callable[[], None]) -> None:
        """Read anew whenever a version comes or takes effect, and call `changed`, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._wait_s()):
                    await self._told.wait()
            except TimeoutError:
                pass
            try:
                if await self.read():
                    changed()
            except Unavailable as error:
                log.warning("mqtt_topics_unread", detail=error.detail)
            except Exception:  # noqa: BLE001 -- the topics known so far are heard; that must not end with a version
                log.exception("mqtt_topics_unread")
            else:
                continue
            await asyncio.sleep(RECOVERY_PAUSE_S)
            self._told.set()

    def _wait_s(self) -> float:
        if self._next is None:
            return LOOK_INTERVAL_S
        return min(LOOK_INTERVAL_S, max(0.0, (self._next - self._clock()).total_seconds()))
