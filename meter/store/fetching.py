"""The durable work list of sources: objects to fetch and how far polls have come (decision 0011).

    notice ─note_work─▶ fetches row ─due─▶ asked ─┬─ answered, its events committed ─▶ gone, unless noticed meanwhile
                                                  └─ not answered ─▶ due again later, with the fault

Whoever asks holds the lease of the operator's sources; what is written here is fenced by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.event import Json
from meter.store.bulk import columns_of, insert_many
from meter.store.tables import feeds, fetches, source_receipts

# A fault is shown to people: its first words tell.
FAULT_CHARS_MAX: Final = 500

_RECEIPTS: Final = insert_many(
    source_receipts,
    ("operator", "vendor", "name", "received_at"),
    "ON CONFLICT (operator, vendor, name) DO UPDATE"
    " SET received_at = greatest(source_receipts.received_at, excluded.received_at)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DueFetch:
    """An object to fetch, with the newest notice's data; `notices` tells whether another came meanwhile."""

    kind: str
    object: str
    wanted: Mapping[str, Json]
    notices: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRow:
    """How far a poll has come: `cursor` of the last page that was committed, when it is due, what failed in a row."""

    vendor: str
    name: str
    feed: str
    cursor: Json
    due_at: datetime
    polled_at: datetime | None
    failures: int
    fault: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What one source still has to fetch; `fault` is that of an object that failed, if any did."""

    vendor: str
    name: str
    objects: int
    failing: int
    due_at: datetime
    fault: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """How one source is doing. `faults` keep it from working; `waiting`: None where nothing is to be fetched.

    `received_at`: when it last told something, by its hook or when it was asked; None: never.
    """

    vendor: str
    name: str
    site: str | None
    faults: tuple[str, ...]
    received_at: datetime | None
    waiting: Backlog | None
    polls: tuple[FeedRow, ...]


async def due_fetches(
    conn: AsyncConnection, operator: str, vendor: str, name: str, *, now: datetime, later: datetime, objects_max: int
) -> list[DueFetch]:
    """Return what is due of a source, the longest due first.

    What is due after `later`, or was not asked for yet, is due by a clock that has been set back since.
    """
    table = fetches.c
    query = (
        select(table.kind, table.object, table.wanted, table.notices, table.attempts)
        .where(
            _of(fetches, operator, vendor, name), or_(table.attempts == 0, table.due_at <= now, table.due_at > later)
        )
        .order_by(table.due_at, table.kind, table.object)
        .limit(objects_max)
    )
    return [
        DueFetch(kind=row.kind, object=row.object, wanted=row.wanted, notices=row.notices, attempts=row.attempts)
        for row in await conn.execute(query)
    ]


async def settle_fetch(conn: AsyncConnection, operator: str, vendor: str, name: str, done: DueFetch) -> None:
    """Take an object off the list; it stays, due at once, where a notice came while it was fetched."""
    await conn.execute(fetches.delete().where(_object(operator, vendor, name, done), fetches.c.notices == done.notices))


async def defer_fetch(
    conn: AsyncConnection, operator: str, vendor: str, name: str, failed: DueFetch, *, due_at: datetime, fault: str
) -> None:
    """Have an object asked for again at `due_at`."""
    await conn.execute(
        update(fetches)
        .where(_object(operator, vendor, name, failed), fetches.c.notices == failed.notices)
        .values(attempts=failed.attempts + 1, due_at=due_at, fault=fault[:FAULT_CHARS_MAX])
    )


async def feed_rows(conn: AsyncConnection, operator: str, of: tuple[str, str] | None = None) -> list[FeedRow]:
    """Return every poll that was ever made, by vendor, name and feed; `of`: only those of this vendor and name."""
    table = feeds.c
    whose = table.operator == operator if of is None else _of(feeds, operator, *of)
    rows = await conn.execute(select(feeds).where(whose).order_by(table.vendor, table.name, table.feed))
    return [
        FeedRow(
            vendor=row.vendor,
            name=row.name,
            feed=row.feed,
            cursor=row.cursor,
            due_at=row.due_at,
            polled_at=row.polled_at,
            failures=row.failures,
            fault=row.fault,
        )
        for row in rows
    ]


async def save_feed(conn: AsyncConnection, operator: str, row: FeedRow) -> None:
    """Write how far a poll has come."""
    values: dict[str, Any] = {
        "cursor": row.cursor,
        "due_at": row.due_at,
        "polled_at": row.polled_at,
        "failures": row.failures,
        "fault": None if row.fault is None else row.fault[:FAULT_CHARS_MAX],
    }
    await conn.execute(
        insert(feeds)
        .values(operator=operator, vendor=row.vendor, name=row.name, feed=row.feed, **values)
        .on_conflict_do_update(index_elements=["operator", "vendor", "name", "feed"], set_=values)
    )


async def hasten(conn: AsyncConnection, operator: str, vendor: str, name: str, *, now: datetime) -> int:
    """Make everything of a source due at once; return how many objects and polls that are."""
    asked = await conn.execute(
        update(fetches).where(_of(fetches, operator, vendor, name)).values(due_at=now, attempts=0)
    )
    polled = await conn.execute(update(feeds).where(_of(feeds, operator, vendor, name)).values(due_at=now))
    return asked.rowcount + polled.rowcount


async def record_receipts(conn: AsyncConnection, operator: str, received: Mapping[tuple[str, str], datetime]) -> None:
    """Write when sources (vendor, name) told something; of several instants the latest stays."""
    if not received:
        return
    # Sorted, so that two batches never wait for each other in a ring.
    rows = [
        {"operator": operator, "vendor": vendor, "name": name, "received_at": at}
        for (vendor, name), at in sorted(received.items())
    ]
    await conn.execute(_RECEIPTS, columns_of(source_receipts, rows))


async def last_receipts(conn: AsyncConnection, operator: str) -> dict[tuple[str, str], datetime]:
    """Return when each source (vendor, name) last told something."""
    rows = await conn.execute(select(source_receipts).where(source_receipts.c.operator == operator))
    return {(row.vendor, row.name): row.received_at for row in rows}


async def backlogs(conn: AsyncConnection, operator: str) -> Sequence[Backlog]:
    """Return what each source still has to fetch."""
    table = fetches.c
    query = (
        select(
            table.vendor,
            table.name,
            func.count().label("objects"),
            func.count(table.fault).label("failing"),
            func.min(table.due_at).label("due_at"),
            func.max(table.fault).label("fault"),
        )
        .where(table.operator == operator)
        .group_by(table.vendor, table.name)
        .order_by(table.vendor, table.name)
    )
    return [
        Backlog(
            vendor=row.vendor,
            name=row.name,
            objects=row.objects,
            failing=row.failing,
            due_at=row.due_at,
            fault=row.fault,
        )
        for row in await conn.execute(query)
    ]


def _of(table: Table, operator: str, vendor: str, name: str) -> ColumnElement[bool]:
    return and_(table.c.operator == operator, table.c.vendor == vendor, table.c.name == name)


def _object(operator: str, vendor: str, name: str, fetch: DueFetch) -> ColumnElement[bool]:
    of_source = _of(fetches, operator, vendor, name)
    return and_(of_source, fetches.c.kind == fetch.kind, fetches.c.object == fetch.object)
