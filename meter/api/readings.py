"""Who read what is kept of persons: a record a request, written within a second by one task (decision 0020).

    request ─▶ note (equal ones of a second are one, counted) ─▶ record, each second ─▶ audit

Nothing is dropped: where as many wait as may, the next caller waits until they are written, or is told to come again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from meter.api.routing import PRINCIPAL, Route
from meter.api.services import Services
from meter.log import log
from meter.model.errors import MeterError, Unavailable
from meter.store.records import Reading, record_readings

INTERVAL_S: Final = 1.0
# Different readings of one second: keys times routes times objects. Some hundred bytes each.
WAITING_MAX: Final = 5_000
# So long a caller waits for room: the database is away, or each second brings more than it takes.
ROOM_TIMEOUT_S: Final = 5.0

# What these answer is about no person: what is configured, how the machine is, and the record itself.
_IMPERSONAL: Final = frozenset(
    {"/v1/catalog", "/v1/sources", "/v1/edges", "/v1/edges/ca", "/v1/edges/crl", "/v1/edges/acl", "/v1/keys"}
    | {"/v1/audit", "/v1/journal/balances", "/v1/edges/{site}/{edge}/stored"}
)


def is_personal(route: Route) -> bool:
    """Tell whether what the route answers may be about a person: every reading one, but for those named here."""
    return route.method == "GET" and route.scope in {"usage:read", "admin"} and route.path not in _IMPERSONAL


class Readings:
    """The readings that wait to be recorded."""

    def __init__(self, services: Services) -> None:
        """Begin with none."""
        self._services = services
        self._waiting: dict[Reading, int] = {}
        self._room = asyncio.Event()
        self._some = asyncio.Event()

    async def note(self, request: web.Request, route: Route) -> None:
        """Have a reading recorded. Raises Unavailable (`audit_behind`) where there is no room for it in time."""
        path, query = request.match_info, request.query
        reading = Reading(
            actor=request[PRINCIPAL].key,
            kind=f"{route.method} {route.path}",
            object=path.get("id", "") if "/members/" not in route.path else "",
            member=query.get("member") or (path.get("id") if "/members/" in route.path else None),
            filters=tuple(sorted({*query} - {"cursor", "limit", "wait"})) + _accounts(query.getall("account", [])),
        )
        if reading not in self._waiting and len(self._waiting) >= WAITING_MAX:
            self._room.clear()
            try:
                async with asyncio.timeout(ROOM_TIMEOUT_S):
                    await self._room.wait()
            except TimeoutError as error:
                message = "what is read cannot be recorded now; try again shortly"
                raise Unavailable(message, code="audit_behind") from error
        self._waiting[reading] = self._waiting.get(reading, 0) + 1
        self._some.set()

    async def run(self) -> None:
        """Record what waits, each second, until cancelled; then what is left."""
        try:
            while True:
                await self._some.wait()
                await asyncio.sleep(INTERVAL_S)
                await self._record()
        finally:
            await self._record()

    async def _record(self) -> None:
        self._some.clear()
        taken = list(self._waiting.items())
        if not taken:
            return
        try:
            operator = await self._services.operator()
            if operator is not None:
                async with self._services.db.begin() as connection:
                    await record_readings(connection, operator, taken)
        except MeterError as error:
            self._some.set()
            log.warning("readings_unrecorded", waiting=len(taken), detail=error.detail)
            return
        for reading, times in taken:
            left = self._waiting[reading] - times
            if left:
                self._waiting[reading] = left
                self._some.set()
            else:
                del self._waiting[reading]
        self._room.set()

    async def serve(self, _app: web.Application) -> AsyncIterator[None]:
        """Record while the application serves (an aiohttp cleanup context)."""
        task = asyncio.create_task(self.run(), name="readings")
        yield
        task.cancel()
        await asyncio.wait([task])


def _accounts(accounts: list[str]) -> tuple[str, ...]:
    """Return the accounts that a list was narrowed to: whose, not what."""
    return tuple(f"account={account[:100]}" for account in accounts[:1])
