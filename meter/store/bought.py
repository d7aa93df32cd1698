"""What is booked of credit that was bought: its sales and expiries, and what was drawn for which revenue."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ARRAY, Text, any_, cast, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.charge import TIP_PART, Charge
from meter.rating.calendar import CREDIT_SALE
from meter.store.charge_rows import CHARGE_COLUMNS, charge_of
from meter.store.tables import charges

_DRAWN: Final = text(
    """
    SELECT d.account, d."grant", c.meter, c.site, c.plan, c.kind, c.dimensions,
           split_part(c.part, '/', 1) = :tip AS tip,
           width_bucket(c.event_time, CAST(:eras AS timestamptz[])) AS era, sum(d.amount) AS amount
      FROM draws AS d
      JOIN charges AS c ON c.operator = d.operator AND c.id = d.charge
     WHERE d.operator = :operator AND d.account = ANY(CAST(:accounts AS text[])) AND strpos(d."grant", '/') = 0
     GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    HAVING sum(d.amount) <> 0
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What one kind of revenue has drawn of a grant in the `era`-th span between the instants that were asked for."""

    account: str
    grant: str
    meter: str
    site: str
    plan: str | None
    kind: str
    dimensions: Mapping[str, Any]
    tip: bool
    era: int
    amount: Decimal


async def credit_charges(conn: AsyncConnection, operator: str, accounts: Collection[str]) -> list[Charge]:
    """Return every charge by which the accounts bought credit, or credit that was bought expired."""
    query = select(*CHARGE_COLUMNS).where(
        charges.c.operator == operator,
        charges.c.account == any_(cast(sorted(accounts), ARRAY(Text))),
        # Spelled out, as the index has it.
        text(f"charges.meter = '{CREDIT_SALE}'"),
    )
    return [charge_of(row, ()) for row in await conn.execute(query)]


async def drawn_by_revenue(
    conn: AsyncConnection, operator: str, accounts: Collection[str], *, eras: Sequence[datetime]
) -> list[Drawn]:
    """Return what was drawn of the accounts' own grants: not of plans' credit, nor of what refunds gave back.

    `eras` are instants in order; era 0 is before the first.
    """
    found = await conn.execute(
        _DRAWN, {"operator": operator, "accounts": sorted(accounts), "eras": list(eras), "tip": TIP_PART}
    )
    return [Drawn(**row._asdict()) for row in found]
