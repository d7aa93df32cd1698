"""What waits: the figures behind the gauges."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_UNRESOLVED: Final = text("SELECT count(*) FROM unresolved WHERE operator = :operator")
_OUTBOX: Final = text(
    """
    SELECT target, count(*) AS items, min(created_at) AS oldest
      FROM outbox
     WHERE operator = :operator AND state IN ('pending', 'sending', 'uncertain')
     GROUP BY target
     ORDER BY target
    """
)
# Of each agent the newest boot that has said something; a site is as complete as its slowest agent.
_SITES: Final = text(
    """
    SELECT site, min(complete_until) AS complete_until
      FROM (SELECT DISTINCT ON (site, edge) site, edge, complete_until
              FROM edges
             WHERE operator = :operator AND complete_until IS NOT NULL
             ORDER BY site, edge, boot DESC) AS latest
     GROUP BY site
     ORDER BY site
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The open items of one target: how many, and since when the oldest waits."""

    target: str
    items: int
    oldest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Everything that waits for somebody, and up to when each site is complete."""

    unresolved: int
    outbox: tuple[Waiting, ...]
    complete_until: dict[str, datetime]


async def read_backlog(conn: AsyncConnection, operator: str) -> Backlog:
    """Return what waits now."""
    parameters = {"operator": operator}
    unresolved = int((await conn.execute(_UNRESOLVED, parameters)).scalar_one())
    outbox = tuple(
        Waiting(target=row.target, items=row.items, oldest=row.oldest)
        for row in await conn.execute(_OUTBOX, parameters)
    )
    complete_until = {row.site: row.complete_until for row in await conn.execute(_SITES, parameters)}
    return Backlog(unresolved=unresolved, outbox=outbox, complete_until=complete_until)
