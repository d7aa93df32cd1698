"""Reading the event log: the safe tail, and everything that an account's fold needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.directory import SINCE_ALWAYS
from meter.model.event import AMENDED, SALE, VOIDED, EventKey, Position, Revision, UsageEvent
from meter.rating.state import SaleKey


class Cursor(NamedTuple):
    """A place in a tailed table: everything up to it has been read (decision 0005)."""

    xid: int
    seq: int


BEGINNING: Final = Cursor(0, 0)
ORIGIN: Final = Position(SINCE_ALWAYS, "", "")


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event of the tail with the moment of its receipt, and whether it is held for the future."""

    event: UsageEvent
    received_at: datetime
    held: bool
    cursor: Cursor


_EVENT_COLUMNS: Final = "e.source, e.id, e.type, e.site, e.time, e.timed, e.subject, e.thing, e.data"
_HELD: Final = """
    EXISTS (SELECT 1 FROM held_events AS h WHERE h.operator = e.operator AND h.source = e.source AND h.id = e.id)
"""

_TAIL: Final = text(
    f"""
    SELECT {_EVENT_COLUMNS}, e.xid, e.seq, e.received_at, {_HELD} AS held
      FROM events AS e
     WHERE e.operator = :operator AND (e.xid, e.seq) > (CAST(CAST(:xid AS text) AS xid8), :seq)
       AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
     ORDER BY e.xid, e.seq
     LIMIT :limit
    """  # noqa: S608 -- constants of this module
)
_OF_SUBJECTS: Final = text(
    f"""
    SELECT {_EVENT_COLUMNS}
      FROM events AS e
     WHERE e.operator = :operator AND e.subject = ANY(CAST(:subjects AS text[])) AND e.time >= :time
       AND (e.time, e.source, e.id) > (:time, :source, :id) AND NOT {_HELD}
    """  # noqa: S608 -- constants of this module
)
_SALES_AT: Final = text(
    f"""
    SELECT {_EVENT_COLUMNS}
      FROM events AS e
     WHERE e.operator = :operator AND e.type = '{SALE}' AND e.site = ANY(CAST(:sites AS text[])) AND e.time >= :time
       AND (e.time, e.source, e.id) > (:time, :source, :id) AND NOT {_HELD}
    """  # noqa: S608 -- constants of this module
)
_OF_THINGS: Final = text(
    f"""
    SELECT {_EVENT_COLUMNS}
      FROM events AS e
      JOIN unnest(CAST(:things AS text[]), CAST(:sources AS text[]), CAST(:types AS text[])) AS t (thing, source, type)
        ON e.thing = t.thing AND e.source = t.source AND e.type = t.type
     WHERE e.operator = :operator AND NOT {_HELD}
    """  # noqa: S608 -- constants of this module
)
_OF_SESSIONS: Final = text(
    f"""
    SELECT {_EVENT_COLUMNS}, r.session, r.derived
      FROM unnest(CAST(:sources AS text[]), CAST(:sessions AS text[])) AS s (source, session)
      JOIN wifi_readings AS r ON r.operator = :operator AND r.source = s.source AND r.session = s.session
      JOIN events AS e ON e.operator = r.operator AND e.time = r.time AND e.source = r.source AND e.id = r.id
    """  # noqa: S608 -- constants of this module
)
_OF_SHARED_THINGS: Final = text(
    f"""
    WITH things AS (
        SELECT * FROM unnest(CAST(:things AS text[]), CAST(:sources AS text[]), CAST(:types AS text[]))
            AS t (thing, source, type)
    ), shared AS (
        SELECT e.thing, e.source, e.type
          FROM events AS e JOIN things AS t USING (thing, source, type)
         WHERE e.operator = :operator
         GROUP BY e.thing, e.source, e.type HAVING count(*) > 1
    )
    SELECT {_EVENT_COLUMNS}
      FROM events AS e JOIN shared AS s USING (thing, source, type)
     WHERE e.operator = :operator AND NOT {_HELD}
    """  # noqa: S608 -- constants of this module
)
_REFUNDS_OF: Final = text(
    f"""
    SELECT {_EVENT_COLUMNS}
      FROM unnest(CAST(:sources AS text[]), CAST(:orders AS text[])) AS sale (source, "order")
      JOIN refunds AS r ON r.operator = :operator AND r.sale_source = sale.source AND r.sale_order = sale."order"
      JOIN events AS e ON e.operator = r.operator AND e.time = r.time AND e.source = r.source AND e.id = r.id
     WHERE NOT {_HELD}
    """  # noqa: S608 -- constants of this module
)
# Whose sale it is, any of the events on it may decide.
_REFUNDS_AFTER: Final = text(
    f"""
    SELECT {_EVENT_COLUMNS}
      FROM refunds AS r
      JOIN events AS e ON e.operator = r.operator AND e.time = r.time AND e.source = r.source AND e.id = r.id
     WHERE r.operator = :operator AND r.time >= :time AND (r.time, r.source, r.id) > (:time, :source, :id)
       AND NOT {_HELD}
       AND EXISTS (
           SELECT 1 FROM events AS s
            WHERE s.operator = r.operator AND s.thing = r.sale_order AND s.source = r.sale_source AND s.type = '{SALE}'
              AND (s.subject = ANY(CAST(:subjects AS text[])) OR s.site = ANY(CAST(:sites AS text[])))
       )
    """  # noqa: S608 -- constants of this module
)
_BY_KEY: Final = text(
    f"""
    SELECT {_EVENT_COLUMNS}
      FROM unnest(CAST(:sources AS text[]), CAST(:ids AS text[])) AS wanted (source, id)
      JOIN event_keys AS k ON k.operator = :operator AND k.source = wanted.source AND k.id = wanted.id
      JOIN events AS e ON e.operator = k.operator AND e.time = k.time AND e.source = k.source AND e.id = k.id
     WHERE NOT {_HELD}
    """  # noqa: S608 -- constants of this module
)
# An amendment's own voids are found in the second step: they target what the first step found.
_REVISIONS: Final = text(
    f"""
    WITH RECURSIVE found AS (
        SELECT r.target_source, r.target_id, r.source, r.id, r.time, r.void, 1 AS depth
          FROM revisions AS r
          JOIN unnest(CAST(:sources AS text[]), CAST(:ids AS text[])) AS t (source, id)
            ON r.target_source = t.source AND r.target_id = t.id
         WHERE r.operator = :operator
        UNION
        SELECT r.target_source, r.target_id, r.source, r.id, r.time, r.void, 2
          FROM revisions AS r JOIN found AS f ON r.target_source = f.source AND r.target_id = f.id AND f.depth = 1
         WHERE r.operator = :operator
    )
    SELECT DISTINCT f.target_source, f.target_id, f.source, f.id, f.time, f.void, e.data
      FROM found AS f
      JOIN events AS e ON e.operator = :operator AND e.time = f.time AND e.source = f.source AND e.id = f.id
     WHERE NOT {_HELD}
    """  # noqa: S608 -- constants of this module
)


