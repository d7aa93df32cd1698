"""Events whose time is doubtful, and sources all of whose events come late by whole quarters of an hour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.doubt import FUTURE
from meter.model.event import EventKey, UsageEvent

# Zones are quarters of an hour apart; a prompt event is received within seconds, and a queue may take its minute.
_STEP_S: Final = 900
_OFF_S_MAX: Final = 90
# Fewer may all be late by chance.
_EVENTS_MIN: Final = 10
# What is looked at of all sources together, the latest first: half a second's work at worst.
_RECENT_EVENTS_MAX: Final = 50_000


class DoubtfulTime(NamedTuple):
    """An event whose `time` is doubtful for the reason `flag`; `timed`: it came with one."""

    source: str
    id: str
    type: str
    site: str
    time: datetime
    timed: bool
    received_at: datetime
    flag: str


class DoubtfulAt(NamedTuple):
    """A place in the list, in its order."""

    time: datetime
    source: str
    id: str
    flag: str


class ShiftedSource(NamedTuple):
    """A source whose `events` came `late_s` after their time, to within a minute and a half (negative: before)."""

    source: str
    events: int
    late_s: int
    last: datetime


# What is asked for of either table, before it is cut to a page: neither is read further than the page needs.
_WANTED: Final = """
    d.operator = :operator
       AND (CAST(:since AS timestamptz) IS NULL OR d.time >= :since)
       AND (CAST(:site AS text) IS NULL OR split_part(d.source, '/', 1) = :site)
       AND NOT EXISTS (SELECT 1 FROM revisions AS r WHERE r.operator = :operator AND r.void
                          AND r.target_source = d.source AND r.target_id = d.id)
"""
_BEHIND: Final = """
    (CAST(:after_time AS timestamptz) IS NULL OR d.time >= :after_time
       AND (d.time, d.source, d.id, {flag}) > (:after_time, :after_source, :after_id, :after_flag))
       AND (CAST(:flag AS text) IS NULL OR {flag} = :flag)
"""
_PAGE: Final = text(
    f"""
    WITH doubted AS (
        (SELECT d.time, d.source, d.id, d.flag FROM doubtful_times AS d
          WHERE {_WANTED} AND {_BEHIND.format(flag="d.flag")}
          ORDER BY d.time, d.source, d.id LIMIT :rows_max)
         UNION ALL
        (SELECT d.time, d.source, d.id, '{FUTURE}' FROM held_events AS d
          WHERE {_WANTED} AND {_BEHIND.format(flag=f"'{FUTURE}'")}
          ORDER BY d.time, d.source, d.id LIMIT :rows_max)
    )
    SELECT e.source, e.id, e.type, e.site, e.time, e.timed, e.received_at, d.flag
      FROM doubted AS d
      JOIN events AS e ON e.operator = :operator AND (e.time, e.source, e.id) = (d.time, d.source, d.id)
     ORDER BY d.time, d.source, d.id, d.flag
     LIMIT :rows_max
    """  # noqa: S608 -- constants of this module
)
_FLAGS: Final = text(
    """
    SELECT d.source, d.id, d.flag
      FROM unnest(CAST(:times AS timestamptz[]), CAST(:sources AS text[]), CAST(:ids AS text[])) AS w (time, source, id)
      JOIN doubtful_times AS d ON d.operator = :operator AND (d.time, d.source, d.id) = (w.time, w.source, w.id)
    """
)
_SHIFTED: Final = text(
    f"""
    WITH recent AS (
        SELECT source, site, received_at, extract(epoch FROM received_at - time) AS late_s
          FROM events
         WHERE operator = :operator AND timed AND (CAST(:since AS timestamptz) IS NULL OR time >= :since)
         ORDER BY time DESC
         LIMIT {_RECENT_EVENTS_MAX}
    ), late AS (
        SELECT source, count(*) AS events, max(received_at) AS last,
               percentile_disc(ARRAY[0.1, 0.5, 0.9]) WITHIN GROUP (ORDER BY late_s) AS spread
          FROM recent
         WHERE CAST(:site AS text) IS NULL OR site = :site
         GROUP BY source HAVING count(*) >= {_EVENTS_MIN}
    )
    SELECT source, events, last, CAST(round(spread[2] / {_STEP_S}) * {_STEP_S} AS integer) AS late_s
      FROM late
     WHERE round(spread[2] / {_STEP_S}) <> 0 AND abs(spread[2]) < 15 * 3600
       AND abs(spread[1] - round(spread[2] / {_STEP_S}) * {_STEP_S}) <= {_OFF_S_MAX}
       AND abs(spread[3] - round(spread[2] / {_STEP_S}) * {_STEP_S}) <= {_OFF_S_MAX}
     ORDER BY source
     LIMIT 1000
    """  # noqa: S608 -- constants of this module
)


async def doubtful_times(
    connection: AsyncConnection,
    operator: str,
    *,
    since: datetime | None = None,
    flag: str | None = None,
    site: str | None = None,
    after: DoubtfulAt | None = None,
    rows_max: int,
) -> list[DoubtfulTime]:
    """Return the events behind `after` whose time is doubtful, by their time; those that were voided are left out."""
    rows = await connection.execute(
        _PAGE,
        {
            "operator": operator,
            "since": since,
            "flag": flag,
            "site": site,
            **{f"after_{name}": None if after is None else getattr(after, name) for name in DoubtfulAt._fields},
            "rows_max": rows_max,
        },
    )
    return [DoubtfulTime(*row) for row in rows]


async def flags_of(connection: AsyncConnection, operator: str, events: Sequence[UsageEvent]) -> dict[EventKey, str]:
    """Return what is said against the times of those of the events of which something is said."""
    parameters = {
        "operator": operator,
        "times": [event.time for event in events],
        "sources": [event.source for event in events],
        "ids": [event.id for event in events],
    }
    rows = await connection.execute(_FLAGS, parameters)
    return {EventKey(row.source, row.id): row.flag for row in rows}


async def shifted_sources(
    connection: AsyncConnection, operator: str, *, since: datetime | None = None, site: str | None = None
) -> list[ShiftedSource]:
    """Return the sources whose latest events, but for one in ten, all came by the same quarters of an hour late.

    Their clocks are probably in another zone than they say. What is sent in batches comes late by all sorts of times.
    """
    rows = await connection.execute(_SHIFTED, {"operator": operator, "since": since, "site": site})
    return [ShiftedSource(row.source, row.events, row.late_s, row.last) for row in rows]
