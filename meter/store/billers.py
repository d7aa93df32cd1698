"""Which target bills an account, from which place of the tail on: decided once, the same for whoever reads it.

Targets read what was booked at different times, and some are switched off for weeks. Were each to ask for itself whose
customer an account is today, what was booked around a change would be billed by two of them, or by none.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from sqlalchemy import ARRAY, Text, any_, cast, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.bulk import columns_of, insert_many
from meter.store.tables import export_billers

_NAME: Final = insert_many(
    export_billers,
    ("operator", "account", "xid", "target"),
    "ON CONFLICT (operator, account, xid) DO UPDATE SET target = excluded.target",
)
# Behind all that a target which bills, or did once, has read.
_UNDECIDED: Final = text(
    """
    SELECT max(CAST(CAST(xid AS text) AS bigint) + CASE WHEN seq > 0 THEN 1 ELSE 0 END)
      FROM export_cursors
     WHERE operator = :operator
       AND (target = ANY(CAST(:targets AS text[]))
            OR target IN (SELECT target FROM export_billers WHERE operator = :operator))
    """
)


class Billed(NamedTuple):
    """`target` bills what was booked by transactions from `xid` on."""

    xid: int
    target: str


async def _lock(conn: AsyncConnection, operator: str) -> None:
    # No row lock: a transaction that holds one counts as writing, and readers of the tail wait for it (decision 0005).
    key = int.from_bytes(sha256(json.dumps(["billers", operator]).encode()).digest()[:8], "big", signed=True)
    await conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


async def _read(conn: AsyncConnection, operator: str, accounts: Collection[str]) -> dict[str, list[Billed]]:
    columns = export_billers.c
    query = (
        select(columns.account, columns.xid, columns.target)
        .where(columns.operator == operator, columns.account == any_(cast(sorted(accounts), ARRAY(Text))))
        .order_by(columns.account, columns.xid)
    )
    found: dict[str, list[Billed]] = {}
    for row in await conn.execute(query):
        found.setdefault(row.account, []).append(Billed(row.xid, row.target))
    return found


async def decide_billers(
    conn: AsyncConnection, operator: str, today: Mapping[str, str], *, targets: Collection[str]
) -> dict[str, list[Billed]]:
    """Return who bills each account of `today`, which names for each who does by today's facts; note what is new.

    A change holds from the first transaction on of which none of `targets`, nor another that ever billed, has read
    anything; who is the first to bill an account has billed it since the beginning. Whoever asks waits until nobody
    else decides, and keeps others waiting until the transaction ends.
    """
    await _lock(conn, operator)
    billed = await _read(conn, operator, today)
    changed = sorted(a for a, target in today.items() if a not in billed or billed[a][-1].target != target)
    if not changed:
        return billed
    given = {"operator": operator, "targets": sorted(targets)}
    start = int((await conn.execute(_UNDECIDED, given)).scalar_one() or 0)
    rows = []
    for account in changed:
        before = billed.setdefault(account, [])
        before.append(Billed(max(start, before[-1].xid) if before else 0, today[account]))
        rows.append({"operator": operator, "account": account, **before[-1]._asdict()})
    await conn.execute(_NAME, columns_of(export_billers, rows))
    return billed


def biller_at(billed: Sequence[Billed], xid: int) -> str | None:
    """Return who bills what was booked by a transaction; None where that was never decided."""
    return next((one.target for one in reversed(billed) if one.xid <= xid), None)
