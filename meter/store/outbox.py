"""The outbox: what each target shall be sent (decision 0014).

The payload is frozen when the item is made and the key derives from what it says: what is gathered again makes the same
items, and a delivery that is tried again sends the same bytes under the same key.
"""

from __future__ import annotations

import json
from base64 import b32encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias, get_args

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.bulk import insert_rows
from meter.store.safekeeping import is_unsure
from meter.store.tables import outbox

# Base32 without padding: fits every target's limit on keys but QuickBooks' batches.
KEY_CHARS: Final = 32

State: TypeAlias = Literal["pending", "sending", "delivered", "verified", "uncertain", "dead", "superseded"]
STATES: Final[tuple[State, ...]] = get_args(State)
OPEN_STATES: Final[tuple[State, ...]] = ("pending", "sending", "uncertain")
# A target may answer with a page of HTML; a reason is for reading.
FAULT_CHARS_MAX: Final = 500
# What a target calls an item: longer than any vendor's id, and short enough for an index.
REMOTE_ID_CHARS_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxItem:
    """One thing to send to one target. `batch` names the content; `revision` grows when it is mended or replaced.

    Items of one `stream` are sent in the order in which they were made. `known_id` is what the target called the newest
    delivered item of the batch, for one that replaces. `booked_at`: when the oldest of its content was booked (None:
    when the item was made). `dead_because` is why it can never be sent, for an item that is added dead. `asked_by`: who
    had it made again by hand, a key's id or the command line.
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
    asked_by: str | None = None


def item_key(*, operator: str, target: str, operation: str, batch: str, revision: int) -> str:
    """Return the idempotency key: a name of what the item says."""
    return name_of(operator, target, operation, batch, revision)


def name_of(*parts: str | int) -> str:
    """Return 32 characters of base32 over the SHA-256 of `parts`, joined as JSON so that no choice of them collides."""
    joined = json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()
    return b32encode(sha256(joined).digest()).decode()[:KEY_CHARS].lower()


async def add_items(connection: AsyncConnection, items: Sequence[OutboxItem]) -> None:
    """Insert items, in the order in which each stream is sent. A key that is there already fails the transaction.

    Where the database was restored, they may have been sent before: targets are asked first, under no old key.
    """
    unsure = bool(items) and await is_unsure(connection)
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
                "state": "dead" if item.dead_because is not None else "uncertain" if unsure else "pending",
                "burned": unsure,
                "fault": told(item.dead_because, FAULT_CHARS_MAX),
                "asked_by": item.asked_by,
            }
            for item in items
        ],
    )


def told(text: str | None, chars_max: int) -> str | None:
    """Return what somebody else said, as it may be stored and shown on a terminal: printable, `chars_max` at most.

    What a target answers, whatever it is, must not keep its outcome from being recorded.
    """
    if text is None or (text.isprintable() and len(text) <= chars_max):
        return text
    return "".join(" " if char.isspace() else char if char.isprintable() else "\ufffd" for char in text[:chars_max])


# What of an item is stored as it is read.
ITEM_COLUMNS: Final = tuple(
    outbox.c[name]
    for name in ("operator", "target", "operation", "batch", "revision", "key", "payload", "stream", "booked_at")
)


def item_of(row: Row[*tuple[Any, ...]]) -> OutboxItem:
    """Return the item of a row that has `ITEM_COLUMNS`."""
    return OutboxItem(**{column.name: row._mapping[column.name] for column in ITEM_COLUMNS})  # noqa: SLF001 -- public in spite of its name


def revised(item: OutboxItem, revision: int) -> OutboxItem:
    """Return the item as a further revision, under the key of its own."""
    key = item_key(
        operator=item.operator, target=item.target, operation=item.operation, batch=item.batch, revision=revision
    )
    return replace(item, revision=revision, key=key)


async def next_revisions(
    conn: AsyncConnection, operator: str, target: str, batches: Collection[str]
) -> Mapping[str, int]:
    """Return the first free revision of each batch: 0 where it was never made.

    Not a count of its contents: what is sent again by hand, or under a new key, takes a revision too.
    """
    query = (
        select(outbox.c.batch, func.max(outbox.c.revision).label("newest"))
        .where(outbox.c.operator == operator, outbox.c.target == target, outbox.c.batch.in_(batches))
        .group_by(outbox.c.batch)
    )
    return dict.fromkeys(batches, 0) | {row.batch: row.newest + 1 for row in await conn.execute(query)}
