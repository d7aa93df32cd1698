"""Devices and vendors that send nothing: asked again and again, their cursor stored with the events of each page.

due ─▶ request (pure) ─▶ transport ─▶ read (pure) ─▶ events + cursor: one commit ─▶ due again
  ▲                          └─ no answer ─▶ later each time
"""

from __future__ import annotations

import asyncio
import importlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from edge.clock import Clock
from edge.heartbeat import CollectorState, State
from edge.intake import Intake, Origin
from edge.spool.keeper import Keeper
from meter.log import log
from meter.model.errors import BadInput, Unavailable
from meter.model.event import Json
from meter.model.instant import EPOCH, instant_text, parse_instant
from meter.model.strict_json import exact_json, strict_json
from meter.model.wire import BODY_BYTES_MAX, Parsed
from meter.sources.make import refused
from meter.sources.setups import ConfiguredSource
from meter.sources.spec import Feed
from meter.sources.spec import Transport as TransportName
from meter.transport.asking.files import FileTransport
from meter.transport.asking.http import HttpTransport
from meter.transport.asking.retry import asked, pause_s
from meter.transport.asking.transport import Declined, Transport
from meter.transport.outgoing import ANYWHERE
from meter.transport.reading import Read, guarded

# A print server that was switched off on Friday answers on Monday. Who is silent for longer may never answer again:
# nobody's month waits for it, and what it then tells of is late like anything else.
HOLD: Final = timedelta(days=3)
# One commit; an answer of any vendor is a few of these.
_PORTION_EVENTS: Final = 500
_PORTION_BYTES: Final = 512 * 1024
# A full spool is not empty sooner.
_FULL_S: Final = 5.0
# A counter is dated by who reads it, and a file here by whoever writes it here.
_OWN_CLOCK: Final = frozenset(("snmp", "file"))
_SNMP: Final = "meter.transport.asking.snmp"


class Transports:
    """The ways to ask, each made when it is first needed: SNMP's library is 4 MB."""

    def __init__(self, clock: Clock) -> None:
        """Connect to nothing yet."""
        self._now = partial(_now, clock)
        self._made: dict[TransportName, Transport] = {}
        self._http: HttpTransport | None = None

    async def over(self, way: TransportName) -> Transport:
        """Return a way to ask. Raises Declined where it is none of the agent's."""
        if way not in self._made:
            self._made[way] = await self._make(way)
        return self._made[way]

    async def _make(self, way: TransportName) -> Transport:
        if way == "http":
            self._http = HttpTransport(clock=self._now, guard=ANYWHERE)
            return self._http
        if way == "file":
            return FileTransport(clock=self._now)
        if way != "snmp":
            raise Declined(f"this agent does not ask by {way}; let the gateway ask")
        module = await asyncio.to_thread(importlib.import_module, _SNMP)
        transport: Transport = module.SnmpTransport(clock=self._now, guard=ANYWHERE)
        return transport

    async def aclose(self) -> None:
        """Close every connection."""
        if self._http is not None:
            await self._http.close()


