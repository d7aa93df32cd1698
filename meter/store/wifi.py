"""Wi-Fi sessions beside the log: which events each has, and which of them are to be looked at again.

    wifi.session ───▶ a reading, and its session is due ─┐
    nas.restarted ──▶ a reading of "", and it is due ────┼─▶ expand ─▶ sessions due ─▶ looked at ─▶ gone, unless told of
    a void or an amendment ──▶ what it targets is due ───┘                                          anew meanwhile

Whatever was written in one transaction is due after it. So whoever looks at a session sees every event whose row came
before, and for every event that comes later there is a row again: none is overlooked, in whatever order they commit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.event import AMENDED, NAS_RESTARTED, VOIDED, WIFI_SESSION
from meter.sources.wifi.sessions import is_person
from meter.store.bulk import columns_of, insert_many, insert_rows
from meter.store.entry import Entry
from meter.store.tables import wifi_due, wifi_readings

# By what channel events come that were derived from others.
DERIVED: Final = "derived"
_NO_SESSION: Final = ""

_NOTE: Final = insert_many(
    wifi_due,
    ("operator", "kind", "source", "name"),
    "ON CONFLICT (operator, kind, source, name) DO UPDATE SET notices = wifi_due.notices + 1",
)
_STANDS: Final = """
    NOT EXISTS (SELECT 1 FROM revisions AS v
                 WHERE v.operator = r.operator AND v.target_source = r.source AND v.target_id = r.id AND v.void)
