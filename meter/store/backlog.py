"""What waits: the figures behind the gauges."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.edge_states import SiteEdges, site_edges
from meter.store.edges import site_marks
from meter.store.safekeeping import newest_backup

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


# The first charge behind each target's cursor, by the index of the tail.
_UNREAD: Final = text(
    """
    SELECT c.target, b.booked_at AS oldest
      FROM export_cursors AS c
      CROSS JOIN LATERAL (SELECT booked_at FROM charges
                           WHERE operator = c.operator AND (xid, seq) > (c.xid, c.seq)
                           ORDER BY xid, seq LIMIT 1) AS b
     WHERE c.operator = :operator
     ORDER BY c.target
    """
)

_UNRATED: Final = text(
    """
    SELECT EXISTS (SELECT 1 FROM refolds WHERE operator = :operator)
        OR EXISTS (SELECT 1 FROM events
                    WHERE operator = :operator
                      AND (xid, seq) > (SELECT xid, seq FROM rating_cursors
                                         WHERE operator = :operator ORDER BY xid, seq LIMIT 1))
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
    """Everything that waits for somebody, up to when each site is complete, and how its agents are.

    `unread`: when the first charge was booked that a target has not read, for each one that lags behind.
    `backed_up`: what the newest backup holds everything before (None: there is none).
    """

    unresolved: int
    outbox: tuple[Waiting, ...]
    unread: dict[str, datetime]
    complete_until: dict[str, datetime]
    backed_up: datetime | None = None
    edges: tuple[SiteEdges, ...] = ()


async def read_backlog(conn: AsyncConnection, operator: str) -> Backlog:
    """Return what waits now."""
    parameters = {"operator": operator}
    unresolved = int((await conn.execute(_UNRESOLVED, parameters)).scalar_one())
    outbox = tuple(
        Waiting(target=row.target, items=row.items, oldest=row.oldest)
        for row in await conn.execute(_OUTBOX, parameters)
    )
    unread = {row.target: row.oldest for row in await conn.execute(_UNREAD, parameters)}
    marks = await site_marks(conn, operator)
    complete_until = {site: until for site, until in marks.items() if until is not None}
    edges = tuple(await site_edges(conn, operator))
    return Backlog(
        unresolved=unresolved,
        outbox=outbox,
        unread=unread,
        complete_until=complete_until,
        backed_up=await newest_backup(conn),
        edges=edges,
    )


async def is_all_rated(conn: AsyncConnection, operator: str) -> bool:
    """Return whether no stored event waits to be rated, and no account to be folded again. Once rating has begun."""
    return not (await conn.execute(_UNRATED, {"operator": operator})).scalar_one()
