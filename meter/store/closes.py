"""Which billing periods of an account are closed, and when the clock alone makes a difference to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.hints import ACCEPTED, tell_at_commit
from meter.store.usage import Cursor


class Closing(NamedTuple):
    """A billing period of an account that is closed, or may be."""

    account: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Closes:
    """The starts of an account's closed periods; of `booked` ones what closing makes due is in the books."""

    all: frozenset[datetime] = frozenset()
    booked: frozenset[datetime] = frozenset()

    def with_more(self, starts: frozenset[datetime]) -> Closes:
        """Return the same with further periods closed, of which nothing is booked."""
        return Closes(self.all | starts, self.booked)


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


async def close_periods(
    connection: AsyncConnection, operator: str, closings: Collection[Closing], *, at: datetime, reason: str | None
) -> list[Closing]:
    """Close periods and ask for what closing makes due; return those that were not closed already.

    A period counts as closed from the booking of that on: what is rated before, or with it, is still in it.

    Waits for running rating transactions, so that each of them knew the periods as open, or knows them as closed.
    """
    await connection.execute(
        text("SELECT 1 FROM operators WHERE operator = :operator FOR UPDATE"), {"operator": operator}
    )
    rows = await connection.execute(
        text(
            "INSERT INTO closes (operator, account, period_start, closed_at, reason)"
            " SELECT :operator, g.account, g.start, :at, :reason"
            " FROM unnest(CAST(:accounts AS text[]), CAST(:starts AS timestamptz[])) AS g (account, start)"
            " ON CONFLICT (operator, account, period_start) DO NOTHING RETURNING account, period_start"
        ),
        {"operator": operator, **_columns(closings), "at": at, "reason": reason},
    )
    done = {(row.account, row.period_start) for row in rows}
    fresh = [closing for closing in sorted(closings) if (closing.account, closing.start) in done]
    since: dict[str, datetime] = {}
    for closing in fresh:
        since.setdefault(closing.account, closing.end)
    await connection.execute(
        text(
            "INSERT INTO refolds (operator, account, since, reason) SELECT :operator, g.account, g.since, :reason"
            " FROM unnest(CAST(:accounts AS text[]), CAST(:since AS timestamptz[])) AS g (account, since)"
        ),
        {
            "operator": operator,
            "accounts": list(since),
            "since": list(since.values()),
            "reason": reason or "the period was closed",
        },
    )
    if fresh:
        await tell_at_commit(connection, ACCEPTED)
    return fresh


def _columns(closings: Collection[Closing]) -> dict[str, list[Any]]:
    ordered = sorted(closings)
    return {
        "accounts": [closing.account for closing in ordered],
        "starts": [closing.start for closing in ordered],
        "ends": [closing.end for closing in ordered],
    }


async def mark_booked(connection: AsyncConnection, operator: str, closed: Mapping[str, Collection[datetime]]) -> None:
    """Say that what closing these periods makes due is in the books."""
    rows = [(account, start) for account, starts in sorted(closed.items()) for start in sorted(starts)]
    if rows:
        await connection.execute(
            text(
                "UPDATE closes AS c SET booked = true, booked_xid = pg_current_xact_id()"
                " FROM unnest(CAST(:accounts AS text[]), CAST(:starts AS timestamptz[])) AS g (account, start)"
                " WHERE c.operator = :operator AND c.account = g.account AND c.period_start = g.start"
            ),
            {
                "operator": operator,
                "accounts": [account for account, _ in rows],
                "starts": [start for _, start in rows],
            },
        )


# --- what may be closed -----------------------------------------------------------------------------------------------

_FIRST: Final = text(
    """
    SELECT g.account, c.period_start
      FROM unnest(CAST(:accounts AS text[])) AS g (account)
      CROSS JOIN LATERAL (SELECT period_start FROM charges
                           WHERE operator = :operator AND account = g.account
                           ORDER BY event_time, period_start LIMIT 1) AS c
    """
)
_USED: Final = text(
    """
    SELECT g.account, g.start, g."end", array_agg(DISTINCT c.site) AS sites
      FROM unnest(CAST(:accounts AS text[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
           AS g (account, start, "end")
      JOIN charges AS c ON c.operator = :operator AND c.account = g.account
           AND c.event_time >= g.start AND c.event_time < g."end"
     WHERE c.kind = 'usage' AND c.source <> ''
     GROUP BY 1, 2, 3
    """
)


async def first_services(connection: AsyncConnection, operator: str, accounts: Collection[str]) -> dict[str, datetime]:
    """Return the start of the service period of each account's earliest charge; accounts without any are left out."""
    rows = await connection.execute(_FIRST, {"operator": operator, "accounts": sorted(accounts)})
    return {row.account: row.period_start for row in rows}


async def used_sites(
    connection: AsyncConnection, operator: str, closings: Collection[Closing]
) -> dict[Closing, frozenset[str]]:
    """Return the sites at which the accounts had usage in the periods, as far as it is rated. Fees are no usage."""
    if not closings:
        return {}
    rows = await connection.execute(_USED, {"operator": operator, **_columns(closings)})
    return {Closing(row.account, row.start, row.end): frozenset(row.sites) for row in rows}


async def awaiting_refold(connection: AsyncConnection, operator: str, accounts: Collection[str]) -> set[str]:
    """Return those of the accounts whose books may still change by what is known already."""
    rows = await connection.execute(
        text(
            "SELECT DISTINCT account FROM refolds"
            " WHERE operator = :operator AND account = ANY(CAST(:accounts AS text[]))"
        ),
        {"operator": operator, "accounts": sorted(accounts)},
    )
    return set(rows.scalars())


async def set_up_at(connection: AsyncConnection, operator: str) -> datetime:
    """Return when the operator's first catalog was applied."""
    row = await connection.execute(
        text("SELECT created_at FROM operators WHERE operator = :operator"), {"operator": operator}
    )
    found: datetime = row.scalar_one()
    return found


async def newest_seen(connection: AsyncConnection) -> int:
    """Return a transaction id above that of everything that an earlier statement of this transaction saw."""
    row = await connection.execute(text("SELECT pg_snapshot_xmax(pg_current_snapshot())"))
    return int(row.scalar_one())


async def is_rated(connection: AsyncConnection, operator: str, cursors: Collection[Cursor], *, below_xid: int) -> bool:
    """Tell whether shards that stand at `cursors` have read every event of the transactions below `below_xid`."""
    row = await connection.execute(
        text(
            "SELECT EXISTS (SELECT 1 FROM events WHERE operator = :operator"
            " AND (xid, seq) > (CAST(CAST(:xid AS text) AS xid8), :seq) AND xid < CAST(CAST(:below AS text) AS xid8))"
        ),
        {"operator": operator, "below": str(below_xid), **_cursor(min(cursors))},
    )
    return not row.scalar_one()


def _cursor(cursor: Cursor) -> dict[str, Any]:
    return {"xid": str(cursor.xid), "seq": cursor.seq}


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
