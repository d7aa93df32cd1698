"""How true events reach the gateway: late, twice, out of order, a whole morning at once; but each at least once.

event ──┬── jitter ──────────────────▶ arrives within seconds, neighbours change places
        ├── again, a little later ───▶ arrives twice
        └── device or site offline ──▶ arrives with the others of its device when the line is back
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from meter.simulate.dice import Dice
from meter.simulate.event import Delivery, TrueEvent

# What fits well below a megabyte, the limit of one HTTP body and of many brokers' messages.
BACKLOG_EVENTS_MAX: Final = 50
_MINUTES_PER_DAY: Final = 24 * 60
_REPEAT_DELAY_S: Final = (1, 90)
_RECONNECT_S: Final = (1, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How bad the lines are, in percent: messages repeated; devices and sites offline at some time of a day."""

    repeated: int = 2
    device_offline: int = 8
    site_offline: int = 2
    jitter_ms_max: int = 3000


NO_FAULTS: Final = Faults(repeated=0, device_offline=0, site_offline=0, jitter_ms_max=0)


@dataclass(order=True, slots=True)
class _Pending:
    at: datetime
    number: int
    source: str = field(compare=False)
    events: list[TrueEvent] = field(compare=False)


def deliver(events: Iterable[TrueEvent], *, seed: int, faults: Faults | None = None) -> Iterator[Delivery]:
    """Yield the deliveries of `events` (in order of time) in order of arrival, each event at least once.

    An event is late by up to a day. Only what has not arrived yet is held in memory.
    """
    return _Lines(seed, faults or Faults()).run(events)


class _Lines:
    """The lines between the devices and the gateway: what has happened and has not arrived."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self._seed = seed
        self._faults = faults
        self._dice = Dice(seed, "lines")
        self._pending: list[_Pending] = []
        self._backlogs: dict[tuple[str, datetime], _Pending] = {}
        self._outages: dict[tuple[str, date], tuple[datetime, datetime] | None] = {}
        self._number = 0

    def run(self, events: Iterable[TrueEvent]) -> Iterator[Delivery]:
        """Yield what arrives up to each event's time, then the rest."""
        for event in events:
            while self._pending and self._pending[0].at <= event.time:
                yield from self._arrive()
            self._send(event)
        while self._pending:
            yield from self._arrive()

    def _send(self, event: TrueEvent) -> None:
        back = self._back_online(event)
        if back is not None:
            backlog = self._backlogs.get((event.source, back))
            if backlog is None:
                at = back + timedelta(seconds=self._dice.between(*_RECONNECT_S))
                self._backlogs[event.source, back] = self._push(at, event)
            else:
                backlog.events.append(event)
            return
        at = event.time + timedelta(milliseconds=self._dice.between(0, self._faults.jitter_ms_max))
        self._push(at, event)
        if self._dice.chance(self._faults.repeated):
            self._push(at + timedelta(seconds=self._dice.between(*_REPEAT_DELAY_S)), event)

    def _push(self, at: datetime, event: TrueEvent) -> _Pending:
        self._number += 1
        pending = _Pending(at=at, number=self._number, source=event.source, events=[event])
        heapq.heappush(self._pending, pending)
        return pending

    def _arrive(self) -> Iterator[Delivery]:
        pending = heapq.heappop(self._pending)
        for start in range(0, len(pending.events), BACKLOG_EVENTS_MAX):
            part = pending.events[start : start + BACKLOG_EVENTS_MAX]
            if self._dice.chance(self._faults.repeated):
                part.reverse()
            yield Delivery(at=pending.at, source=pending.source, events=tuple(part))

    def _back_online(self, event: TrueEvent) -> datetime | None:
        """Return when the outage that holds `event` ends, None while its line is up."""
        today = event.time.date()
        ends = []
        for day in (today - timedelta(days=1), today):
            for name, percent in ((event.source, self._faults.device_offline), (event.site, self._faults.site_offline)):
                outage = self._outage(name, day, percent)
                if outage is not None and outage[0] <= event.time < outage[1]:
                    ends.append(outage[1])
        return max(ends, default=None)

    def _outage(self, name: str, day: date, percent: int) -> tuple[datetime, datetime] | None:
        if percent == 0:
            return None
        key = (name, day)
        if key not in self._outages:
            dice = Dice(self._seed, "outage", name, day)
            start = datetime.combine(day, time.min, tzinfo=UTC) + timedelta(minutes=dice.between(6 * 60, 18 * 60))
            length_min, length_max = dice.pick(((5, 60), (5, 60), (60, 360), (360, _MINUTES_PER_DAY)))
            end = start + timedelta(minutes=dice.between(length_min, length_max))
            self._outages[key] = (start, end) if dice.chance(percent) else None
        return self._outages[key]
