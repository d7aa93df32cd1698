"""What gatherers keep: how far each target has read, and the sums that wait to be sent to it (decision 0014)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ARRAY, Text, any_, cast, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.bulk import columns_of, insert_many
from meter.store.tables import export_buckets, export_cursors
from meter.store.usage import BEGINNING, Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBucket:
    """A bucket as it is stored.

    `part` counts how often it has been sent; `tallies` are sums by name, as JSON.
    """

    name: str
    stream: str
    head: Mapping[str, Any]
    tallies: Mapping[str, Any]
    part: int = 0
    dirty: bool = False
    due_at: datetime | None = None
    closing_account: str | None = None
    closing_start: datetime | None = None
    booked_at: datetime | None = None


_COLUMNS: Final = (
    "name",
    "stream",
    "head",
    "tallies",
    "part",
    "dirty",
    "due_at",
    "closing_account",
    "closing_start",
    "booked_at",
)
_SHOWN: Final = [export_buckets.c[name] for name in _COLUMNS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """As what a target began: its kind and mode, the table whose places its cursor counts, and its `start`.

    `company` is the account at the vendor; None: the kind has none, or an older version began it, which kept none.
    """

    kind: str
    mode: str | None
    reads: str
    start: date | None
    company: str | None = None


class ExportCursor(NamedTuple):
    """How far a target has read, since when it has been there, and as what it began."""

    read: Cursor
    since: datetime
    begun: Begun


async def read_export_cursor(conn: AsyncConnection, operator: str, target: str) -> ExportCursor | None:
    """Return how far the target has read; None: it is new."""
    query = select(export_cursors).where(export_cursors.c.operator == operator, export_cursors.c.target == target)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        return None
    begun = Begun(kind=row.kind, mode=row.mode, reads=row.reads, start=row.start, company=row.company)
    return ExportCursor(Cursor(int(row.xid), row.seq), row.since, begun)


async def first_export_cursor(conn: AsyncConnection, *, past: bool) -> Cursor:
    """Return where a new target begins: before everything, or behind what was booked until now."""
    if past:
        return BEGINNING
    row = await conn.execute(text("SELECT pg_snapshot_xmin(pg_current_snapshot())"))
    return Cursor(int(row.scalar_one()), 0)


async def write_export_cursor(
    conn: AsyncConnection, operator: str, target: str, cursor: Cursor, *, begun: Begun
) -> None:
    """Say that the target has read up to `cursor`; as what it `begun` is kept of the first time it is known."""
    statement = insert(export_cursors).values(
        operator=operator, target=target, xid=cursor.xid, seq=cursor.seq, **asdict(begun)
    )
    await conn.execute(
        statement.on_conflict_do_update(
            constraint=export_cursors.primary_key,
            set_={
                "xid": statement.excluded.xid,
                "seq": statement.excluded.seq,
                "company": func.coalesce(export_cursors.c.company, statement.excluded.company),
            },
        )
    )


async def read_buckets(
    conn: AsyncConnection, operator: str, target: str, names: Collection[str]
) -> dict[str, StoredBucket]:
    """Return those of the buckets that there are."""
    if not names:
        return {}
    query = select(*_SHOWN).where(
        export_buckets.c.operator == operator,
        export_buckets.c.target == target,
        export_buckets.c.name == any_(cast(sorted(names), ARRAY(Text))),
    )
    rows = await conn.execute(query)
    return {row.name: StoredBucket(**row._mapping) for row in rows}  # noqa: SLF001 -- public in spite of its name


# Read along its index, and no further than asked for: of what is due at once there may be a hundred thousand, and most
# of what is dirty is due later. So the time is one value (clock_timestamp() is none to an index), and what is on its
# way is looked up for each bucket (OFFSET 0) instead of joined, by figures that a burst has made wrong.
_DUE: Final = text(
    """
    SELECT b.name, b.stream, b.head, b.tallies, b.part, b.dirty, b.due_at, b.closing_account, b.closing_start,
           b.booked_at
      FROM export_buckets AS b
     WHERE b.operator = :operator AND b.target = :target AND b.dirty AND b.due_at <= statement_timestamp()
       AND NOT EXISTS (SELECT 1 FROM outbox AS o
                        WHERE :replaces AND o.operator = b.operator AND o.target = b.target AND o.stream = b.stream
                          AND o.batch = b.head->>'batch' AND o.state IN ('sending', 'uncertain')
                       OFFSET 0)
     ORDER BY b.due_at, b.name
     LIMIT :buckets_max
    """
)
# From the closings to their buckets: of these there are as many as there are accounts, and hardly any closing is new.
_CLOSED: Final = """
    SELECT b.name, b.stream, b.head, b.tallies, b.part, b.dirty, b.due_at, b.closing_account, b.closing_start,
           b.booked_at, c.booked_xid
      FROM closes AS c
      JOIN export_buckets AS b ON b.operator = c.operator AND b.target = :target AND b.closing_account = c.account
           AND b.closing_start = c.period_start AND b.dirty AND b.due_at IS NULL
     WHERE c.operator = :operator AND c.booked AND {which}
     ORDER BY c.booked_xid NULLS FIRST, b.name
     LIMIT :buckets_max
