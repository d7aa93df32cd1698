"""The outbox: what each target shall be sent, written by the transaction that books it (decision 0008).

The payload is frozen when the item is made and the key derives from what it says: a booking that is tried again makes
the same items, and a delivery that is tried again sends the same bytes under the same key.
"""

from __future__ import annotations

import json
from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.journal import JournalEntry
from meter.store.bulk import insert_rows
from meter.store.tables import outbox

# Base32 without padding: fits every target's limit on keys but QuickBooks' batches.
KEY_CHARS: Final = 32
JOURNAL: Final = "journal"
# About half a megabyte of payload: a day's worth of corrections must not become one item.
ENTRIES_PER_ITEM_MAX: Final = 1000
# A target may answer with a page of HTML; a reason is for reading.
FAULT_CHARS_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalBatch:
    """The content of a `journal` item: entries of one day and site, in booking order."""

    day: date
    site: str
    entries: tuple[JournalEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxItem:
    """One thing to send to one target. `batch` names the content; `revision` grows when it is mended or replaced.

    Items of one `stream` are sent in the order in which they were made. `known_id` is what the target called the newest
    delivered item of the batch, for one that replaces. `booked_at`: when the oldest of its content was booked (None:
    when the item was made). `dead_because` is why it can never be sent, for an item that is added dead.
    """

    operator: str
    target: str
    operation: str
    batch: str
    revision: int = 0
    key: str
    payload: bytes
    stream: str = ""
    known_id: str | None = None
    booked_at: datetime | None = None
    dead_because: str | None = None


_DECODER: Final = msgspec.json.Decoder(JournalBatch)
# Amounts as strings: a reader of the payload that thinks in floats must not spoil them.
_ENCODER: Final = msgspec.json.Encoder(decimal_format="string")


def read_journal(payload: bytes) -> JournalBatch:
    """Return the content of a `journal` item. Fields of later versions are passed over."""
    return _DECODER.decode(payload)


def item_key(*, operator: str, target: str, operation: str, batch: str, revision: int) -> str:
    """Return the idempotency key: 32 characters of base32 over SHA-256 of what the item says.

    The parts are joined as JSON, which no choice of names can make collide.
    """
    return _name(operator, target, operation, batch, revision)


def items_for(entries: Sequence[JournalEntry], *, operator: str, targets: Sequence[str]) -> list[OutboxItem]:
    """Return the items of one booking transaction: one for each target, day and site, entries in the order given.

    The batch is named after its entries' ids, so the same entries make the same items whenever they are booked.
    """
    groups: dict[tuple[date, str], list[JournalEntry]] = {}
    for entry in entries:
        groups.setdefault((entry.day, entry.dimensions.get("site", "")), []).append(entry)
    items: list[OutboxItem] = []
    for (day, site), group in groups.items():
        for start in range(0, len(group), ENTRIES_PER_ITEM_MAX):
            part = tuple(group[start : start + ENTRIES_PER_ITEM_MAX])
            payload = _ENCODER.encode(JournalBatch(day=day, site=site, entries=part))
            batch = _name(*(entry.id for entry in part))
            items.extend(
                OutboxItem(
                    operator=operator,
                    target=target,
                    operation=JOURNAL,
                    batch=batch,
                    key=item_key(operator=operator, target=target, operation=JOURNAL, batch=batch, revision=0),
                    payload=payload,
                )
                for target in targets
            )
    return items


def _name(*parts: str | int) -> str:
    joined = json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()
    return b32encode(sha256(joined).digest()).decode()[:KEY_CHARS].lower()


async def add_items(connection: AsyncConnection, items: Sequence[OutboxItem]) -> None:
    """Insert items, in the order in which each stream is sent. A key that is there already fails the transaction."""
    await insert_rows(
        connection,
        outbox,
        [
            {
                "operator": item.operator,
                "target": item.target,
                "operation": item.operation,
                "batch": item.batch,
                "revision": item.revision,
                "key": item.key,
                "payload": item.payload,
                "stream": item.stream,
                "booked_at": item.booked_at,
                "state": "pending" if item.dead_because is None else "dead",
                "fault": None if item.dead_because is None else item.dead_because[:FAULT_CHARS_MAX],
            }
            for item in items
        ],
    )
