"""What can be read of a damaged file, stored again in a new one: events that wait, positions, measurements, answers.

What is acknowledged stays behind in the damaged file. Where it cannot be read what is, everything waits again: the
gateway takes an event once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

from edge import failpoints
from edge.spool.rows import COLUMNS, INSERT, Row, is_whole, lost_boot, moved
from edge.spool.schema import connect
from edge.spool.spans import Span, Spans, waiting

# Rows in memory at once, of up to a quarter of a megabyte each.
_AT_ONCE: Final = 32
# A transaction of the new file; with the log that it leaves it is far below the file's bounds.
_COMMITTED_BYTES: Final = 4 * 1024 * 1024
# Beyond the last number that can be read there may be more; so far is looked before it is given up.
_LOOKED_BEYOND: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """What became of a damaged spool: `kept` events are stored again, at most `lost` could not be read.

    None: nothing could be, not even how many there were. `fault`: what was found; `aside`: the name of the directory
    with the damaged file.
    """

    kept: int
    lost: int | None
    fault: str = ""
    aside: str = ""

    def named(self, *, fault: str, aside: str) -> Salvage:
        """Return it with why and where to."""
        return replace(self, fault=fault, aside=aside)


def copy_readable(damaged: Path, target: sqlite3.Connection) -> Salvage:
    """Copy what can be read, and return how much. Errors of `target` are raised, those of the damaged file are not."""
    nothing = Salvage(kept=0, lost=None)
    if not damaged.exists():
        return nothing
    try:
        opened = connect(damaged, read_only=True)
    except sqlite3.DatabaseError:
        return nothing
    with closing(opened) as source:
        known = _Known(
            spans=tuple(
                Span(*row) for row in _read(source, "SELECT first, last, hour FROM acknowledged ORDER BY first")
            ),
            last=_last(source),
        )
        _boot_after(source, target)
        _copy_beside(source, target)
        _copy_answers(source, target)
        kept = _copy_events(source, target, known)
    failpoints.reach("before_salvage_moved")
    lost = sum(run.length for run in waiting(known.spans, 1, known.last)) - kept
    return Salvage(kept=kept, lost=max(lost, 0))


# Its event has another place in the new file.
_SELECT_ANSWER: Final = """SELECT number, id, account, meter, allowed, offline, crc, body, known, owes, refusal,
    released_us, NULL, settled, closed FROM authorizations WHERE number = ?"""
_INSERT_ANSWER: Final = "INSERT OR IGNORE INTO authorizations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class _Known(NamedTuple):
    spans: Spans
    last: int


def _read(source: sqlite3.Connection, query: str, *values: int) -> list[Any]:
    """Return the rows, or none where they cannot be read."""
    try:
        return source.execute(query, values).fetchall()
    except sqlite3.DatabaseError:
        return []


def _last(source: sqlite3.Connection) -> int:
    found = [
        *_read(source, "SELECT place FROM events ORDER BY place DESC LIMIT 1"),
        *_read(source, "SELECT value - 1 FROM meta WHERE name = 'next_place'"),
    ]
    return max((int(row[0]) for row in found), default=0)


def _boot_after(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Make the new file's boot greater than the old one's, whatever the clock said when either was drawn."""
    for (boot,) in _read(source, "SELECT max(boot) FROM segments"):
        target.execute("UPDATE segments SET boot = max(boot, ?)", ((boot or 0) + 1,))


def _copy_beside(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    for table, marks in (("machine_boots", "?, ?, ?, ?, ?, ?"), ("positions", "?, ?")):
        rows = _read(source, f"SELECT * FROM {table}")  # noqa: S608  two names of ours
        target.execute("BEGIN IMMEDIATE")
        target.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)  # noqa: S608  the same
        target.execute("COMMIT")


def _copy_answers(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Copy what devices were answered before they acted, and the gateway's words unless an answer cannot be read.

    Without all answers nobody knows what was allowed since a word: then nothing is, until the gateway has spoken again.
    """
    target.execute("BEGIN IMMEDIATE")
    whole = True
    try:
        numbers = [number for (number,) in source.execute("SELECT number FROM authorizations ORDER BY number")]
    except sqlite3.DatabaseError:
        numbers, whole = [], False
    for number in numbers:
        found = _read(source, _SELECT_ANSWER, number)
        kept = [row for row in found if isinstance(row[7], bytes) and crc32(row[7]) == row[6]]
        whole = whole and bool(kept)
        for row in kept:
            try:
                target.execute(_INSERT_ANSWER, row)
            except sqlite3.IntegrityError:  # a damaged file answers with other types than it was given
                whole = False
    if whole:
        words = _read(source, "SELECT about, account, meter, heard, crc, body FROM words")
        sound = [row for row in words if isinstance(row[5], bytes) and crc32(row[5]) == row[4]]
        target.executemany("INSERT OR IGNORE INTO words VALUES (?, ?, ?, ?, ?, ?)", sound)
    for (heard,) in _read(source, "SELECT value FROM meta WHERE name = 'heard'"):
        target.execute("UPDATE meta SET value = ? WHERE name = 'heard'", (heard,))
    target.execute("COMMIT")


def _copy_events(source: sqlite3.Connection, target: sqlite3.Connection, known: _Known) -> int:
    place, total, committed = 0, 0, 0
    target.execute("BEGIN IMMEDIATE")
    for row in _rows(source, known.last):
        if not is_whole(row) or next(waiting(known.spans, row.place, row.place), None) is None:
            continue
        place, total = place + 1, total + len(row.body)
        # Without the name of its machine's boot the event's clock cannot be mended, but it is kept.
        target.execute(
            "INSERT OR IGNORE INTO machine_boots (number, id) VALUES (?, ?)",
            (row.machine_boot, lost_boot(row.machine_boot)),
        )
        target.execute(INSERT, moved(row, place=place, total=total))
        if total - committed > _COMMITTED_BYTES:
            target.execute("COMMIT")
            target.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            target.execute("BEGIN IMMEDIATE")
            committed = total
    target.execute("COMMIT")
    return place


def _rows(source: sqlite3.Connection, last: int) -> Iterator[Row]:
    """Yield the rows that can be read, in order; they are looked for one by one where some cannot."""
    after = 0
    while True:
        try:
            found = source.execute(
                f"SELECT {COLUMNS} FROM events WHERE place > ? ORDER BY place LIMIT ?",  # noqa: S608  no value
                (after, _AT_ONCE),
            ).fetchall()
        except sqlite3.DatabaseError:
            if after > last + _LOOKED_BEYOND:
                return
            one = f"SELECT {COLUMNS} FROM events WHERE place = ?"  # noqa: S608  no value
            for place in range(after + 1, after + _AT_ONCE + 1):
                yield from map(Row._make, _read(source, one, place))
            after += _AT_ONCE
            continue
        rows = [Row(*row) for row in found]
        # A damaged tree may answer out of order; to go on from the same place would never end.
        rows = [row for row in rows if row.place > after]
        if not rows:
            return
        yield from rows
        after = max(row.place for row in rows)
