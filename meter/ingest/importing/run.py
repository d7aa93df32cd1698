"""An import from files to what is stored: compared first, written only where nothing is wrong, in bounded batches.

files ─▶ rows ─▶ entries ─▶ one transaction          the same again ─▶ nothing changes
               └▶ events ─▶ known? ─▶ the door, in batches
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from meter.catalog.issues import CatalogError, Issue, Place
from meter.ingest.accept import Acceptor
from meter.ingest.arrival import Arrival
from meter.ingest.importing.directory import Counts, Put, put_entries
from meter.ingest.importing.rows import Entry, Extract, RowEvent
from meter.model.event import EventKey
from meter.store.accept import standing_hashes
from meter.store.engine import Database

# A batch is one transaction; this many events take some tens of milliseconds.
BATCH_EVENTS: Final = 500
_LOOKUP_KEYS: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did, or would do. `written` false: nothing was, for there were faults or it was a preview.

    `skipped`: rows, and entries of the directory, that were left out.
    """

    written: bool
    rows: int
    counts: dict[str, Counts]
    faults: tuple[Issue, ...] = ()
    skipped: int = 0
    directory: Put = field(default_factory=Put)


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """What an import works with. `progress` is told of each batch: how many events are in."""

    database: Database
    acceptor: Acceptor
    operator: str
    now: datetime
    max_age: timedelta
    progress: Callable[[int, int], None] = lambda _done, _total: None

    async def run(self, found: Extract, *, origin: str, dry_run: bool, skip_faults: bool) -> Imported:
        """Take in what tables say; with any fault nothing, unless they are to be skipped. Raises Unavailable."""
        faults = list(found.faults.issues)
        events, known = await self._compared(found, faults)
        entries = [entry for entry in found.entries if (entry.place.file, entry.place.line) not in found.faulty]
        may_write = not dry_run and (skip_faults or not faults)
        try:
            put = await self._put(entries, write=may_write, skip_faults=skip_faults)
        except CatalogError as error:
            faults += error.issues
            may_write, put = False, Put()
        faults += put.faults
        # A row counts whole or not at all.
        left_out = {(fault.file, fault.line) for fault in put.faults}
        events = [item for item in events if (item.place.file, item.place.line) not in left_out]
        counts = dict(put.counts)
        if found.events:
            counts["events"] = Counts(new=len(events), unchanged=known)
        if may_write:
            faults += await self._take(events, origin)
        return Imported(
            written=may_write,
            rows=found.rows,
            counts=counts,
            faults=tuple(faults),
            skipped=len(found.faulty) + found.refused + put.left_out,
            directory=put,
        )

    async def _put(self, entries: Sequence[Entry], *, write: bool, skip_faults: bool) -> Put:
        if not entries:
            return Put()
        async with self.database.begin() as conn:
            savepoint = await conn.begin_nested()
            put = await put_entries(conn, self.operator, entries, now=self.now, skip_faults=skip_faults)
            await (savepoint.commit() if write else savepoint.rollback())
        return put

    async def _compared(self, found: Extract, faults: list[Issue]) -> tuple[list[RowEvent], int]:
        """Return the events that are new, and how many are known; conflicts and what is too old are faults."""
        hashes, hasher = await self._stored(found.events), self.database.hasher
        new: list[RowEvent] = []
        known = 0
        for item in found.events:
            event, place = item.event, item.place
            key = EventKey(event.source, event.id)
            stands = hashes.get(key)
            fault = None
            # As it was sent before identities were hashed, or as it is stored now.
            if stands is not None and stands not in {event.content_hash, hasher.event(event).content_hash}:
                fault = f"the event {event.id[:60]!r} of {event.source} stands with other content, and stays"
            elif stands is None and event.time is not None and event.time < self.now - self.max_age:
                fault = f"is older than {self.max_age.days} days (METER_MAX_AGE_DAYS)"
            if fault is not None:
                found.faulty.add((place.file, place.line))
                faults.append(Issue(place.file, place.line, place.path, fault))
            elif stands is not None:
                known += 1
            elif (place.file, place.line) not in found.faulty:
                hashes[key] = event.content_hash
                new.append(item)
        return new, known

    async def _stored(self, events: Sequence[RowEvent]) -> dict[EventKey, bytes]:
        keys = sorted({EventKey(item.event.source, item.event.id) for item in events})
        found: dict[EventKey, bytes] = {}
        for start in range(0, len(keys), _LOOKUP_KEYS):
            async with self.database.begin() as conn:
                found |= await standing_hashes(conn, self.operator, keys[start : start + _LOOKUP_KEYS])
        return found

    async def _take(self, events: Sequence[RowEvent], origin: str) -> list[Issue]:
        """Let events in at the door; return what was refused, which somebody has changed meanwhile."""
        refused: list[Issue] = []
        for start in range(0, len(events), BATCH_EVENTS):
            part = events[start : start + BATCH_EVENTS]
            arrivals = [
                Arrival(parsed=item.event, channel="import", origin=origin, received_at=self.now) for item in part
            ]
            receipts = (await self.acceptor.accept(arrivals)).receipts
            for item, receipt in zip(part, receipts, strict=True):
                if receipt.status == "rejected":
                    place: Place = item.place
                    message = f"was refused ({receipt.code}): {receipt.detail}"
                    refused.append(Issue(place.file, place.line, place.path, message))
            self.progress(min(start + BATCH_EVENTS, len(events)), len(events))
        return refused
