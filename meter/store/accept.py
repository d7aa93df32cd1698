"""Writing events in bulk: keys first, then what of them is new (decisions 0002 and 0007).

Every statement writes its rows in the order of their keys: overlapping batches in other orders deadlock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.doubt import time_flag
from meter.model.event import AMENDED, REFUND, VOIDED, EventKey
from meter.model.instant import instant_text
from meter.store.bulk import insert_many, insert_rows
from meter.store.engine import encode_json
from meter.store.entry import Entry
from meter.store.source_work import note_work
from meter.store.tables import doubtful_times, event_keys, events, held_events, refunds, revisions

_KEYS: Final = insert_many(
    event_keys,
    ("operator", "source", "id", "content_hash", "time"),
    "ON CONFLICT (operator, source, id) DO NOTHING RETURNING source, id",
)
_STANDING: Final = text(
    """
    SELECT k.source, k.id, k.content_hash
      FROM unnest(CAST(:sources AS text[]), CAST(:ids AS text[])) AS g (source, id)
      JOIN event_keys AS k ON k.operator = :operator AND k.source = g.source AND k.id = g.id
    """
)
_BODIES: Final = text(
    """
    SELECT e.*
      FROM unnest(CAST(:sources AS text[]), CAST(:ids AS text[])) AS g (source, id)
      JOIN event_keys AS k ON k.operator = :operator AND k.source = g.source AND k.id = g.id
      JOIN events AS e ON e.operator = k.operator AND e.time = k.time AND e.source = k.source AND e.id = k.id
    """
)


async def claim_keys(connection: AsyncConnection, operator: str, entries: Sequence[Entry]) -> set[EventKey]:
    """Return the keys that nobody had before and that are this transaction's now. Keys of `entries` differ.

    Waits for a transaction that is claiming one of them.
    """
    ordered = sorted(entries, key=lambda entry: entry.key)
    if not ordered:
        return set()
    claimed = await connection.execute(
        _KEYS,
        {
            "operator": [operator] * len(ordered),
            "source": [entry.event.source for entry in ordered],
            "id": [entry.event.id for entry in ordered],
            "content_hash": [entry.event.content_hash for entry in ordered],
            "time": [entry.time for entry in ordered],
        },
    )
    return {EventKey(row[0], row[1]) for row in claimed}


async def standing_hashes(
    connection: AsyncConnection, operator: str, keys: Collection[EventKey]
) -> dict[EventKey, bytes]:
    """Return the content hash of each key that is taken."""
    if not keys:
        return {}
    rows = await connection.execute(_STANDING, {"operator": operator, **_columns(keys)})
    return {EventKey(row.source, row.id): row.content_hash for row in rows}


async def standing_bodies(
    connection: AsyncConnection, operator: str, keys: Collection[EventKey]
) -> dict[EventKey, bytes]:
    """Return stored events as CloudEvents JSON, written anew from their rows: equal in content, not in bytes."""
    if not keys:
        return {}
    rows = await connection.execute(_BODIES.columns(*events.c), {"operator": operator, **_columns(keys)})
    return {EventKey(row.source, row.id): _rendered(row) for row in rows}


def _columns(keys: Collection[EventKey]) -> dict[str, list[str]]:
    ordered = sorted(keys)
    return {"sources": [key.source for key in ordered], "ids": [key.id for key in ordered]}


def _rendered(row: Row[Any]) -> bytes:
    envelope = {"specversion": "1.0", "id": row.id, "source": row.source, "type": row.type, "subject": row.subject}
    if row.timed:
        envelope["time"] = instant_text(row.time + timedelta(milliseconds=row.offset_ms or 0))
    marks = {"edge": row.edge, "boot": row.boot, "sequence": row.sequence, "edgeoffsetms": row.offset_ms}
    envelope |= marks | (row.attributes or {})
    envelope = {name: value for name, value in envelope.items() if value is not None}
    envelope["data"] = msgspec.Raw(encode_json(row.data).encode())
    return msgspec.json.encode(envelope)


async def write_events(connection: AsyncConnection, operator: str, entries: Sequence[Entry]) -> None:
    """Write events whose keys this transaction has claimed, with what they revise, refund and leave to do."""
    if not entries:
        return
    ordered = sorted(entries, key=lambda entry: entry.key)
    await insert_rows(connection, events, [_event_row(operator, entry) for entry in ordered])
    await insert_rows(
        connection,
        held_events,
        [
            {"operator": operator, "source": entry.event.source, "id": entry.event.id, "time": entry.time}
            for entry in ordered
            if entry.held
        ],
    )
    await insert_rows(connection, doubtful_times, _doubts(operator, ordered))
    await insert_rows(
        connection,
        revisions,
        [_revision_row(operator, entry) for entry in ordered if entry.event.type in {VOIDED, AMENDED}],
    )
    await insert_rows(
        connection, refunds, [_refund_row(operator, entry) for entry in ordered if entry.event.type == REFUND]
    )
    await note_work(connection, operator, ordered)


def _event_row(operator: str, entry: Entry) -> dict[str, Any]:
    event = entry.event
    return {
        "operator": operator,
        "time": entry.time,
        "source": event.source,
        "id": event.id,
        "type": event.type,
        "site": event.site,
        "subject": event.subject,
        "thing": event.thing,
        "timed": event.time is not None,
        "edge": event.edge,
        "boot": event.boot,
        "sequence": event.sequence,
        "offset_ms": event.offset_ms,
        "channel": entry.channel,
        "received_at": entry.received_at,
        "attributes": event.attributes,
        "data": event.data,
    }


def _doubts(operator: str, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    found = ((entry, time_flag(entry.event.attributes)) for entry in entries)
    return [
        {"operator": operator, "time": entry.time, "source": entry.event.source, "id": entry.event.id, "flag": flag}
        for entry, flag in found
        if flag is not None
    ]


def _revision_row(operator: str, entry: Entry) -> dict[str, Any]:
    event = entry.event
    return {
        "operator": operator,
        "target_source": str(event.data["source"]),
        "target_id": str(event.data["id"]),
        "source": event.source,
        "id": event.id,
        "time": entry.time,
        "void": event.type == VOIDED,
    }


def _refund_row(operator: str, entry: Entry) -> dict[str, Any]:
    event = entry.event
    return {
        "operator": operator,
        "sale_source": str(event.data["sale"]["source"]),
        "sale_order": str(event.data["sale"]["order"]),
        "source": event.source,
        "id": event.id,
        "time": entry.time,
    }
