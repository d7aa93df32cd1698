"""Agents on site that are shut out: what they send is refused until they are enrolled again (decision 0017)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, insert, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.tables import edge_revocations

# Of one revocation: some days of a busy site, to look at by hand; more than that is somebody who fills the disk.
KEPT_MAX: Final = 10_000


class Agent(NamedTuple):
    """An agent by its name, whatever spool it has."""

    site: str
    edge: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Somebody's word that an agent is shut out. `refused` events came since, of which `kept` are rejections."""

    site: str
    edge: str
    at: datetime
    reason: str
    by: str
    refused: int
    kept: int
    refused_at: datetime | None

    @property
    def room(self) -> int:
        """Return how many more are kept."""
        return max(0, KEPT_MAX - self.kept)


_COUNT: Final = text(
    """
    UPDATE edge_revocations AS r
       SET refused = r.refused + g.refused, kept = r.kept + g.kept, refused_at = greatest(r.refused_at, :at)
      FROM unnest(CAST(:sites AS text[]), CAST(:edges AS text[]), CAST(:refused AS bigint[]), CAST(:kept AS bigint[]))
           AS g (site, edge, refused, kept)
     WHERE r.operator = :operator AND r.site = g.site AND r.edge = g.edge AND r.lifted_at IS NULL
    """
)


async def shut_out(
    conn: AsyncConnection, operator: str, agent: Agent, *, reason: str, by: str, at: datetime
) -> Revocation:
    """Return the revocation of an agent; of one that is revoked already the first stands."""
    known = (await revocations(conn, operator, {agent})).get(agent)
    if known is not None:
        return known
    row = insert(edge_revocations).values(
        operator=operator, site=agent.site, edge=agent.edge, at=at, reason=reason, by=by
    )
    return _revocation((await conn.execute(row.returning(edge_revocations))).one())


async def lift(conn: AsyncConnection, operator: str, agent: Agent, *, at: datetime) -> None:
    """Hear an agent again, where it was shut out."""
    columns = edge_revocations.c
    mine = (columns.operator == operator) & (columns.site == agent.site) & (columns.edge == agent.edge)
    await conn.execute(update(edge_revocations).where(mine, columns.lifted_at.is_(None)).values(lifted_at=at))


async def revocations(
    conn: AsyncConnection, operator: str, agents: Collection[Agent] | None = None, *, lock: bool = False
) -> dict[Agent, Revocation]:
    """Return which of these agents (None: of all) are shut out. `lock`: until the transaction ends, for `count`."""
    columns = edge_revocations.c
    query = select(edge_revocations).where(columns.operator == operator, columns.lifted_at.is_(None))
    if agents is not None:
        query = query.where(tuple_(columns.site, columns.edge).in_([tuple(agent) for agent in agents]))
    query = query.order_by(columns.site, columns.edge)
    rows = await conn.execute(query.with_for_update() if lock else query)
    return {Agent(row.site, row.edge): _revocation(row) for row in rows}


async def count(
    conn: AsyncConnection, operator: str, refused: Mapping[Agent, int], kept: Mapping[Agent, int], *, at: datetime
) -> None:
    """Add to what came of agents that are shut out, and to how much of that is kept."""
    agents = sorted(refused)
    numbers = {
        "sites": [agent.site for agent in agents],
        "edges": [agent.edge for agent in agents],
        "refused": [refused[agent] for agent in agents],
        "kept": [kept.get(agent, 0) for agent in agents],
    }
    await conn.execute(_COUNT, {"operator": operator, "at": at, **numbers})


def _revocation(row: Row[Any]) -> Revocation:
    return Revocation(
        site=row.site,
        edge=row.edge,
        at=row.at,
        reason=row.reason,
        by=row.by,
        refused=row.refused,
        kept=row.kept,
        refused_at=row.refused_at,
    )
