"""Rows to records and back, and what only rows can tell: bytes of a run, the state at opening."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zlib import crc32

from edge.clock import Reading
from edge.spool.errors import SpoolFailed
from edge.spool.records import Depth, Item, Measurement, Stored
from edge.spool.spans import Run, Span, Spans, kept, waiting
from edge.spool.state import Segment, State

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_STAMPED: Final = 1
# Two bits for yes, no and unknown.
_SYNCHRONISED: Final[Mapping[bool | None, int]] = {None: 0, False: 2, True: 4}
_SYNCHRONISED_OF: Final = {bits: value for value, bits in _SYNCHRONISED.items()}
_CRC_FIELDS: Final = struct.Struct("<qqqqqB")

INSERT: Final = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
COLUMNS: Final = "place, total, crc, wall_us, machine_boot, boottime_ns, flags, body"


class Row(NamedTuple):
    """A row of `events`, in the order of its columns."""

    place: int
    total: int
    crc: int
    wall_us: int
    machine_boot: int
    boottime_ns: int
    flags: int
    body: bytes


def microseconds(instant: datetime) -> int:
    """Return an instant as the file keeps it: microseconds since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(us: int) -> datetime:
    """Return the instant of so many microseconds since 1970, in UTC."""
    return _EPOCH + us * _MICROSECOND


def row_of(item: Item, body: bytes, *, place: int, total: int, machine_boot: int) -> Row:
    """Return the row of an item. Raises struct.error where a number of its reading has more than 64 bits."""
    wall_us = microseconds(item.heard.wall)
    flags = _SYNCHRONISED[item.heard.synchronised] | (_STAMPED if item.stamped else 0)
    return _sealed(Row(place, total, 0, wall_us, machine_boot, item.heard.boottime_ns, flags, body))


def moved(row: Row, *, place: int, total: int) -> Row:
    """Return the row for another place."""
    return _sealed(row._replace(place=place, total=total))


def _sealed(row: Row) -> Row:
    return row._replace(crc=_crc(row))


def _crc(row: Row) -> int:
    numbers = (row.place, row.total, row.wall_us, row.machine_boot, row.boottime_ns, row.flags)
    return crc32(row.body, crc32(_CRC_FIELDS.pack(*numbers)))


def is_whole(row: Row) -> bool:
    """Return whether the row is as it was written."""
    try:
        return row.crc == _crc(row)
    except (TypeError, struct.error):
        # A damaged file answers with other types than it was given.
        return False


def stored(row: Row, state: State, machine_boots: Mapping[int, str]) -> Stored:
    """Return the event of a row. Raises SpoolFailed where the row is not as it was written."""
    if not is_whole(row):
        raise SpoolFailed(
            f"event {row.place} of the spool is not as it was written; the agent stops and salvages what it can",
            damaged=True,
        )
    heard = Reading(
        wall=instant(row.wall_us),
        boottime_ns=row.boottime_ns,
        machine_boot=machine_boots.get(row.machine_boot, lost_boot(row.machine_boot)),
        synchronised=_SYNCHRONISED_OF[row.flags & 6],
    )
    return Stored(place=state.number(row.place), body=row.body, heard=heard, stamped=bool(row.flags & _STAMPED))


def lost_boot(number: int) -> str:
    """Return what stands for a machine's boot whose name could not be read: the clock cannot be mended by it."""
    return f"lost-{number}"


def bytes_of(connection: sqlite3.Connection, run: Run) -> int:
    """Return the bytes of the bodies of a run whose rows are all there."""
    first = connection.execute("SELECT total - length(body) FROM events WHERE place = ?", (run.first,)).fetchone()
    last = connection.execute("SELECT total FROM events WHERE place = ?", (run.last,)).fetchone()
    if first is None or last is None:
        raise SpoolFailed(
            f"events {run.first} to {run.last} are not all in the spool, though none was removed", damaged=True
        )
    return int(last[0]) - int(first[0])


def load_state(connection: sqlite3.Connection) -> State:
    """Return the numbers that the file holds. Looks at two rows for each span, never at all the rows."""
    meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    newest = connection.execute("SELECT place, total FROM events ORDER BY place DESC LIMIT 1").fetchone() or (0, 0)
    next_place, total = max(meta["next_place"], newest[0] + 1), max(meta["total"], newest[1])
    spans = tuple(Span(*row) for row in connection.execute("SELECT first, last, hour FROM acknowledged ORDER BY first"))
    return State(
        segments=tuple(
            Segment(*row) for row in connection.execute("SELECT first, boot, base FROM segments ORDER BY first")
        ),
        spans=spans,
        next_place=next_place,
        total=total,
        depth=_depth(connection, spans, next_place - 1),
        mark=meta["mark"],
        proven=bool(meta["proven"]),
    )


def _depth(connection: sqlite3.Connection, spans: Spans, last: int) -> Depth:
    runs, old = list(waiting(spans, 1, last)), list(kept(spans, 1, last))
    return Depth(
        events=sum(run.length for run in runs),
        bytes=sum(bytes_of(connection, run) for run in runs),
        kept_events=sum(run.length for run in old),
        kept_bytes=sum(bytes_of(connection, run) for run in old),
    )


def write_spans(connection: sqlite3.Connection, before: Spans, after: Spans) -> None:
    """Make the table say `after`, touching only the rows that differ."""
    gone, come = set(before) - set(after), set(after) - set(before)
    connection.executemany("DELETE FROM acknowledged WHERE first = ?", [(span.first,) for span in sorted(gone)])
    connection.executemany("INSERT INTO acknowledged VALUES (?, ?, ?)", sorted(come))


def write_meta(connection: sqlite3.Connection, values: Mapping[str, int]) -> None:
    """Set these of the single values."""
    connection.executemany(
        "UPDATE meta SET value = ? WHERE name = ?", [(value, name) for name, value in values.items()]
    )


def machine_boots(connection: sqlite3.Connection) -> dict[int, str]:
    """Return the machine's boots that events were heard in, by number."""
    return dict(connection.execute("SELECT number, id FROM machine_boots").fetchall())


def measurements(connection: sqlite3.Connection) -> list[Measurement]:
    """Return what was measured, one of each machine's boot at most."""
    rows: Iterable[tuple[str, int, int, int, int]] = connection.execute(
        """SELECT id, boottime_ns, true_us, error_ms, ntp
             FROM machine_boots WHERE boottime_ns IS NOT NULL ORDER BY number"""
    )
    return [
        Measurement(machine_boot=id, boottime_ns=boottime_ns, true=instant(true_us), error_ms=error_ms, ntp=bool(ntp))
        for id, boottime_ns, true_us, error_ms, ntp in rows
    ]


def write_segments(connection: sqlite3.Connection, segments: tuple[Segment, ...]) -> None:
    """Make the table say `segments`: a handful, and changed hardly ever."""
    connection.execute("DELETE FROM segments")
    connection.executemany("INSERT INTO segments VALUES (?, ?, ?)", segments)
