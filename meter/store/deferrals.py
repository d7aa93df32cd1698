"""The schedules by which charges are earned: written with them, gone through as their days end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.journal import Deferral
from meter.store.bulk import insert_rows
from meter.store.tables import deferrals

_DUE_CHAINS: Final = text(
    """
    WITH due AS (SELECT chain FROM deferrals
                  WHERE operator = :operator AND next_day < end_day AND next_day < :before
                  ORDER BY next_day, chain LIMIT :deferrals_max)
    SELECT chain, count(*) AS running
      FROM deferrals
     WHERE operator = :operator AND chain IN (SELECT chain FROM due) AND next_day < end_day AND next_day < :before
     GROUP BY chain
    """
)
_LOCKED: Final = text(
    """
    SELECT charge, chain, currency, net, first_day, end_day, next_day, debit, credit, narration, dimensions, suspense
      FROM deferrals
     WHERE operator = :operator AND chain = ANY(CAST(:chains AS text[])) AND next_day < end_day AND next_day < :before
     ORDER BY chain, charge
       FOR UPDATE SKIP LOCKED
    """
)


async def insert_deferrals(connection: AsyncConnection, operator: str, made: Sequence[Deferral]) -> None:
    """Append schedules."""
    rows = [
        {
            "operator": operator,
            "charge": one.charge,
            "chain": one.chain,
            "currency": one.currency,
            "net": one.net,
            "first_day": one.first_day,
            "end_day": one.end_day,
            "next_day": one.next_day,
            "debit": one.debit,
            "credit": one.credit,
            "narration": one.narration,
            "dimensions": dict(one.dimensions),
            "suspense": one.suspense,
        }
        for one in made
    ]
    await insert_rows(connection, deferrals, rows)


async def lock_due(connection: AsyncConnection, operator: str, *, before: date, deferrals_max: int) -> list[Deferral]:
    """Return schedules with days before `before` to enter, locked until the transaction ends.

    About `deferrals_max`: those of a line stay together. A line of which another transaction holds a part is left to
    it, so that a day of a line is one entry.
    """
    place = {"operator": operator, "before": before}
    due = await connection.execute(_DUE_CHAINS, {**place, "deferrals_max": deferrals_max})
    running = {row.chain: row.running for row in due}
    if not running:
        return []
    rows = await connection.execute(_LOCKED, {**place, "chains": sorted(running)})
    chains: dict[str, list[Deferral]] = {}
    for row in rows:
        chains.setdefault(row.chain, []).append(Deferral(**row._asdict()))
    return [one for chain, parts in chains.items() if len(parts) >= running[chain] for one in parts]


async def move_on(connection: AsyncConnection, operator: str, charges: Collection[str], *, before: date) -> None:
    """Say that every day before `before` of these charges' schedules is entered."""
    await connection.execute(
        text(
            "UPDATE deferrals SET next_day = greatest(next_day, least(end_day, :before))"
            " WHERE operator = :operator AND charge = ANY(CAST(:charges AS text[]))"
        ),
        {"operator": operator, "charges": sorted(charges), "before": before},
    )
