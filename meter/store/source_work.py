"""What accepted notices and drafts leave to do, written in the transaction that stores them (decision 0011)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.event import DRAFT, SOURCE_CHANGED
from meter.store.bulk import columns_of, insert_many
from meter.store.entry import Entry
from meter.store.invoices import note_invoices
from meter.store.tables import drafts, fetches
from meter.store.wifi import note_sessions

_FETCHES: Final = insert_many(
    fetches,
    ("operator", "vendor", "name", "kind", "object", "wanted", "due_at"),
    "ON CONFLICT (operator, vendor, name, kind, object) DO UPDATE SET wanted = excluded.wanted,"
    " notices = fetches.notices + 1, attempts = 0, due_at = least(fetches.due_at, excluded.due_at)",
)
# Channels on which only the vendor is heard: a signature was checked, or we asked. Whoever may send events of any kind
# may send drafts too, in any vendor's name; theirs are never applied by themselves and never displace a vendor's own.
# And notices: theirs are events and no more. Asked for with the vendor's key, and believed in what else they say, they
# would be sales of another site's.
VENDOR_CHANNELS: Final = frozenset(("webhook", "fetch", "poll"))
_VENDORS_OWN: Final = f"channel IN ({', '.join(repr(channel) for channel in sorted(VENDOR_CHANNELS))})"
# The latest in the order of events counts, in whatever order they come; what was decided stays so until it changes.
_DRAFTS: Final = insert_many(
    drafts,
    ("operator", "vendor", "name", "kind", "id", "body", "note", "time", "event_id", "channel"),
    "ON CONFLICT (operator, vendor, name, kind, id) DO UPDATE SET body = excluded.body, note = excluded.note,"
    " time = excluded.time, event_id = excluded.event_id, channel = excluded.channel, fault = NULL, fault_facts = NULL,"
    " state = CASE WHEN drafts.body = excluded.body THEN drafts.state ELSE 'open' END"
    f" WHERE (excluded.{_VENDORS_OWN}, excluded.time, excluded.event_id)"
    f" > (drafts.{_VENDORS_OWN}, drafts.time, drafts.event_id)",
)


async def note_work(connection: AsyncConnection, operator: str, entries: Sequence[Entry]) -> None:
    """Write what new events leave to do: objects to fetch, sessions to look at, drafts to decide on, and invoices."""
    await note_sessions(connection, operator, entries)
    await note_invoices(connection, operator, [entry for entry in entries if entry.channel in VENDOR_CHANNELS])
    wanted: dict[tuple[str, ...], dict[str, Any]] = {}
    drafted: dict[tuple[str, ...], dict[str, Any]] = {}
    for entry in entries:
        data = entry.event.data
        if entry.event.type == SOURCE_CHANGED and entry.channel in VENDOR_CHANNELS:
            row = {"operator": operator, **{name: str(data[name]) for name in ("vendor", "name", "kind", "object")}}
            wanted[tuple(row.values())] = {**row, "wanted": data, "due_at": entry.received_at}
        elif entry.event.type == DRAFT:
            row = {"operator": operator, **{name: str(data[name]) for name in ("vendor", "name", "kind", "id")}}
            key = tuple(row.values())
            made = {**row, "body": data["body"], "note": data.get("note"), "time": entry.time}
            made |= {"event_id": entry.event.id, "channel": entry.channel}
            before = drafted.get(key)
            if before is None or _rank(before) < _rank(made):
                drafted[key] = made
    # Sorted, so that two batches never wait for each other in a ring.
    if wanted:
        await connection.execute(_FETCHES, columns_of(fetches, [wanted[key] for key in sorted(wanted)]))
    if drafted:
        await connection.execute(_DRAFTS, columns_of(drafts, [drafted[key] for key in sorted(drafted)]))


def _rank(row: Mapping[str, Any]) -> tuple[bool, datetime, str]:
    """Return by what one draft of an object displaces another, as `_DRAFTS` does."""
    return row["channel"] in VENDOR_CHANNELS, row["time"], row["event_id"]
