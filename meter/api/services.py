"""What handlers need from the rest of the gateway, handed in once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.clock import Clock, now
from meter.config import Settings
from meter.model.errors import BadInput
from meter.store.deliveries import Renew
from meter.store.directory import NO_CATALOG
from meter.store.engine import Database
from meter.store.fetching import SourceState
from meter.store.keys import Principal
from meter.telemetry import Telemetry

# Names a part (database, broker, ...) and returns when it answers; raises MeterError when it does not.
HealthCheck: TypeAlias = Callable[[], Awaitable[None]]
ReceiveEvents: TypeAlias = Callable[[web.Request, Principal], Awaitable[web.StreamResponse]]
# Hands a rejection in again and returns a receipt for each event in it.
RetryRejection: TypeAlias = Callable[[int], Awaitable[Sequence[object]]]
SourceStates: TypeAlias = Callable[[AsyncConnection, str], Awaitable[Sequence[SourceState]]]
ReceiveHook: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Wakeup:
    """A hint that something happened, for any number of waiters; who misses it polls.

    Take `next()` before looking and await it after: what happens in between is not missed.
    """

    def __init__(self, *, tell: Callable[[], None] = lambda: None) -> None:
        """Start without a hint; `tell` passes what happened here on to other processes."""
        self._event = asyncio.Event()
        self._tell = tell

    def notify(self) -> None:
        """Wake everyone who waits now: it happened here."""
        self.heard()
        self._tell()

    def heard(self) -> None:
        """Wake everyone who waits now: it happened in another process."""
        woken, self._event = self._event, asyncio.Event()
        woken.set()

    def next(self) -> asyncio.Event:
        """Return the event that the next `notify` sets."""
        return self._event


async def _no_sources(_conn: AsyncConnection, _operator: str) -> Sequence[SourceState]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of one gateway. `operator` returns the operator served, None before the first catalog.

    `receive_events` and `receive_hook` are the ingest role's doors (None: not served here); without `api_role` there
    are only these beside health, metrics and documents. `source_states` tells how sources are doing. `booked` is
    notified after each commit of charges; `accepted` after each commit of events or facts; `keys` when one is revoked
    or is to end. `stopping` is set when the server shuts down, and held requests are answered. `renew` makes
    the payload of a dead delivery anew, `resend` of one that its target lost. `admin_key` may change.
    """

    db: Database
    settings: Settings
    telemetry: Telemetry
    operator: Callable[[], Awaitable[str | None]]
    admin_key: Callable[[], str]
    clock: Clock = now
    booked: Wakeup = field(default_factory=Wakeup)
    accepted: Wakeup = field(default_factory=Wakeup)
    keys: Wakeup = field(default_factory=Wakeup)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    api_role: bool = True
    receive_events: ReceiveEvents | None = None
    receive_hook: ReceiveHook | None = None
    retry_rejection: RetryRejection | None = None
    source_states: SourceStates = _no_sources
    renew: Renew | None = None
    resend: Renew | None = None
    health: Mapping[str, HealthCheck] = field(default_factory=dict)

    async def require_operator(self) -> str:
        """Return the operator. Raises BadInput (`no_catalog`) before the first catalog."""
        operator = await self.operator()
        if operator is None:
            raise BadInput(NO_CATALOG, code="no_catalog")
        return operator