def _event(row: Sequence[Any]) -> UsageEvent:
    """Return the event of a row that begins with _EVENT_COLUMNS; by place, since this is done for every event."""
    source, event_id, kind, site, time, timed, subject, thing, data = row[:9]
    return UsageEvent(
        source=source,
        id=event_id,
        type=kind,
        site=site,
        time=time,
        timed=timed,
        subject=subject,
        thing=thing,
        data=data,
    )


async def read_tail(connection: AsyncConnection, operator: str, cursor: Cursor, *, events_max: int) -> list[Arrived]:
    """Return the next events after `cursor` in the order of the tail, at most `events_max`; none is ever skipped."""
    rows = await connection.execute(
        _TAIL, {"operator": operator, "xid": str(cursor.xid), "seq": cursor.seq, "limit": events_max}
    )
    return [Arrived(_event(row), row[11], row[12], Cursor(row[9], row[10])) for row in rows.all()]


async def events_of_subjects(
    connection: AsyncConnection, operator: str, subjects: Collection[str], *, after: Position
) -> list[UsageEvent]:
    """Return the stored events of these identities after a position, in no order; held ones are left out."""
    rows = await connection.execute(
        _OF_SUBJECTS, {"operator": operator, "subjects": sorted(subjects), **after._asdict()}
    )
    return [_event(row) for row in rows.all()]


async def sales_at(
    connection: AsyncConnection, operator: str, sites: Collection[str], *, after: Position
) -> list[UsageEvent]:
    """Return the sales at these sites after a position, whoever bought."""
    rows = await connection.execute(_SALES_AT, {"operator": operator, "sites": sorted(sites), **after._asdict()})
    return [_event(row) for row in rows.all()]


async def events_of_things(
    connection: AsyncConnection, operator: str, events: Iterable[UsageEvent]
) -> list[UsageEvent]:
    """Return every event on the things that `events` are about (sales, refunds, bookings, jobs)."""
    things = _thing_columns(events)
    if not things["things"]:
        return []
    rows = await connection.execute(_OF_THINGS, {"operator": operator, **things})
    return [_event(row) for row in rows.all()]


