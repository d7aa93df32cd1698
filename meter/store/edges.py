"""What each on-site agent has had taken in: everything up to a sequence, some beyond it, and what that completes.

    agent:  newest of its boots' marks           site:  slowest of its agents           no agent: no mark

An agent's heartbeat says up to when it has sent everything. That holds here once every lower sequence of its boot is
stored too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.bulk import insert_many
from meter.store.tables import edges

# An agent's window of unacknowledged events is a few hundred; beyond this a hole is not going to fill soon.
ALSO_MAX: Final = 4_096
# No boot is known of an agent that marks nothing but its name.
NO_BOOT: Final = 0
EDGES_LISTED_MAX: Final = 1_000


class Heartbeat(NamedTuple):
    """An agent's word that nothing older than `until` is still to come, under a sequence or none (counts at once)."""

    sequence: int | None
    until: datetime


@dataclass(slots=True, kw_only=True)
class EdgeReport:
    """What one batch brought from one agent and boot: sequences, and what a heartbeat says."""

    site: str
    edge: str
    boot: int
    sequences: set[int] = field(default_factory=set)
    clock_offset_ms: int | None = None
    heartbeats: list[Heartbeat] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, int]:
        """Return what tells one agent's boot from another."""
        return self.site, self.edge, self.boot


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeProgress:
    """What an agent may forget: every sequence up to `up_to`, and those in `also`."""

    site: str
    edge: str
    boot: int
    up_to: int
    also: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeState:
    """One agent's boot as listed: `holes` are the missing ranges, both ends included."""

    site: str
    edge: str
    boot: int
    last_sequence: int
    up_to: int
    holes: tuple[tuple[int, int], ...]
    complete_until: datetime | None
    clock_offset_ms: int | None
    last_at: datetime


def advance(up_to: int, also: Iterable[int], arrived: Collection[int]) -> tuple[int, list[int]]:
    """Return progress after `arrived`: `up_to` as far as nothing is missing, and what lies beyond, in order."""
    beyond = sorted({sequence for sequence in (*also, *arrived) if sequence > up_to})
    reached = 0
    while reached < len(beyond) and beyond[reached] == up_to + 1:
        up_to += 1
        reached += 1
    return up_to, beyond[reached:]


def heed(up_to: int, heartbeats: Iterable[Heartbeat]) -> tuple[datetime | None, Heartbeat | None]:
    """Return up to when those that count make complete, and the newest of those that wait for something lower."""
    counted = [beat.until for beat in heartbeats if beat.sequence is None or beat.sequence <= up_to]
    waiting = [beat for beat in heartbeats if beat.sequence is not None and beat.sequence > up_to]
    return max(counted, default=None), max(waiting, default=None, key=lambda beat: (beat.sequence or 0, beat.until))