"""
_BELOW: Final = "c.booked_xid < CAST(CAST(:read AS text) AS xid8)"
_CLOSED_SINCE: Final = text(_CLOSED.format(which=f"c.booked_xid >= CAST(CAST(:since AS text) AS xid8) AND {_BELOW}"))
# One that an older version has closed does not say by which transaction.
_CLOSED_EVER: Final = text(_CLOSED.format(which=f"coalesce({_BELOW}, true)"))


async def due_buckets(
    conn: AsyncConnection, operator: str, target: str, *, replaces: bool, buckets_max: int
) -> list[StoredBucket]:
    """Return buckets that are due by the server's clock.

    With `replaces` a bucket waits while an item of its own is on its way.
    """
    given = {"operator": operator, "target": target, "buckets_max": buckets_max, "replaces": replaces}
    rows = await conn.execute(_DUE, given)
    return [StoredBucket(**row._mapping) for row in rows]  # noqa: SLF001 -- public in spite of its name


class ClosedBuckets(NamedTuple):
    """Buckets whose periods are closed. `seen_xid`: closings below it need not be looked at again (None: all do)."""

    buckets: list[StoredBucket]
    seen_xid: int | None


async def closed_buckets(
    conn: AsyncConnection, operator: str, target: str, *, read: Cursor, seen_xid: int | None, buckets_max: int
) -> ClosedBuckets:
    """Return buckets that waited for a closing, of closings from `seen_xid` on (None: of all), the oldest first.

    Everything booked below `read` has been gathered, so a closing counts once its own charges have been. Nothing can
    be booked there any more (decision 0005), so what was looked through once is done.
    """
    if seen_xid == read.xid:
        return ClosedBuckets([], seen_xid)
    given = {"operator": operator, "target": target, "buckets_max": buckets_max, "read": str(read.xid)}
    if seen_xid is None:
        rows = (await conn.execute(_CLOSED_EVER, given)).all()
    else:
        rows = (await conn.execute(_CLOSED_SINCE, {**given, "since": str(seen_xid)})).all()
    seen = read.xid if len(rows) < buckets_max else rows[-1].booked_xid if seen_xid is not None else None
    buckets = [StoredBucket(**{name: row._mapping[name] for name in _COLUMNS}) for row in rows]  # noqa: SLF001 -- as above
    return ClosedBuckets(buckets, None if seen is None else int(seen))


async def write_buckets(conn: AsyncConnection, operator: str, target: str, buckets: Sequence[StoredBucket]) -> None:
    """Write buckets, new ones and known ones alike."""
    if not buckets:
        return
    rows = [
        {"operator": operator, "target": target, **{name: getattr(bucket, name) for name in _COLUMNS}}
        for bucket in sorted(buckets, key=lambda bucket: bucket.name)
    ]
    changed = ", ".join(f"{name} = EXCLUDED.{name}" for name in _COLUMNS if name not in {"name", "stream", "head"})
    statement = insert_many(
        export_buckets,
        ("operator", "target", *_COLUMNS),
        f"ON CONFLICT (operator, target, name) DO UPDATE SET {changed}",
    )
    await conn.execute(statement, columns_of(export_buckets, rows))


class Newest(NamedTuple):
    """The newest revision of a batch, and when the oldest of what was withdrawn of it had been booked."""

    revision: int
    booked_at: datetime | None


async def supersede(conn: AsyncConnection, operator: str, target: str, batches: Collection[str]) -> dict[str, Newest]:
    """Withdraw what the target certainly does not hold of these batches; return the newest of each that there is.

    An item that is pending or dead was never taken: the next revision says everything that it said.
    """
    if not batches:
        return {}
    given = {"operator": operator, "target": target, "batches": sorted(batches)}
    withdrawn = await conn.execute(
        text(
            "UPDATE outbox SET state = 'superseded' WHERE operator = :operator AND target = :target"
            " AND batch = ANY(CAST(:batches AS text[])) AND state IN ('pending', 'dead')"
            " RETURNING batch, coalesce(booked_at, created_at) AS booked_at"
        ),
        given,
    )
    oldest: dict[str, datetime] = {}
    for row in withdrawn:
        oldest[row.batch] = min(row.booked_at, oldest.get(row.batch, row.booked_at))
    rows = await conn.execute(
        text(
            "SELECT batch, max(revision) AS revision FROM outbox WHERE operator = :operator AND target = :target"
            " AND batch = ANY(CAST(:batches AS text[])) GROUP BY batch"
        ),
        given,
    )
    return {row.batch: Newest(row.revision, oldest.get(row.batch)) for row in rows}
