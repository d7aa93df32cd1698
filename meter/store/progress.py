"""How far rating is behind the log."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# Two look-ups in indexes. `seq` counts what is stored, of all operators.
_UNRATED: Final = text(
    """
    SELECT (SELECT seq FROM events WHERE operator = :operator ORDER BY xid DESC, seq DESC LIMIT 1)
         - (SELECT seq FROM rating_cursors WHERE operator = :operator ORDER BY xid, seq LIMIT 1)
    """
)


async def unrated(connection: AsyncConnection, operator: str) -> int:
    """Return about how many events are stored and not yet rated; 0 where nobody has ever rated."""
    behind = (await connection.execute(_UNRATED, {"operator": operator})).scalar_one()
    return 0 if behind is None else max(int(behind), 0)
