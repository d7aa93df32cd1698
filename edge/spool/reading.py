"""What is read of the spool beside its writer, on a connection of its own: the log shows it what is committed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Final

from edge.spool.errors import SpoolFailed
from edge.spool.records import Measurement, Stored
from edge.spool.rows import COLUMNS, Row, is_whole, machine_boots, measurements, stored
from edge.spool.spans import Run, waiting
from edge.spool.state import State

_CHECKED_AT_ONCE: Final = 512
_FROM: Final = f"SELECT {COLUMNS} FROM events WHERE place BETWEEN ? AND ? ORDER BY place LIMIT ?"  # noqa: S608  no value
# Each run between two holes is a query; a window is some thousand events.
_RUNS_MAX: Final = 1_000


class Reader:
    """Reads for one thread at a time. Every read is short: a long one would keep the log from being emptied.

    Raises sqlite3.Error where the file cannot be read, SpoolFailed where a row is not as it was written.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Read on this connection, which is nobody else's."""
        self._connection = connection
        self._machine_boots: dict[int, str] = {}

    @property
    def connection(self) -> sqlite3.Connection:
        """Return what to read on beside the events."""
        return self._connection

    def unsent(
        self, state: State, boot: int, first: int, last: int, *, events_max: int, bytes_max: int
    ) -> list[Stored]:
        """Return what waits of the boot's sequences `first` to `last`, in order.

        At most so many events and, but for a single one, so many bytes of bodies.
        """
        found: list[Stored] = []
        size = 0
        for row in self._rows(_waiting(state, boot, first, last), events_max):
            size += len(row.body)
            if found and size > bytes_max:
                break
            found.append(self._stored(row, state))
        return found

    def at(self, state: State, place: int) -> Stored | None:
        """Return the event at a place, if it is there."""
        row = next(self._rows(iter([Run(place, place)]), 1), None)
        return None if row is None else self._stored(row, state)

    def _rows(self, runs: Iterator[Run], events_max: int) -> Iterator[Row]:
        for run in runs:
            if events_max <= 0:
                return
            # An open statement would hold the log.
            with closing(self._connection.execute(_FROM, (*run, events_max))) as cursor:
                for row in map(Row._make, cursor):
                    events_max -= 1
                    yield row

    def _stored(self, row: Row, state: State) -> Stored:
        if row.machine_boot not in self._machine_boots:
            self._machine_boots = machine_boots(self._connection)
        return stored(row, state, self._machine_boots)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def positions(self) -> dict[str, str]:
        """Return how far each collector has read."""
        return dict(self._connection.execute("SELECT collector, position FROM positions").fetchall())

    def measurements(self) -> dict[str, Measurement]:
        """Return what was measured, by the machine's boot."""
        return {measurement.machine_boot: measurement for measurement in measurements(self._connection)}

    def check(self, after: int) -> int | None:
        """Look at some hundred rows after a place, and return after which to go on; None at the end.

        Raises SpoolFailed (damaged) where one is not as it was written.
        """
        query = f"SELECT {COLUMNS} FROM events WHERE place > ? ORDER BY place LIMIT ?"  # noqa: S608  no value
        last = None
        with closing(self._connection.execute(query, (after, _CHECKED_AT_ONCE))) as cursor:
            for row in map(Row._make, cursor):
                if not is_whole(row):
                    raise SpoolFailed(f"event {row.place} of the spool is not as it was written", damaged=True)
                last = row.place
        return last


def _waiting(state: State, boot: int, first: int, last: int) -> Iterator[Run]:
    places = state.places(boot, first, last)
    runs = (run for within in places for run in waiting(state.spans, within.first, within.last))
    return islice(runs, _RUNS_MAX)
