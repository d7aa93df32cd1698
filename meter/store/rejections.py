"""What was refused, with its bytes: recorded, listed, marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.bulk import insert_many
from meter.store.tables import events, held_events, rejections

RejectionStatus: TypeAlias = Literal["open", "retried", "discarded"]
ORIGIN_CHARS_MAX: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """One refusal. `origin` is the MQTT topic or the HTTP route; `stands` the body that a conflict ran into."""

    code: str
    detail: str
    channel: str
    origin: str
    content_type: str | None = None
    site: str | None = None
    source: str | None = None
    event_id: str | None = None
    body: bytes
    stands: bytes | None = None
    at: datetime

    @property
    def digest(self) -> bytes:
        """Return what makes a refusal that comes again the same: code, origin and bytes."""
        return sha256(b"\0".join((self.code.encode(), self.origin.encode(), self.body))).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRejection:
    """A rejection as kept: `count` times between `first_at` and `last_at`."""

    id: int
    code: str
    detail: str
    channel: str
    origin: str
    content_type: str | None
    site: str | None
    source: str | None
    event_id: str | None
    body: bytes
    stands: bytes | None
    count: int
    status: RejectionStatus
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldEvent:
    """An accepted event that lies ahead of the clock: listed as `future_time` until the clock reaches it."""

    source: str
    id: str
    time: datetime
    site: str
    type: str
    received_at: datetime


_COLUMNS: Final = (
    "operator",
    "digest",
    "code",
    "detail",
    "channel",
    "origin",
    "content_type",
    "site",
    "source",
    "event_id",
    "body",
    "stands",
    "count",
    "first_at",
    "last_at",
)
_RECORD: Final = insert_many(
    rejections,
    _COLUMNS,
    """ON CONFLICT (operator, digest) DO UPDATE
          SET count = rejections.count + excluded.count, last_at = greatest(rejections.last_at, excluded.last_at)
       RETURNING rejections.digest, rejections.count""",
)


async def record_rejections(connection: AsyncConnection, operator: str, refused: Sequence[Rejection]) -> set[bytes]:
    """Keep `refused`; one that is known already is counted. Return the digests of those that were not."""
    counted: dict[bytes, list[Rejection]] = {}
    for rejection in refused:
        counted.setdefault(rejection.digest, []).append(rejection)
    if not counted:
        return set()
    # In the order of the unique key, so that batches side by side never wait for each other in a ring.
    rows = [
        (
            operator,
            digest,
            same[0].code,
            same[0].detail,
            same[0].channel,
            same[0].origin,
            same[0].content_type,
            same[0].site,
            same[0].source,
            same[0].event_id,
            same[0].body,
            same[0].stands,
            len(same),
            same[0].at,
            same[-1].at,
        )
        for digest, same in sorted(counted.items())
    ]
    kept = await connection.execute(_RECORD, dict(zip(_COLUMNS, map(list, zip(*rows, strict=True)), strict=True)))
    return {bytes(row[0]) for row in kept if row[1] == len(counted[bytes(row[0])])}


async def list_rejections(
    connection: AsyncConnection,
    operator: str,
    *,
    status: RejectionStatus | None = "open",
    code: str | None = None,
    site: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[ListedRejection]:
    """Return rejections, the newest first; `before` an id goes on from there."""
    query = select(rejections).where(rejections.c.operator == operator)
    if status is not None:
        query = query.where(rejections.c.status == status)
    if code is not None:
        query = query.where(rejections.c.code == code)
    if site is not None:
        query = query.where(rejections.c.site == site)
    if before is not None:
        query = query.where(rejections.c.id < before)
    rows = await connection.execute(query.order_by(rejections.c.id.desc()).limit(limit))
    return [_listed(row) for row in rows]


async def find_rejection(connection: AsyncConnection, operator: str, number: int) -> ListedRejection | None:
    """Return the rejection with this id."""
    query = select(rejections).where(rejections.c.operator == operator, rejections.c.id == number)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _listed(row)


async def mark_rejection(
    connection: AsyncConnection, operator: str, number: int, status: RejectionStatus
) -> ListedRejection | None:
    """Set the status of a rejection and return it; None where there is none with this id."""
    change = (
        update(rejections)
        .where(rejections.c.operator == operator, rejections.c.id == number)
        .values(status=status)
        .returning(rejections)
    )
    row = (await connection.execute(change)).one_or_none()
    return None if row is None else _listed(row)


async def list_held(
    connection: AsyncConnection, operator: str, *, site: str | None = None, limit: int = 100
) -> list[HeldEvent]:
    """Return the events ahead of the clock, the soonest first."""
    query = (
        select(
            held_events.c.source,
            held_events.c.id,
            held_events.c.time,
            events.c.site,
            events.c.type,
            events.c.received_at,
        )
        .join(
            events,
            (events.c.operator == held_events.c.operator)
            & (events.c.time == held_events.c.time)
            & (events.c.source == held_events.c.source)
            & (events.c.id == held_events.c.id),
        )
        .where(held_events.c.operator == operator)
    )
    if site is not None:
        query = query.where(events.c.site == site)
    query = query.order_by(held_events.c.time, held_events.c.source, held_events.c.id).limit(limit)
    return [
        HeldEvent(
            source=row.source, id=row.id, time=row.time, site=row.site, type=row.type, received_at=row.received_at
        )
        for row in await connection.execute(query)
    ]


def _listed(row: Row[Any]) -> ListedRejection:
    return ListedRejection(
        id=row.id,
        code=row.code,
        detail=row.detail,
        channel=row.channel,
        origin=row.origin,
        content_type=row.content_type,
        site=row.site,
        source=row.source,
        event_id=row.event_id,
        body=row.body,
        stands=row.stands,
        # Row.count is the method of a tuple.
        count=row._mapping["count"],  # noqa: SLF001 -- SQLAlchemy's public name for the mapping
        status=row.status,
        first_at=row.first_at,
        last_at=row.last_at,
    )
