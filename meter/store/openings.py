"""Accounts whose books an earlier version has kept: what the journal holds of them, until it is restated once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ARRAY, Text, any_, cast, delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.charge import Charge
from meter.store.charge_rows import CHARGE_COLUMNS, charge_of
from meter.store.tables import charges, journal, openings


async def accounts_to_open(conn: AsyncConnection, operator: str, accounts: Collection[str]) -> frozenset[str]:
    """Return those of the accounts whose books are still as the earlier version kept them."""
    if not accounts:
        return frozenset()
    query = select(openings.c.account).where(
        openings.c.operator == operator, openings.c.account == any_(cast(sorted(accounts), ARRAY(Text)))
    )
    return frozenset((await conn.execute(query)).scalars())


async def charges_of_account(conn: AsyncConnection, operator: str, account: str) -> AsyncIterator[Charge]:
    """Give every charge of the account, without its draws."""
    query = select(*CHARGE_COLUMNS).where(charges.c.operator == operator, charges.c.account == account)
    async with conn.stream(query) as rows:
        async for row in rows:
            yield charge_of(row, ())


async def posted_of_account(conn: AsyncConnection, operator: str, account: str) -> dict[tuple[str, str], Decimal]:
    """Return what the account's postings sum to, by currency and ledger account."""
    query = (
        select(journal.c.currency, journal.c.ledger_account, func.sum(journal.c.amount).label("amount"))
        .where(journal.c.operator == operator, journal.c.account == account)
        .group_by(journal.c.currency, journal.c.ledger_account)
    )
    return {(row.currency, row.ledger_account): row.amount for row in await conn.execute(query)}


async def write_openings(
    conn: AsyncConnection, operator: str, accounts: Collection[str], restated: Mapping[str, datetime]
) -> None:
    """Say that the accounts' books are restated, and until when charges of theirs are earned, by id."""
    if not accounts:
        return
    await conn.execute(
        text(
            "UPDATE charges AS c SET earned_until = g.earned_until"
            " FROM unnest(CAST(:ids AS text[]), CAST(:until AS timestamptz[])) AS g (id, earned_until)"
            " WHERE c.operator = :operator AND c.id = g.id"
        ),
        {"operator": operator, "ids": list(restated), "until": list(restated.values())},
    )
    await conn.execute(
        delete(openings).where(
            openings.c.operator == operator, openings.c.account == any_(cast(sorted(accounts), ARRAY(Text)))
        )
    )
