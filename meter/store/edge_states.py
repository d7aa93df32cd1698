"""Agents on site as people see them: what each last said of itself, and whether it is gone for good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Row, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.instant import instant_text
from meter.store.edge_revocations import Agent, Revocation, revocations
from meter.store.marks import Marks, joined, marks_of
from meter.store.tables import edge_retirements, edges

EDGES_LISTED_MAX: Final = 1_000
# A device's clock that is further off dates a print job behind the one that followed; NTP keeps it within milliseconds.
DRIFT_WARN_MS: Final = 2_000
# Who was heard of within it is hardly gone for good.
ALIVE_WITHIN: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """Somebody's word that an agent is gone for good. `by`: a key's id, or the command line."""

    at: datetime
    reason: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeState:
    """One agent's boot. `current`: of the agent's boots the one that was heard of last.

    `said` is the data of its latest heartbeat, but for the mark. `clock_offset_ms`: the device's clock minus the true
    time. `retired`: nothing was heard of the agent since. `revoked`: it is shut out.
    """

    site: str
    edge: str
    boot: int
    current: bool
    marks: Marks
    complete_until: datetime | None
    clock_offset_ms: int | None
    last_at: datetime
    heartbeat_at: datetime | None
    said: Mapping[str, Json]
    retired: Retirement | None
    revoked: Revocation | None

    @property
    def drifts(self) -> bool:
        """Tell whether its clock is so far off that somebody should look."""
        return self.clock_offset_ms is not None and abs(self.clock_offset_ms) > DRIFT_WARN_MS

    def offline_since(self, at: datetime, *, after: timedelta) -> datetime | None:
        """Return its last sign of life where that is longer ago than `after`; None for one that is there, or shall not.

        What an agent that sends no heartbeats sends is its sign of life. An older boot is neither there nor gone.
        """
        heard_at = self.heartbeat_at or self.last_at
        gone = self.current and self.retired is None and self.revoked is None and heard_at + after <= at
        return heard_at if gone else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteEdges:
    """The agents of a site together: the longest silence's beginning, sums, and what is furthest off.

    `untold`: answers to asks of which the gateway does not know yet; `risk_used`: the share of its risk limit that the
    agent has in use where that is highest.
    """

    site: str
    heard_at: datetime
    spooled: int
    holes: int
    faults: int
    untold: int
    risk_used: Decimal
    clock_offset_ms: int | None


_SITES: Final = text(
    """
    WITH newest AS (
        SELECT DISTINCT ON (site, edge)
               site, edge, coalesce(heartbeat_at, last_at) AS heard_at, said,
               -- Each range lies behind a hole. What an older version left in `also` is taken over with the next batch.
               cardinality(beyond) / 2 + cardinality(also) AS holes,
               coalesce(CAST(said ->> 'clock_offset_ms' AS bigint), clock_offset_ms) AS clock_offset_ms,
               max(last_at) OVER (PARTITION BY site, edge) AS last_at
          FROM edges
         WHERE operator = :operator
         -- By boot at last only: the number of a spool that was made before its machine knew the time is low.
         ORDER BY site, edge, heartbeat_at DESC NULLS LAST, last_at DESC, boot DESC)
    SELECT site, min(heard_at) AS heard_at, sum(holes) AS holes,
           coalesce(sum(CAST(said ->> 'spooled' AS numeric)), 0) AS spooled,
           coalesce(sum(jsonb_array_length(said -> 'faults')), 0) AS faults,
           coalesce(sum(CAST(said #>> '{authorizations,untold}' AS numeric)), 0) AS untold,
           coalesce(max(CAST(said #>> '{authorizations,risk_used}' AS numeric)), 0) AS risk_used,
           (array_agg(clock_offset_ms ORDER BY abs(clock_offset_ms) DESC)
            FILTER (WHERE clock_offset_ms IS NOT NULL))[1] AS clock_offset_ms
      FROM newest
     WHERE NOT EXISTS (SELECT 1 FROM edge_retirements AS r
                        WHERE (r.operator, r.site, r.edge) = (:operator, newest.site, newest.edge)
                          AND r.heard_at >= newest.last_at)
       AND NOT EXISTS (SELECT 1 FROM edge_revocations AS v
                        WHERE (v.operator, v.site, v.edge) = (:operator, newest.site, newest.edge)
                          AND v.lifted_at IS NULL)
     GROUP BY site
     ORDER BY site
    """
)


async def list_edges(
    connection: AsyncConnection, operator: str, *, site: str | None = None, edge: str | None = None
) -> list[EdgeState]:
    """Return the agents of the operator (of one site; one of them), each boot by itself, the newest boot first."""
    query = select(edges).where(edges.c.operator == operator)
    if site is not None:
        query = query.where(edges.c.site == site)
    if edge is not None:
        query = query.where(edges.c.edge == edge)
    query = query.order_by(edges.c.site, edges.c.edge, edges.c.boot.desc()).limit(EDGES_LISTED_MAX)
    rows = (await connection.execute(query)).all()
    retired = await _retirements(connection, operator)
    revoked = await revocations(connection, operator)
    current: dict[tuple[str, str], Row[Any]] = {}
    for row in rows:
        known = current.setdefault((row.site, row.edge), row)
        if _heard(row) > _heard(known):
            current[row.site, row.edge] = row
    return [
        _state(
            row,
            current=current[row.site, row.edge] is row,
            retired=retired.get((row.site, row.edge)),
            revoked=revoked.get(Agent(row.site, row.edge)),
        )
        for row in rows
    ]


def _heard(row: Row[Any]) -> tuple[bool, datetime, datetime]:
    """Return by what an agent's current boot is found, as `_SITES` does; of two that agree, the higher number."""
    return row.heartbeat_at is not None, row.heartbeat_at or row.last_at, row.last_at


async def _retirements(connection: AsyncConnection, operator: str) -> dict[tuple[str, str], Retirement]:
    """Return the retirement of each agent of which nothing was heard since."""
    heard = (
        select(edges.c.site, edges.c.edge, func.max(edges.c.last_at).label("last_at"))
        .where(edges.c.operator == operator)
        .group_by(edges.c.site, edges.c.edge)
        .subquery()
    )
    query = (
        select(edge_retirements)
        .join(heard, (heard.c.site == edge_retirements.c.site) & (heard.c.edge == edge_retirements.c.edge))
        .where(edge_retirements.c.operator == operator, edge_retirements.c.heard_at >= heard.c.last_at)
    )
    rows = await connection.execute(query)
    return {(row.site, row.edge): Retirement(at=row.at, reason=row.reason, by=row.by) for row in rows}


def _state(row: Row[Any], *, current: bool, retired: Retirement | None, revoked: Revocation | None) -> EdgeState:
    said = row.said or {}
    return EdgeState(
        site=row.site,
        edge=row.edge,
        boot=row.boot,
        current=current,
        marks=joined(marks_of(row.up_to, row.beyond), row.also),
        complete_until=row.complete_until,
        # The events of a backlog carry the offset of their own time.
        clock_offset_ms=said.get("clock_offset_ms", row.clock_offset_ms),
        last_at=row.last_at,
        heartbeat_at=row.heartbeat_at,
        said=said,
        retired=retired,
        revoked=revoked,
    )


async def site_edges(connection: AsyncConnection, operator: str) -> list[SiteEdges]:
    """Return how the agents of each site are doing, each by its current boot; without those retired or revoked."""
    rows = await connection.execute(_SITES, {"operator": operator})
    return [
        SiteEdges(
            site=row.site,
            heard_at=row.heard_at,
            spooled=int(row.spooled),
            holes=int(row.holes),
            faults=int(row.faults),
            untold=int(row.untold),
            risk_used=row.risk_used,
            clock_offset_ms=row.clock_offset_ms,
        )
        for row in rows
    ]


async def retire_edge(
    connection: AsyncConnection, operator: str, *, site: str, edge: str, reason: str, by: str, at: datetime, force: bool
) -> list[EdgeState]:
    """Note that an agent is gone for good, so that closings wait for it no longer; return its boots as they stand now.

    It counts again with the first thing that is heard of it. `force`: although it was heard of within the hour. Of one
    that is retired already the first reason stands. Raises BadInput (`not_found`, `conflict`, `invalid`).
    """
    if not reason.strip():
        raise BadInput("say why the agent is gone for good: what it still held will not come", code="invalid")
    # Whoever stores something of the agent now waits, and brings it back.
    rows = select(edges.c.boot).where(edges.c.operator == operator, edges.c.site == site, edges.c.edge == edge)
    await connection.execute(rows.order_by(edges.c.boot).with_for_update())
    found = await list_edges(connection, operator, site=site, edge=edge)
    if not found:
        message = f"site {site[:60]!r} has no agent {edge[:60]!r}; meter edges lists them"
        raise BadInput(message, code="not_found")
    if found[0].retired is not None:
        return found
    heard_at = max(state.last_at for state in found)
    if not force and heard_at + ALIVE_WITHIN > at:
        message = (
            f"{edge} of {site} was heard of at {instant_text(heard_at)}, within the hour; stop it first, or say --yes "
            "(force) if it is gone for good"
        )
        raise BadInput(message, code="conflict")
    await connection.execute(
        insert(edge_retirements).values(
            operator=operator, site=site, edge=edge, heard_at=heard_at, at=at, reason=reason.strip(), by=by
        )
    )
    return await list_edges(connection, operator, site=site, edge=edge)
