"""What an audit of the books reads: sums by group of rounding and of tax, and what rating has not done yet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.money import rounded_minor
from meter.rating.book import TaxGroup, tax_on

_ROUNDED: Final = text(
    """
    SELECT account, period_start, meter, site, settlement, currency, tax_name, sum(rounded) AS rounded,
           sum(amount) AS exact
      FROM charges
     WHERE operator = :operator
     GROUP BY account, period_start, period_end, meter, site, settlement, currency, tax_name, tax_rate, tax_inclusive
     ORDER BY account, period_start, meter, site, settlement, currency, tax_name
    """
)
_TAXED: Final = text(
    """
    SELECT account, period_start, period_end, tax_rate, tax_inclusive, currency, sum(tax_amount) AS tax,
           sum(rounded) AS base
      FROM charges
     WHERE operator = :operator AND tax_rate IS NOT NULL AND tax_settled IS NULL
     GROUP BY account, period_start, period_end, tax_rate, tax_inclusive, currency
     ORDER BY account, period_start, tax_rate, tax_inclusive, currency
    """
)
_WAITING: Final = text(
    """
    SELECT (SELECT count(*) FROM refolds WHERE operator = :operator) AS requests,
           (SELECT count(*) FROM events AS e
             WHERE e.operator = :operator AND (e.xid, e.seq) > (
                   SELECT c.xid, c.seq FROM rating_cursors AS c WHERE c.operator = :operator
                    ORDER BY c.xid, c.seq LIMIT 1)) AS events
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SumFault:
    """A group whose parts do not sum to its whole."""

    account: str
    period_start: datetime
    what: str
    booked: Decimal
    expected: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Events not rated yet and requests to fold again: what they will book differs from what stands."""

    events: int
    requests: int


async def sum_faults(connection: AsyncConnection, operator: str) -> AsyncIterator[SumFault]:
    """Give each group of lines whose rounded amounts or taxes do not sum to the rounded whole; there is none."""
    async for row in await connection.stream(_ROUNDED, {"operator": operator}):
        expected = rounded_minor(row.exact, row.currency)
        if row.rounded != expected:
            what = f"{row.meter} at {row.site or 'no site'}, {row.currency}, {row.settlement}"
            yield SumFault(
                account=row.account, period_start=row.period_start, what=what, booked=row.rounded, expected=expected
            )
    async for row in await connection.stream(_TAXED, {"operator": operator}):
        group = TaxGroup(
            row.account, row.period_start, row.period_end, row.tax_rate, bool(row.tax_inclusive), row.currency
        )
        expected = tax_on(group, row.base)
        if row.tax != expected:
            yield SumFault(
                account=row.account,
                period_start=row.period_start,
                what=f"tax of {row.tax_rate}, {row.currency}",
                booked=row.tax,
                expected=expected,
            )


async def read_waiting(connection: AsyncConnection, operator: str) -> Waiting:
    """Return what rating has not done yet."""
    row = (await connection.execute(_WAITING, {"operator": operator})).one()
    return Waiting(events=row.events, requests=row.requests)
