"""What each on-site agent has had taken in: everything up to a sequence, and some beyond it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.bulk import insert_many
from meter.store.tables import edges

# An agent's window of unacknowledged events is a few hundred; beyond this a hole is not going to fill soon.
ALSO_MAX: Final = 4_096
# No boot is known of an agent that marks nothing but its name.
NO_BOOT: Final = 0
EDGES_LISTED_MAX: Final = 1_000


@dataclass(slots=True, kw_only=True)
class EdgeReport:
    """What one batch brought from one agent and boot: sequences, and what a heartbeat says."""

    site: str
    edge: str
    boot: int
    sequences: set[int] = field(default_factory=set)
    clock_offset_ms: int | None = None
    complete_until: datetime | None = None

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


def holes(up_to: int, also: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return the missing ranges below the last known sequence, both ends included."""
    return tuple((left + 1, right - 1) for left, right in pairwise([up_to, *also]) if right - left > 1)


_TOUCH: Final = insert_many(
    edges,
    ("operator", "site", "edge", "boot", "clock_offset_ms", "complete_until", "last_at"),
    """ON CONFLICT (operator, site, edge, boot) DO UPDATE
          SET last_at = greatest(edges.last_at, excluded.last_at),
              clock_offset_ms = coalesce(excluded.clock_offset_ms, edges.clock_offset_ms),
              complete_until = greatest(edges.complete_until, excluded.complete_until)
       RETURNING site, edge, boot, up_to, also""",
)
_ADVANCE: Final = text(
    """
    UPDATE edges SET up_to = g.up_to, also = CAST(g.also AS bigint[])
      FROM unnest(CAST(:sites AS text[]), CAST(:edges AS text[]), CAST(:boots AS bigint[]), CAST(:up_tos AS bigint[]),
                  CAST(:alsos AS text[])) AS g (site, edge, boot, up_to, also)
     WHERE edges.operator = :operator AND edges.site = g.site AND edges.edge = g.edge AND edges.boot = g.boot
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
            "complete_until": [report.complete_until for report in ordered],
            "last_at": [at] * len(ordered),
        },
    )
    before = {(row.site, row.edge, row.boot): (row.up_to, row.also) for row in touched}
    told, changed = [], []
    for report in ordered:
        if not report.sequences:
            continue
        up_to, also = advance(*before[report.key], report.sequences)
        kept = also[:ALSO_MAX]
        if (up_to, kept) != (before[report.key][0], list(before[report.key][1])):
            changed.append((report, up_to, "{" + ",".join(map(str, kept)) + "}"))
        told.append(EdgeProgress(site=report.site, edge=report.edge, boot=report.boot, up_to=up_to, also=tuple(also)))
    if changed:
        await connection.execute(
            _ADVANCE,
            {
                "operator": operator,
                "sites": [report.site for report, _, _ in changed],
                "edges": [report.edge for report, _, _ in changed],
                "boots": [report.boot for report, _, _ in changed],
                "up_tos": [up_to for _, up_to, _ in changed],
                "alsos": [also for _, _, also in changed],
            },
        )
    return told


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