"""
# A restart matters to sessions with a reading since the one before: the others were over by then.
_EXPAND: Final = text(
    f"""
    WITH given AS (
        SELECT * FROM unnest(CAST(:sources AS text[]), CAST(:names AS text[])) AS g (source, name)
    ), restarts AS (
        SELECT t.source, t.nas, t.time,
               (SELECT max(r.time) FROM wifi_readings AS r
                 WHERE r.operator = :operator AND r.source = t.source AND r.session = '{_NO_SESSION}'
                   AND r.nas = t.nas AND r.time < t.time AND {_STANDS}) AS before
          FROM given AS g
          JOIN wifi_readings AS t
            ON t.operator = :operator AND t.source = g.source AND t.session = '{_NO_SESSION}' AND t.id = g.name
    ), found AS (
        SELECT w.source, w.session
          FROM restarts AS t
          JOIN wifi_readings AS w ON w.operator = :operator AND w.source = t.source AND w.nas = t.nas
           AND w.time <= t.time AND (t.before IS NULL OR w.time >= t.before) AND w.session <> '{_NO_SESSION}'
        UNION
        SELECT e.source, e.data ->> 'session'
          FROM given AS g
          JOIN event_keys AS k ON k.operator = :operator AND k.source = g.source AND k.id = g.name
          JOIN events AS e ON e.operator = k.operator AND e.time = k.time AND e.source = k.source AND e.id = k.id
         WHERE e.type = '{WIFI_SESSION}'
    )
    INSERT INTO wifi_due (operator, kind, source, name)
    SELECT :operator, 'session', source, session FROM found WHERE session IS NOT NULL ORDER BY source, session
    ON CONFLICT (operator, kind, source, name) DO UPDATE SET notices = wifi_due.notices + 1
    """  # noqa: S608 -- constants of this module
)
# Rows that are being counted up are left: they are due again anyhow, and nobody waits for anybody.
_SETTLE: Final = text(
    """
    DELETE FROM wifi_due AS w
     USING (SELECT d.kind, d.source, d.name
              FROM unnest(CAST(:kinds AS text[]), CAST(:sources AS text[]), CAST(:names AS text[]),
                          CAST(:notices AS bigint[])) AS g (kind, source, name, notices)
              JOIN wifi_due AS d ON d.operator = :operator AND d.kind = g.kind AND d.source = g.source
               AND d.name = g.name AND d.notices = g.notices
               FOR UPDATE OF d SKIP LOCKED) AS done
     WHERE w.operator = :operator AND w.kind = done.kind AND w.source = done.source AND w.name = done.name
    """
)
# Mostly a session begins with its start and names one kind of identity: then nothing follows from it.
_DOUBTFUL: Final = text(
    f"""
    WITH found AS (
        SELECT w.source, w.session, min(w.time) AS first, array_agg(DISTINCT w.nas) AS nases,
               bool_or(w.derived) OR (bool_or(w.person) AND NOT bool_and(w.person))
               OR (array_agg(w.status ORDER BY w.time, w.id))[1] <> 'start' AS doubtful
          FROM unnest(CAST(:sources AS text[]), CAST(:sessions AS text[])) AS g (source, session)
          JOIN wifi_readings AS w ON w.operator = :operator AND w.source = g.source AND w.session = g.session
         GROUP BY w.source, w.session
    )
    SELECT f.source, f.session FROM found AS f
     WHERE f.doubtful OR EXISTS (
         SELECT 1 FROM wifi_readings AS r
          WHERE r.operator = :operator AND r.source = f.source AND r.session = '{_NO_SESSION}' AND r.time >= f.first
            AND r.nas = ANY(f.nases))
    """  # noqa: S608 -- constants of this module
)
_RESTARTS: Final = text(
    f"""
    SELECT r.source, r.nas, r.time FROM wifi_readings AS r
      JOIN unnest(CAST(:sources AS text[]), CAST(:nases AS text[])) AS g (source, nas)
        ON r.source = g.source AND r.nas = g.nas
     WHERE r.operator = :operator AND r.session = '{_NO_SESSION}' AND {_STANDS}
     ORDER BY r.source, r.nas, r.time
    """  # noqa: S608 -- constants of this module
)


class Due(NamedTuple):
    """A row of the list; `notices` tells whether more was told meanwhile."""

    kind: str
    source: str
    name: str
    notices: int

    @property
    def session(self) -> tuple[str, str]:
        """Return source and session of a row of this kind."""
        return self.source, self.name


async def note_sessions(connection: AsyncConnection, operator: str, entries: Sequence[Entry]) -> None:
    """Write the readings among new events, and what of them is to be looked at."""
    readings: list[dict[str, Any]] = []
    due: set[tuple[str, str, str]] = set()
    for entry in entries:
        event, kind = entry.event, entry.event.type
        if kind == WIFI_SESSION:
            session = str(event.data["session"])
            due.add(("session", event.source, session))
            readings.append(_reading(operator, entry, session, str(event.data["status"])))
        elif kind == NAS_RESTARTED:
            due.add(("restart", event.source, event.id))
            readings.append(_reading(operator, entry, _NO_SESSION, "restart"))
        elif kind in {VOIDED, AMENDED}:
            due.add(("revision", str(event.data["source"]), str(event.data["id"])))
    await insert_rows(connection, wifi_readings, readings)
    if due:
        # Sorted, so that two batches never wait for each other in a ring.
        rows = [{"operator": operator, "kind": row[0], "source": row[1], "name": row[2]} for row in sorted(due)]
        await connection.execute(_NOTE, columns_of(wifi_due, rows))


def _reading(operator: str, entry: Entry, session: str, status: str) -> dict[str, Any]:
    nas = entry.event.data.get("nas")
    return {
        "operator": operator,
        "source": entry.event.source,
        "session": session,
        "time": entry.time,
        "id": entry.event.id,
        "status": status,
        "person": is_person(entry.event.subject),
        "derived": entry.channel == DERIVED,
        "nas": None if nas is None else str(nas),
    }


async def due_page(connection: AsyncConnection, operator: str, *, rows_max: int) -> list[Due]:
    """Return what is due, restarts and revisions first: they say of more that it is."""
    table = wifi_due.c
    query = (
        select(table.kind, table.source, table.name, table.notices)
        .where(table.operator == operator)
        .order_by(table.kind, table.source, table.name)
        .limit(rows_max)
    )
    return [Due(*row) for row in (await connection.execute(query)).all()]


async def expand(connection: AsyncConnection, operator: str, due: Collection[Due]) -> None:
    """Have the sessions looked at that restarts and revisions are about."""
    ordered = sorted(due)
    await connection.execute(
        _EXPAND,
        {"operator": operator, "sources": [row.source for row in ordered], "names": [row.name for row in ordered]},
    )


async def settle(connection: AsyncConnection, operator: str, done: Collection[Due]) -> None:
    """Take rows off the list of which nothing more was told meanwhile."""
    ordered = sorted(done)
    columns = {
        "kinds": [row.kind for row in ordered],
        "sources": [row.source for row in ordered],
        "names": [row.name for row in ordered],
        "notices": [row.notices for row in ordered],
    }
    await connection.execute(_SETTLE, {"operator": operator, **columns})


async def doubtful(
    connection: AsyncConnection, operator: str, sessions: Collection[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return those of the sessions (source, session) from which something may follow: few of them."""
    ordered = sorted(sessions)
    rows = await connection.execute(
        _DOUBTFUL,
        {"operator": operator, "sources": [key[0] for key in ordered], "sessions": [key[1] for key in ordered]},
    )
    return [(row.source, row.session) for row in rows.all()]


async def restarts_of(
    connection: AsyncConnection, operator: str, nases: Collection[tuple[str, str]]
) -> Mapping[tuple[str, str], Sequence[datetime]]:
    """Return when each NAS (source, nas) restarted, in order; restarts that were taken back are none."""
    ordered = sorted(nases)
    found: dict[tuple[str, str], list[datetime]] = {}
    rows = await connection.execute(
        _RESTARTS,
        {"operator": operator, "sources": [key[0] for key in ordered], "nases": [key[1] for key in ordered]},
    )
    for row in rows.all():
        found.setdefault((row.source, row.nas), []).append(row.time)
    return found