def holes(up_to: int, also: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return the missing ranges below the last known sequence, both ends included."""
    return tuple((left + 1, right - 1) for left, right in pairwise([up_to, *also]) if right - left > 1)


_TOUCH: Final = insert_many(
    edges,
    ("operator", "site", "edge", "boot", "clock_offset_ms", "last_at"),
    """ON CONFLICT (operator, site, edge, boot) DO UPDATE
          SET last_at = greatest(edges.last_at, excluded.last_at),
              clock_offset_ms = coalesce(excluded.clock_offset_ms, edges.clock_offset_ms)
       RETURNING site, edge, boot, up_to, also, complete_until, heartbeat_sequence, heartbeat_until""",
)
_ADVANCE: Final = text(
    """
    UPDATE edges SET up_to = g.up_to, also = CAST(g.also AS bigint[]), complete_until = g.complete_until,
                     heartbeat_sequence = g.heartbeat_sequence, heartbeat_until = g.heartbeat_until
      FROM unnest(CAST(:sites AS text[]), CAST(:edges AS text[]), CAST(:boots AS bigint[]), CAST(:up_tos AS bigint[]),
                  CAST(:alsos AS text[]), CAST(:complete_untils AS timestamptz[]),
                  CAST(:heartbeat_sequences AS bigint[]), CAST(:heartbeat_untils AS timestamptz[]))
           AS g (site, edge, boot, up_to, also, complete_until, heartbeat_sequence, heartbeat_until)
     WHERE edges.operator = :operator AND edges.site = g.site AND edges.edge = g.edge AND edges.boot = g.boot
    """
)


# Of each agent whichever boot has come furthest: a fresh spool begins where the lost one ended, or before.
_SITES: Final = text(
    """
    SELECT site, CASE WHEN bool_and(complete_until IS NOT NULL) THEN min(complete_until) END AS complete_until
      FROM (SELECT site, edge, max(complete_until) AS complete_until
              FROM edges WHERE operator = :operator GROUP BY site, edge) AS agents
     GROUP BY site
     ORDER BY site
    """
)
_EDGES: Final = text(
    """
    SELECT site, edge, max(complete_until) AS complete_until
      FROM edges WHERE operator = :operator AND site = ANY(CAST(:sites AS text[]))
     GROUP BY site, edge
     ORDER BY site, edge
    """
)


async def record_progress(
    connection: AsyncConnection, operator: str, reports: Iterable[EdgeReport], *, at: datetime
) -> list[EdgeProgress]:
    """Advance the agents' progress and return what each may be told once this commits.

    The rows stay locked until then: two batches of one agent add up. Reports have different keys.
    """
    ordered = sorted(reports, key=lambda report: report.key)
    if not ordered:
        return []
    touched = await connection.execute(
        _TOUCH,
        {
            "operator": [operator] * len(ordered),
            "site": [report.site for report in ordered],
            "edge": [report.edge for report in ordered],
            "boot": [report.boot for report in ordered],
            "clock_offset_ms": [report.clock_offset_ms for report in ordered],
            "last_at": [at] * len(ordered),
        },
    )
    before = {(row.site, row.edge, row.boot): row for row in touched}
    told, changed = [], []
    for report in ordered:
        row = before[report.key]
        up_to, also = advance(row.up_to, row.also, report.sequences)
        after = _progressed(row, report, up_to, also[:ALSO_MAX])
        if after != tuple(row)[3:]:
            changed.append((report, after))
        if report.sequences:
            told.append(
                EdgeProgress(site=report.site, edge=report.edge, boot=report.boot, up_to=up_to, also=tuple(also))
            )
    if changed:
        await connection.execute(
            _ADVANCE,
            {
                "operator": operator,
                "sites": [report.site for report, _ in changed],
                "edges": [report.edge for report, _ in changed],
                "boots": [report.boot for report, _ in changed],
                "up_tos": [after.up_to for _, after in changed],
                "alsos": ["{" + ",".join(map(str, after.also)) + "}" for _, after in changed],
                "complete_untils": [after.complete_until for _, after in changed],
                "heartbeat_sequences": [after.heartbeat_sequence for _, after in changed],
                "heartbeat_untils": [after.heartbeat_until for _, after in changed],
            },
        )
    return told


class _Progress(NamedTuple):
    """What a row says of progress."""

    up_to: int
    also: list[int]
    complete_until: datetime | None
    heartbeat_sequence: int | None
    heartbeat_until: datetime | None


def _progressed(row: Row[Any], report: EdgeReport, up_to: int, also: list[int]) -> _Progress:
    heartbeats = list(report.heartbeats)
    if row.heartbeat_until is not None:
        heartbeats.append(Heartbeat(row.heartbeat_sequence, row.heartbeat_until))
    counted, waiting = heed(up_to, heartbeats)
    known = [until for until in (row.complete_until, counted) if until is not None]
    return _Progress(
        up_to,
        also,
        max(known, default=None),
        None if waiting is None else waiting.sequence,
        None if waiting is None else waiting.until,
    )


async def site_marks(connection: AsyncConnection, operator: str) -> dict[str, datetime | None]:
    """Return up to when each site that has had an agent is complete; None where one of them has not said so yet."""
    rows = await connection.execute(_SITES, {"operator": operator})
    return {row.site: row.complete_until for row in rows}


async def edge_marks(
    connection: AsyncConnection, operator: str, sites: Collection[str]
) -> Mapping[str, dict[str, datetime | None]]:
    """Return up to when each agent of these sites has sent everything, by site."""
    rows = await connection.execute(_EDGES, {"operator": operator, "sites": sorted(sites)})
    found: dict[str, dict[str, datetime | None]] = {}
    for row in rows:
        found.setdefault(row.site, {})[row.edge] = row.complete_until
    return found


async def list_edges(connection: AsyncConnection, operator: str, *, site: str | None = None) -> list[EdgeState]:
    """Return the agents of the operator (or of one site), each boot by itself, the newest boot first."""
    query = select(edges).where(edges.c.operator == operator)
    if site is not None:
        query = query.where(edges.c.site == site)
    query = query.order_by(edges.c.site, edges.c.edge, edges.c.boot.desc()).limit(EDGES_LISTED_MAX)
    return [_state(row) for row in await connection.execute(query)]


def _state(row: Row[Any]) -> EdgeState:
    return EdgeState(
        site=row.site,
        edge=row.edge,
        boot=row.boot,
        last_sequence=max(row.up_to, *row.also, 0),
        up_to=row.up_to,
        holes=holes(row.up_to, row.also),
        complete_until=row.complete_until,
        clock_offset_ms=row.clock_offset_ms,
        last_at=row.last_at,
    )
