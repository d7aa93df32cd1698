"""What a backup says of itself, and what a restored database must know (decision 0022).

    backup ───── events, charges, deliveries ─────▶ lost ──▶ restored
           └─ what of these left the house nobody knows ─┘

All of this is the owner's: it looks at every operator's rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# As long as agents keep what was acknowledged (decision 0015): what they replay is gathered within it.
UNSURE: Final = timedelta(days=35)
_WHY: Final = "the database was restored from a backup; the target is asked for it first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What stands in the database below a transaction: rows by table, and sums of charges by currency."""

    below_xid: int
    rows: Mapping[str, int]
    amounts: Mapping[str, Decimal]
    rounded: Mapping[str, Decimal]


_HORIZON: Final = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
_NOW: Final = text("SELECT clock_timestamp()")
_ROWS: Final = {
    table: text(f"SELECT count(*) FROM {table} WHERE xid < CAST(CAST(:below AS text) AS xid8)")  # noqa: S608 -- a constant
    for table in ("events", "charges", "entries")
}
_SUMS: Final = text(
    """
    SELECT currency, sum(amount) AS amount, sum(rounded) AS rounded
      FROM charges WHERE xid < CAST(CAST(:below AS text) AS xid8)
     GROUP BY currency ORDER BY currency
    """
)


async def database_now(connection: AsyncConnection) -> datetime:
    """Return the server's time."""
    found: datetime = (await connection.execute(_NOW)).scalar_one()
    return found


async def read_totals(connection: AsyncConnection, *, below_xid: int | None = None) -> Totals:
    """Return what stands below a transaction; None: below the oldest that runs, where nothing will be added any more.

    So what is read before a backup is what the backup holds of it, whatever is committed meanwhile.
    """
    below = int((await connection.execute(_HORIZON)).scalar_one()) if below_xid is None else below_xid
    given = {"below": str(below)}
    rows = {table: int((await connection.execute(query, given)).scalar_one()) for table, query in _ROWS.items()}
    sums = (await connection.execute(_SUMS, given)).all()
    return Totals(
        below_xid=below,
        rows=rows,
        amounts={row.currency: row.amount for row in sums},
        rounded={row.currency: row.rounded for row in sums},
    )


async def add_backup(
    connection: AsyncConnection, *, name: str, started_at: datetime, seconds: float, size: int
) -> None:
    """Keep that a backup was made."""
    await connection.execute(
        text("INSERT INTO backups (name, started_at, seconds, bytes) VALUES (:name, :started_at, :seconds, :bytes)"),
        {"name": name, "started_at": started_at, "seconds": seconds, "bytes": size},
    )


async def newest_backup(connection: AsyncConnection) -> datetime | None:
    """Return what the newest backup holds everything before; None: there is none."""
    found: datetime | None = (await connection.execute(text("SELECT max(started_at) FROM backups"))).scalar_one()
    return found


_RESTORED: Final = text("INSERT INTO restorations (backup) VALUES (:backup)")
_ASK: Final = text(
    """
    UPDATE outbox SET state = 'uncertain', burned = true, due_at = clock_timestamp(), fault = :why
     WHERE state IN ('pending', 'sending', 'uncertain') AND target <> ALL (CAST(:anew AS text[]))
    """
)
_ANEW: Final = text(
    """
    UPDATE outbox SET state = 'pending', burned = false, due_at = clock_timestamp(), attempts = 0, fault = NULL,
           first_sent_at = NULL, delivered_at = NULL, remote_id = NULL
     WHERE state IN ('sending', 'uncertain', 'delivered', 'verified') AND target = ANY (CAST(:anew AS text[]))
    """
)
_UNSURE: Final = text(
    "SELECT EXISTS (SELECT FROM restorations WHERE restored_at > clock_timestamp() - CAST(:unsure AS interval))"
)
_FREE: Final = text("DELETE FROM lanes")


async def mark_restored(connection: AsyncConnection, *, backup: str | None, anew: Collection[str] = ()) -> int:
    """Have every target asked before anything is sent to it; return how many deliveries wait for that.

    What was sent after the backup was made is pending in it, under a key that the target may have forgotten. `anew` are
    targets whose files were not restored: they are written again from the first.
    """
    await connection.execute(_RESTORED, {"backup": backup})
    asked = await connection.execute(_ASK, {"why": _WHY, "anew": sorted(anew)})
    await connection.execute(_ANEW, {"anew": sorted(anew)})
    await connection.execute(_FREE)
    return asked.rowcount


async def is_unsure(connection: AsyncConnection) -> bool:
    """Tell whether the database was restored so lately that what is made now may have been sent before."""
    return bool((await connection.execute(_UNSURE, {"unsure": UNSURE})).scalar_one())
