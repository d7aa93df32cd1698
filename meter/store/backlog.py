"""What waits: the figures behind the gauges."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.edges import site_marks

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
    marks = await site_marks(conn, operator)
    complete_until = {site: until for site, until in marks.items() if until is not None}
    return Backlog(unresolved=unresolved, outbox=outbox, complete_until=complete_until)
