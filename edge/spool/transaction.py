"""The work of one transaction: statements on the writer's connection, and the state as it will be once they commit."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from edge import failpoints
from edge.clock import Reading
from edge.spool.errors import Full
from edge.spool.records import (
    PUT_BYTES_MAX,
    PUT_EVENTS_MAX,
    ROW_BYTES,
    Acknowledgement,
    Bounds,
    Depth,
    Item,
    Measurement,
    Place,
    Put,
    unusable,
    with_id,
)
from edge.spool.rows import INSERT, Row, bytes_of, microseconds, row_of, write_meta, write_segments, write_spans
from edge.spool.schema import PAGE_BYTES
from edge.spool.spans import Run, Spans, kept, remove, reopen, settle
from edge.spool.state import State, acknowledged_runs, renumbered
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.model.strict_json import exact_json

# Random bits of a boot beside its seconds: two spools made in one second still differ.
_BOOT_BITS: Final = 20
# Pages that no event may have: for acknowledgements, positions, measurements and the inner pages of the trees.
PAGES_RESERVED: Final = 64
# So many removed at once keep a transaction within the log, whatever the size of the events.
_REMOVED_AT_ONCE: Final = 64
# Rows of up to a quarter of a page fill the pages but for the one that does not fit any more; larger ones are counted
# with a page of their own.
_SMALL_BYTES: Final = PAGE_BYTES // 4
# Of a row that one page cannot hold, at least a little stays there and the rest fills pages of its own.
_LOCAL_BYTES: Final = PAGE_BYTES - 35
_OVERFLOW_BYTES: Final = PAGE_BYTES - 4
_SMALL_A_PAGE: Final = PAGE_BYTES - _SMALL_BYTES - ROW_BYTES


class Transaction:
    """Statements between BEGIN and COMMIT, which are the caller's, with the state that they lead to in `state`.

    `pages`: about how many of them were written.

    `sent`: the highest sequence of the boot in use that this process handed out to be sent. `opening`: what tells this
    opening of the file from any other, also of a copy of it.
    """

    def __init__(
        self, connection: sqlite3.Connection, state: State, bounds: Bounds, *, now: Reading, sent: int, opening: str
    ) -> None:
        """Begin with the state as committed."""
        self.state = state
        self._connection = connection
        self._bounds = bounds
        self._now = now
        self._sent = sent
        self._opening = opening
        self._machine_boots: dict[str, int] = {}
        self.pages = 0
        self._free = 0

    @property
    def connection(self) -> sqlite3.Connection:
        """Return what to write on beside the events."""
        return self._connection

    @property
    def now(self) -> Reading:
        """Return what the clocks say."""
        return self._now

    @property
    def _hour(self) -> int:
        hour = int(self._now.wall.timestamp()) // 3600
        if self._now.synchronised is not False:
            return max(hour, 0)
        # A clock that starts in 1970 would make what is acknowledged now the oldest of all.
        return max(hour, *(span.hour for span in self.state.spans), 0)

    # --- events in --------------------------------------------------------------------------------------------------

    def store(self, put: Put) -> tuple[Place, ...]:
        """Store the events under the next numbers, and the positions. Raises BadInput, Full: nothing is stored."""
        fault = next((fault for item in put.items if (fault := unusable(item))), None)
        if fault is not None:
            raise fault
        if len(put.items) > PUT_EVENTS_MAX or put.size > PUT_BYTES_MAX:
            raise BadInput(
                f"{len(put.items)} events of {put.size} bytes are too many for one put; "
                f"at most {PUT_EVENTS_MAX} and {PUT_BYTES_MAX} bytes",
                code="put_too_large",
            )
        self._make_room(put)
        rows = self._rows(put.items)
        self._connection.executemany(INSERT, rows)
        if put.positions:
            self._connection.executemany(
                "INSERT INTO positions VALUES (?, ?) ON CONFLICT DO UPDATE SET position = excluded.position",
                sorted(put.positions.items()),
            )
        self._settle(put.items)
        places = tuple(self.state.number(row.place) for row in rows)
        if rows:
            added = rows[-1].total - self.state.total
            self._change(events=len(rows), size=added)
            self.state = replace(self.state, next_place=rows[-1].place + 1, total=rows[-1].total)
        return places

    def _settle(self, items: tuple[Item, ...]) -> None:
        """Note of each authorization that is named here for the first time which event it was."""
        settled = []
        for place, item in enumerate(items, self.state.next_place):
            if (named := item.settles) is not None:
                event = {"source": named.source, "id": named.id, "at": instant_text(item.heard.wall)}
                settled.append((place, exact_json(event), named.authorization))
        self._connection.executemany(
            "UPDATE authorizations SET event_place = ?, settled = ?, closed = 0 WHERE id = ? AND settled IS NULL",
            settled,
        )

    def _rows(self, items: tuple[Item, ...]) -> list[Row]:
        rows, total, place = [], self.state.total, self.state.next_place
        for item in items:
            body = item.body
            if not item.named:
                boot, sequence = self.state.number(place)
                body = with_id(body, f"{boot}-{sequence}-{self._opening}")
            total += len(body)
            machine_boot = self._machine_boot(item.heard.machine_boot)
            rows.append(row_of(item, body, place=place, total=total, machine_boot=machine_boot))
            place += 1
        return rows

    def _machine_boot(self, id: str) -> int:
        if id not in self._machine_boots:
            self._connection.execute("INSERT INTO machine_boots (id) VALUES (?) ON CONFLICT DO NOTHING", (id,))
            found = self._connection.execute("SELECT number FROM machine_boots WHERE id = ?", (id,)).fetchone()
            self._machine_boots[id] = int(found[0])
        return self._machine_boots[id]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Undo what is done inside, and nothing else, where it raises."""
        before = self.state
        self._connection.execute("SAVEPOINT put")
        try:
            yield
        except BaseException:
            # Where the disk is full SQLite may have rolled back everything by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO put")
                self._connection.execute("RELEASE put")
            self.state = before
            self._machine_boots.clear()
            raise
        self._connection.execute("RELEASE put")

    # --- room -------------------------------------------------------------------------------------------------------

    def _make_room(self, put: Put) -> None:
        """Remove acknowledged events until the put fits. Raises Full where it does not even so."""
        held, bounds = self.state.depth, self._bounds
        over = self.state.events_held + len(put.items) - bounds.events_max
        if over > 0 and over <= held.kept_events:
            self.evict(over)
        elif over > 0:
            raise Full(
                f"the spool holds {held.events} events that the gateway has not acknowledged, and takes "
                f"{bounds.events_max}; {len(put.items)} more are refused: restore the way to the gateway, "
                "or raise the bound",
                bound="events",
            )
        self._reserve(_pages(put))

    def make_room(self, size: int) -> None:
        """Remove acknowledged events until a row of so many bytes fits beside the events. Raises Full."""
        self._reserve(2 + size // _SMALL_A_PAGE)

    def _reserve(self, pages: int) -> None:
        self.pages += pages
        # Counted once, and less what was asked for since: to count for each put would be most of its cost.
        self._free -= pages
        if self._free >= 0:
            return
        while (free := self._pages_free() - PAGES_RESERVED) < pages:
            if not self.evict(_REMOVED_AT_ONCE):
                raise Full(
                    f"the spool holds {self.state.depth.bytes} bytes of events that the gateway has not acknowledged, "
                    f"and may take {self._bounds.bytes_max} on the disk; {max(free, 0) * PAGE_BYTES} are free, "
                    f"{pages * PAGE_BYTES} asked "
                    "for: restore the way to the gateway, or raise the bound",
                    bound="bytes",
                )
        self._free = free - pages

    def _pages_free(self) -> int:
        ask = self._connection.execute
        most = int(ask("PRAGMA max_page_count").fetchone()[0])
        return most - int(ask("PRAGMA page_count").fetchone()[0]) + int(ask("PRAGMA freelist_count").fetchone()[0])

    def evict(self, events: int) -> int:
        """Remove so many acknowledged events, the oldest first, and return how many it was."""
        return self._remove(list(kept(self.state.spans, 1, self.state.last_place)), events)

    def expire(self, events: int) -> int:
        """Remove at most so many of the events acknowledged longer ago than they are kept, and return how many.

        None by a clock that nothing steers: it may be years ahead.
        """
        if self._now.synchronised is False:
            return 0
        retention_h = int(self._bounds.retention.total_seconds()) // 3600
        # One hour more: an hour's span may have begun just before it ended.
        last_hour = int(self._now.wall.timestamp()) // 3600 - retention_h - 1
        old = [Run(span.first, span.last) for span in self.state.spans if 0 <= span.hour <= last_hour]
        return self._remove(old, events)

    def _remove(self, candidates: list[Run], events: int) -> int:
        removed, spans = 0, self.state.spans
        for run in candidates:
            if removed >= events:
                break
            part = Run(run.first, min(run.last, run.first + events - removed - 1))
            self._change(kept_events=-part.length, kept_size=-bytes_of(self._connection, part))
            self._connection.execute("DELETE FROM events WHERE place BETWEEN ? AND ?", part)
            # The pages of what is left at either end, the list of free pages, the map of pages.
            self.pages += 4 + part.length // 64
            spans = remove(spans, part)
            removed += part.length
        if removed:
            # The rows that told the next number may be among them.
            write_meta(self._connection, {"next_place": self.state.next_place, "total": self.state.total})
            self._respan(spans)
        return removed

    # --- acknowledgements -------------------------------------------------------------------------------------------

    def acknowledge(self, acknowledgement: Acknowledgement) -> int:
        """Let go of what the gateway has, and return how many events it was.

        A number that was never sent from here is of another history: this file is an older copy. Nothing is let go
        then, and all that waits is numbered anew under another boot. Boots that are not of this file count nothing.
        """
        highest = max(acknowledgement.up_to, *acknowledgement.also, 0)
        if acknowledgement.boot == self.state.boot and highest > max(self.state.mark, self._sent):
            self.renumber()
            return 0
        spans, fresh = settle(self.state.spans, acknowledged_runs(self.state, acknowledgement), self._hour)
        if fresh:
            events, size = sum(run.length for run in fresh), sum(bytes_of(self._connection, run) for run in fresh)
            self._change(events=-events, size=-size, kept_events=events, kept_size=size)
            self._respan(spans)
            if not self.state.proven and acknowledgement.boot == self.state.boot:
                self._remember(mark=self.state.mark, proven=True)
        return sum(run.length for run in fresh)

    def renumber(self) -> None:
        """Number all that waits under the boot in use anew, under another."""
        failpoints.reach("before_renumber")
        segments = renumbered(self.state, draw_boot(self._now, after=self.state.boot))
        write_segments(self._connection, segments)
        self.state = replace(self.state, segments=segments)
        self._sent = 0
        self._remember(mark=0, proven=False)

    def allow(self, sequence: int) -> None:
        """Write down that up to this sequence of the boot in use something may be sent."""
        self._remember(mark=sequence, proven=self.state.proven)

    def _remember(self, *, mark: int, proven: bool) -> None:
        write_meta(self._connection, {"mark": mark, "proven": int(proven)})
        self.state = replace(self.state, mark=mark, proven=proven)

    def reopen(self, within: list[Run]) -> int:
        """Let what is kept of these places wait for the gateway again, and return how many events it is."""
        spans, again = self.state.spans, []
        for run in within:
            again += list(kept(spans, run.first, run.last))
            spans = reopen(spans, run)
        events, size = sum(run.length for run in again), sum(bytes_of(self._connection, run) for run in again)
        self._change(events=events, size=size, kept_events=-events, kept_size=-size)
        self._respan(spans)
        return events

    def measure(self, measurement: Measurement) -> None:
        """Keep what an instant of a machine's boot truly was, in place of what was measured before."""
        number = self._machine_boot(measurement.machine_boot)
        self._connection.execute(
            "UPDATE machine_boots SET boottime_ns = ?, true_us = ?, error_ms = ?, ntp = ? WHERE number = ?",
            (
                measurement.boottime_ns,
                microseconds(measurement.true),
                measurement.error_ms,
                int(measurement.ntp),
                number,
            ),
        )

    def _respan(self, spans: Spans) -> None:
        write_spans(self._connection, self.state.spans, spans)
        self.state = replace(self.state, spans=spans)

    def _change(self, *, events: int = 0, size: int = 0, kept_events: int = 0, kept_size: int = 0) -> None:
        held = self.state.depth
        depth = Depth(
            events=held.events + events,
            bytes=held.bytes + size,
            kept_events=held.kept_events + kept_events,
            kept_bytes=held.kept_bytes + kept_size,
        )
        self.state = replace(self.state, depth=depth)


def draw_boot(now: Reading, *, after: int) -> int:
    """Return a boot that no other spool has and that is greater than `after`, whatever the clock says."""
    drawn = int(now.wall.timestamp()) << _BOOT_BITS | secrets.randbits(_BOOT_BITS)
    return max(drawn, after + 1)


def _pages(put: Put) -> int:
    """Return at most how many pages the put takes."""
    sizes = [len(item.body) + ROW_BYTES for item in put.items]
    small = sum(size for size in sizes if size <= _SMALL_BYTES)
    large = sum(1 if size <= _LOCAL_BYTES else 1 - -size // _OVERFLOW_BYTES for size in sizes if size > _SMALL_BYTES)
    return 1 + small // _SMALL_A_PAGE + large + sum(map(len, put.positions.values())) // _SMALL_A_PAGE