async def events_of_sessions(
    connection: AsyncConnection, operator: str, sessions: Collection[tuple[str, str]]
) -> dict[tuple[str, str], list[tuple[UsageEvent, bool]]]:
    """Return the events of Wi-Fi sessions by source and session, in no order, held ones too: and which are derived."""
    ordered = sorted(sessions)
    found: dict[tuple[str, str], list[tuple[UsageEvent, bool]]] = {key: [] for key in ordered}
    rows = await connection.execute(
        _OF_SESSIONS,
        {
            "operator": operator,
            "sources": [source for source, _ in ordered],
            "sessions": [session for _, session in ordered],
        },
    )
    for row in rows.all():
        found[row[0], row[9]].append((_event(row), row[10]))
    return found


async def events_of_shared_things(
    connection: AsyncConnection, operator: str, events: Iterable[UsageEvent]
) -> list[UsageEvent]:
    """Return every event on those things of `events` that several events are about: mostly none."""
    things = _thing_columns(events)
    if not things["things"]:
        return []
    rows = await connection.execute(_OF_SHARED_THINGS, {"operator": operator, **things})
    return [_event(row) for row in rows.all()]


async def sale_events(connection: AsyncConnection, operator: str, sales: Collection[SaleKey]) -> list[UsageEvent]:
    """Return every event on these sales."""
    if not sales:
        return []
    ordered = sorted(sales)
    rows = await connection.execute(
        _OF_THINGS,
        {
            "operator": operator,
            "things": [sale.order for sale in ordered],
            "sources": [sale.source for sale in ordered],
            "types": [SALE] * len(ordered),
        },
    )
    return [_event(row) for row in rows.all()]


async def refunds_of(connection: AsyncConnection, operator: str, sales: Collection[SaleKey]) -> list[UsageEvent]:
    """Return the refunds that speak of these sales, known or not."""
    if not sales:
        return []
    ordered = sorted(sales)
    rows = await connection.execute(
        _REFUNDS_OF,
        {
            "operator": operator,
            "sources": [sale.source for sale in ordered],
            "orders": [sale.order for sale in ordered],
        },
    )
    return [_event(row) for row in rows.all()]


async def refunds_after(
    connection: AsyncConnection,
    operator: str,
    *,
    subjects: Collection[str],
    sites: Collection[str],
    after: Position,
) -> list[UsageEvent]:
    """Return the refunds after a position of sales by these identities or at these sites, whenever those were."""
    rows = await connection.execute(
        _REFUNDS_AFTER,
        {"operator": operator, "subjects": sorted(subjects), "sites": sorted(sites), **after._asdict()},
    )
    return [_event(row) for row in rows.all()]


async def events_by_key(
    connection: AsyncConnection, operator: str, keys: Collection[EventKey]
) -> dict[EventKey, UsageEvent]:
    """Return the stored events with these keys; held ones are left out."""
    if not keys:
        return {}
    rows = await connection.execute(_BY_KEY, {"operator": operator, **_key_columns(keys)})
    return {event.key: event for event in map(_event, rows.all())}


async def revisions_of(connection: AsyncConnection, operator: str, keys: Collection[EventKey]) -> list[Revision]:
    """Return the voids and amendments of these events, and the voids of those amendments."""
    if not keys:
        return []
    rows = await connection.execute(_REVISIONS, {"operator": operator, **_key_columns(keys)})
    return [
        Revision(
            target=EventKey(row.target_source, row.target_id),
            source=row.source,
            id=row.id,
            time=row.time,
            data=None if row.void else row.data.get("data") or {},
            reason=str(row.data.get("reason", "")),
        )
        for row in rows
    ]


def revision_target(event: UsageEvent) -> EventKey | None:
    """Return what a void or an amendment targets; None for any other event."""
    if event.type not in {VOIDED, AMENDED}:
        return None
    return EventKey(str(event.data.get("source")), str(event.data.get("id")))


def _key_columns(keys: Collection[EventKey]) -> dict[str, Sequence[str]]:
    ordered = sorted(keys)
    return {"sources": [key.source for key in ordered], "ids": [key.id for key in ordered]}


def _thing_columns(events: Iterable[UsageEvent]) -> dict[str, list[str]]:
    things = sorted({(event.thing, event.source, event.type) for event in events if event.thing is not None})
    return {
        "things": [thing for thing, _, _ in things],
        "sources": [source for _, source, _ in things],
        "types": [kind for _, _, kind in things],
    }
