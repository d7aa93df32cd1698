"""Reading one account's invoice period: its charges, and the credit that they and those before them drew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.charge import Charge
from meter.store.charge_rows import CHARGE_COLUMNS, charge_of
from meter.store.tables import charges, draws

# Summed as they are read, some 15 ms of work at a time, so that others on the loop have their turn between.
PAGE_CHARGES: Final = 200


class Drawn(NamedTuple):
    """Credit drawn from an instance: by charges of the invoice periods so far, and by those of the asked one."""

    unit: str
    until: Decimal
    within: Decimal


async def invoiced_charges(
    conn: AsyncConnection, operator: str, account: str, start: datetime, end: datetime
) -> AsyncIterator[list[Charge]]:
    """Yield, in pages and in no order, every charge whose invoice period starts in [start, end), without its draws.

    Within one snapshot: the transaction must be REPEATABLE READ where more is read beside it.
    """
    query = select(*CHARGE_COLUMNS).where(
        charges.c.operator == operator,
        charges.c.account == account,
        charges.c.invoice_start >= start,
        charges.c.invoice_start < end,
    )
    async with conn.stream(query) as rows:
        async for page in rows.partitions(PAGE_CHARGES):
            yield [charge_of(row, ()) for row in page]


async def invoiced_draws(
    conn: AsyncConnection, operator: str, account: str, start: datetime, end: datetime
) -> dict[str, Drawn]:
    """Return what was drawn from each instance by charges whose invoice period starts before `end`.

    `within` is the part of those that start at `start` or later. Reversals have given back what they reversed.
    """
    charge = and_(charges.c.operator == draws.c.operator, charges.c.id == draws.c.charge)
    rows = await conn.execute(
        select(
            draws.c.grant,
            draws.c.unit,
            func.sum(draws.c.amount).label("until"),
            func.coalesce(func.sum(draws.c.amount).filter(charges.c.invoice_start >= start), 0).label("within"),
        )
        .join_from(draws, charges, charge)
        .where(draws.c.operator == operator, draws.c.account == account, charges.c.invoice_start < end)
        .group_by(draws.c.grant, draws.c.unit)
    )
    return {row.grant: Drawn(row.unit, row.until, row.within) for row in rows}