class Poller:
    """Polls one feed of one source."""

    def __init__(
        self,
        source: ConfiguredSource,
        feed_name: str,
        *,
        transports: Transports,
        keeper: Keeper,
        intake: Intake,
        clock: Clock,
    ) -> None:
        """Ask nothing yet."""
        self.name = f"poll:{source.setup.vendor}/{source.setup.name}/{feed_name}"
        self._source = source
        self._feed: Feed = source.vendor.feeds[feed_name]
        self._transports = transports
        self._keeper = keeper
        self._intake = intake
        self._clock = clock
        self._cursor: Json = None
        self._silent_since: datetime | None = None
        self._read_until = EPOCH
        self._failures = 0
        self._state: State = "waiting"
        self._detail: str | None = "not asked yet"
        self._last: datetime | None = None

    @property
    def state(self) -> CollectorState:
        """Return how it is. Complete up to the last answer, unless no bill waits for that: see HOLD and `billed`."""
        until: datetime | None = self._read_until
        detail = self._detail
        if self._silent_since is not None:
            detail = f"no answer since {instant_text(self._silent_since.replace(microsecond=0))}: {detail}"
            if _now(self._clock) - self._silent_since >= HOLD:
                until = None
        if not self._feed.billed:
            until = None
        return CollectorState(state=self._state, detail=detail, last=self._last, complete_until=until)

    async def run(self) -> None:
        """Poll until cancelled. Raises SpoolFailed."""
        await self.remember()
        while True:
            wait_s = await self.poll()
            await asyncio.sleep(wait_s)

    async def remember(self) -> None:
        """Go on where the agent was when it ended: what was read, and since when nobody answers. Raises SpoolFailed."""
        stored = (await self._keeper.positions()).get(self.name)
        position = {} if stored is None else strict_json(stored.encode())
        if isinstance(position, dict):
            self._cursor, since = position.get("cursor"), position.get("silent_since")
            self._silent_since = None if since is None else parse_instant(since)

    async def poll(self) -> float:
        """Ask for one page and return the seconds until the next is due. Raises SpoolFailed."""
        moment, body = _now(self._clock), b""
        try:
            request = self._guarded(partial(self._feed.request, self._source.setup, self._cursor, moment))
            answer = await asked(await self._transports.over(request.over), self._source.setup, request)
            body = answer.body[:BODY_BYTES_MAX]
            page = self._guarded(partial(self._feed.read, self._source.setup, self._cursor, answer))
        except (BadInput, Unavailable) as error:
            return await self._failed(error, body, moment)
        try:
            if page.items or page.cursor != self._cursor or self._silent_since is not None:
                position = self._position(page.cursor, None)
                await self._keep(page.items, position, same_clock=request.over in _OWN_CLOCK)
        except Unavailable as error:
            self._tell("waiting", error.detail)
            return _FULL_S
        self._cursor, self._silent_since, self._failures = page.cursor, None, 0
        self._state, self._detail = "running", None
        if page.items:
            self._last = _now(self._clock)
        if not page.more:
            self._read_until = moment
        return 0.0 if page.more else self._source.every_s or self._feed.every_s

    async def _failed(self, error: BadInput | Unavailable, body: bytes, moment: datetime) -> float:
        """Keep since when nothing is known, and what cannot be read for people; return when to ask again."""
        self._tell("failing", error.detail)
        items = [refused(error, body)] if body and isinstance(error, BadInput) else []
        since = self._silent_since or moment
        positions = {} if since == self._silent_since else self._position(self._cursor, since)
        self._silent_since = since
        try:
            if items or positions:
                await self._keep(items, positions, same_clock=False)
        except Unavailable:
            log.info("unreadable_dropped", source=self.name)  # it is asked for again
        wait_s = pause_s(error, self._failures, spread=random.uniform(0.75, 1.25))  # noqa: S311 -- spreads retries
        self._failures += 1
        return wait_s

    def _position(self, cursor: Json, silent_since: datetime | None) -> Mapping[str, str]:
        position: dict[str, Json] = {"cursor": cursor}
        if silent_since is not None:
            position["silent_since"] = instant_text(silent_since)
        return {self.name: exact_json(position)}

    async def _keep(self, items: Sequence[Parsed], positions: Mapping[str, str], *, same_clock: bool) -> None:
        """Store the items, the position with the last of them."""
        origin = Origin(name=self.name[:200], same_clock=same_clock)
        portions = list(_portions(items)) or [()]
        for portion in portions[:-1]:
            await self._intake.keep(portion, origin=origin)
        await self._intake.keep(portions[-1], origin=origin, positions=positions)

    def _guarded(self, read: Callable[[], Read]) -> Read:
        return guarded(read, vendor=self._source.setup.vendor, source=self._source.setup.name)

    def _tell(self, state: State, detail: str) -> None:
        if self._detail != detail:
            log.warning("source_not_polled", source=self.name, detail=detail)
        self._state, self._detail = state, detail


def _portions(items: Sequence[Parsed]) -> Iterator[Sequence[Parsed]]:
    portion: list[Parsed] = []
    size = 0
    for item in items:
        if portion and (len(portion) == _PORTION_EVENTS or size + len(item.body) > _PORTION_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(item)
        size += len(item.body)
    if portion:
        yield portion


def _now(clock: Clock) -> datetime:
    return clock.read().wall
