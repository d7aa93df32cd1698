"""Printers' own counters beside the metered jobs: reads only, for reconciliation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.event import EventKey, Position, UsageEvent
from meter.rating.effective import effective
from meter.rating.printer_counts import CounterReading, counted
from meter.sources.printers.jobs import JOB
from meter.sources.printers.snmp import COUNTER
from meter.store.usage import events_by_key, events_of_shared_things, revisions_of

# A counter is told at least once a day while the printer can be reached; it may be off over a long weekend.
LOOK_BACK: Final = timedelta(days=7)
_PAGE_EVENTS: Final = 2_000
_UNIT: Final = "impressions"
_PAGE: Final = text(
    """
    SELECT e.time, e.source, e.id
      FROM events AS e
     WHERE e.operator = :operator AND e.type = :type AND e.time >= :time AND e.time < :end
       AND (e.time, e.source, e.id) > (:time, :source, :id)
     ORDER BY e.time, e.source, e.id
     LIMIT :events_max
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrinterCount:
    """A printer between two moments, in sides.

    `counted` by the device; None where no two readings tell, or it counts something else. `metered`: of its jobs.
    `cancelled`: of jobs that were cancelled or refunded, which may have been printed all the same.
    """

    printer: str
    counted: int | None
    metered: int
    cancelled: int
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> int | None:
        """Return how much more the device counted than was metered; None where it counted nothing comparable."""
        return None if self.counted is None else self.counted - self.metered


@dataclass(slots=True)
class _Printer:
    metered: int = 0
    cancelled: int = 0
    markers: dict[tuple[str, str, str], list[CounterReading]] = field(default_factory=lambda: defaultdict(list))


async def printer_counts(
    connection: AsyncConnection, operator: str, *, start: datetime, end: datetime, printer: str | None = None
) -> list[PrinterCount]:
    """Return every printer of which something is known between `start` and `end`, by name; `printer`: only that."""
    found: dict[str, _Printer] = defaultdict(_Printer)
    async for event in _counting(connection, operator, COUNTER, start - LOOK_BACK, end):
        name, count = event.data.get("printer"), event.data.get("count")
        if isinstance(count, int) and printer in {None, name}:
            marker = (event.source, str(event.data.get("marker")), str(event.data.get("unit")))
            reading = CounterReading(time=event.time, count=count, serial=event.data.get("serial"))
            found[str(name)].markers[marker].append(reading)
    async for event in _counting(connection, operator, JOB, start, end):
        name = event.data.get("printer")
        if printer in {None, name}:
            one, sides = found[str(name)], int(event.data.get("impressions") or 0)
            if event.data.get("status") == "cancelled":
                one.cancelled += int(event.data.get("withdrawn_impressions") or sides)
            else:
                one.metered += sides
    return [_count(name, one, start) for name, one in sorted(found.items())]


async def _counting(
    connection: AsyncConnection, operator: str, event_type: str, start: datetime, end: datetime
) -> AsyncIterator[UsageEvent]:
    """Yield the events of a type in [start, end) that count, with the data that counts, in their order."""
    after = Position(start, "", "")
    while True:
        page = {"operator": operator, "type": event_type, "end": end, "events_max": _PAGE_EVENTS, **after._asdict()}
        rows = (await connection.execute(_PAGE, page)).all()
        keys = {EventKey(row.source, row.id) for row in rows}
        events = list((await events_by_key(connection, operator, keys)).values())
        events += await events_of_shared_things(connection, operator, events)
        revisions = await revisions_of(connection, operator, {event.key for event in events})
        for event in effective(events, revisions):
            if event.key in keys:
                yield event
        if len(rows) < _PAGE_EVENTS:
            return
        after = Position(*rows[-1])


def _count(name: str, printer: _Printer, start: datetime) -> PrinterCount:
    notes: list[str] = []
    total, told = 0, False
    for (_source, marker, unit), readings in sorted(printer.markers.items()):
        window = _from(readings, start)
        if unit != _UNIT:
            notes.append(f"marker {marker} counts {unit}, which is not compared")
        elif len(window) > 1:
            made = counted(window)
            total, told = total + made.count, True
            notes += made.notes
            if window[0].time >= start:
                notes.append(f"counted from {window[0].time:%Y-%m-%d %H:%M}Z only, when it was first read")
        else:
            notes.append("one reading alone counts nothing")
    if not printer.markers:
        notes.append("no counter is read")
    return PrinterCount(
        printer=name,
        counted=total if told else None,
        metered=printer.metered,
        cancelled=printer.cancelled,
        notes=tuple(notes),
    )


def _from(readings: Sequence[CounterReading], start: datetime) -> list[CounterReading]:
    """Return the last reading before `start`, and those from then on."""
    earlier = [reading for reading in readings if reading.time < start]
    return [*earlier[-1:], *(reading for reading in readings if reading.time >= start)]
