"""Which billing periods of an account are closed, and when the clock alone makes a difference to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.booking import request_refold


@dataclass(frozen=True, slots=True)
class Closes:
    """The starts of an account's closed periods; of `booked` ones what closing makes due is in the books."""

    all: frozenset[datetime] = frozenset()
    booked: frozenset[datetime] = frozenset()


async def closes_of(connection: AsyncConnection, operator: str, accounts: Collection[str]) -> dict[str, Closes]:
    """Return the closed periods of those of the accounts that have any."""
    rows = await connection.execute(
        text(
            "SELECT account, array_agg(period_start) AS starts,"
            " array_agg(period_start) FILTER (WHERE booked) AS booked FROM closes"
            " WHERE operator = :operator AND account = ANY(CAST(:accounts AS text[])) GROUP BY account"
        ),
        {"operator": operator, "accounts": sorted(accounts)},
    )
    return {row.account: Closes(frozenset(row.starts), frozenset(row.booked or ())) for row in rows}


async def close_period(
    connection: AsyncConnection,
    operator: str,
    *,
    account: str,
    start: datetime,
    end: datetime,
    at: datetime,
    reason: str | None,
) -> bool:
    """Close a period and ask for what closing makes due; False where it was closed already.

    Waits for running rating transactions, so that each of them knew the period as open, or knows it as closed.
    """
    await connection.execute(
        text("SELECT 1 FROM operators WHERE operator = :operator FOR UPDATE"), {"operator": operator}
    )
    done = await connection.execute(
        text(
            "INSERT INTO closes (operator, account, period_start, closed_at, reason)"
            " VALUES (:operator, :account, :start, :at, :reason)"
            " ON CONFLICT (operator, account, period_start) DO NOTHING"
        ),
        {"operator": operator, "account": account, "start": start, "at": at, "reason": reason},
    )
    if not done.rowcount:
        return False
    await request_refold(connection, operator, account=account, since=end, reason=reason or "the period was closed")
    return True


async def mark_booked(connection: AsyncConnection, operator: str, closed: Mapping[str, Collection[datetime]]) -> None:
    """Say that what closing these periods makes due is in the books."""
    rows = [(account, start) for account, starts in sorted(closed.items()) for start in sorted(starts)]
    if rows:
        await connection.execute(
            text(
                "UPDATE closes AS c SET booked = true"
                " FROM unnest(CAST(:accounts AS text[]), CAST(:starts AS timestamptz[])) AS g (account, start)"
                " WHERE c.operator = :operator AND c.account = g.account AND c.period_start = g.start"
            ),
            {
                "operator": operator,
                "accounts": [account for account, _ in rows],
                "starts": [start for _, start in rows],
            },
        )


# --- the clock --------------------------------------------------------------------------------------------------------


async def due_wakes(connection: AsyncConnection, operator: str, now: datetime, *, rows_max: int) -> list[str]:
    """Return accounts to which the clock makes a difference now, the longest overdue first."""
    rows = await connection.execute(
        text("SELECT account FROM wakes WHERE operator = :operator AND due_at <= :now ORDER BY due_at LIMIT :rows_max"),
        {"operator": operator, "now": now, "rows_max": rows_max},
    )
    return [row.account for row in rows]


async def set_wakes(connection: AsyncConnection, operator: str, wakes: Mapping[str, datetime | None]) -> None:
    """Note when each account is to be looked at next; None: never."""
    never = sorted(account for account, due in wakes.items() if due is None)
    if never:
        await connection.execute(
            text("DELETE FROM wakes WHERE operator = :operator AND account = ANY(CAST(:accounts AS text[]))"),
            {"operator": operator, "accounts": never},
        )
    some = sorted((account, due) for account, due in wakes.items() if due is not None)
    if some:
        await connection.execute(
            text(
                "INSERT INTO wakes (operator, account, due_at)"
                " SELECT :operator, g.account, g.due_at"
                " FROM unnest(CAST(:accounts AS text[]), CAST(:dues AS timestamptz[])) AS g (account, due_at)"
                " ON CONFLICT (operator, account) DO UPDATE SET due_at = excluded.due_at"
            ),
            {"operator": operator, "accounts": [account for account, _ in some], "dues": [due for _, due in some]},
        )
