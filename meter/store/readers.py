"""Reading what was booked: the safe tail of charges, one charge with its corrections, what was drawn."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ARRAY, ColumnElement, Row, Select, Text, and_, any_, cast, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.charge import Charge, Draw, Share
from meter.model.errors import BadInput
from meter.model.event import Position
from meter.rating.book import GroupTotals, RoundingGroup, SharedGroup
from meter.store.charge_rows import CHARGE_COLUMNS, charge_of
from meter.store.tables import charges, draws
from meter.store.usage import Cursor

_CURSOR: Final = re.compile(r"c([0-9a-f]{1,16})-([0-9a-f]{1,16})", re.ASCII)
_INT8_MAX: Final = 2**63 - 1

_HORIZON: Final = text("SELECT pg_snapshot_xmin(pg_current_snapshot())")
_AFTER: Final = text("(charges.xid, charges.seq) > (CAST(CAST(:xid AS text) AS xid8), :seq)")
_BELOW: Final = text("charges.xid < CAST(CAST(:horizon AS text) AS xid8)")
# A rounding group, and which of the periods that are wanted. Of constants only, so no input becomes SQL.
_GROUP: Final = (
    "c.account, c.period_start, c.period_end, c.meter, c.site, c.settlement, c.currency, c.tax_name, c.tax_rate,"
    " c.tax_inclusive"
)
_WANTED: Final = """
    JOIN unnest(CAST(:accounts AS text[]), CAST(:starts AS timestamptz[])) AS w (account, start)
      ON c.account = w.account AND c.period_start = w.start
"""
_TOTALS: Final = text(
    f"""
    SELECT {_GROUP}, c.tax_settled IS NOT NULL AS settled, sum(c.amount) AS exact, sum(c.rounded) AS rounded,
           count(c.shares) AS shared
      FROM charges AS c {_WANTED}
     WHERE c.operator = :operator
     GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    """  # noqa: S608 -- of constants only
)
_SHARED: Final = text(
    f"""
    SELECT {_GROUP}, s.party, s.share, s.role, sum(c.amount + coalesce(d.money, 0)) AS revenue
      FROM charges AS c {_WANTED}
     CROSS JOIN LATERAL jsonb_to_recordset(c.shares) AS s (party text, share numeric, role text)
      LEFT JOIN LATERAL (SELECT sum(draws.amount) AS money
                           FROM draws
                          WHERE draws.operator = c.operator AND draws.charge = c.id AND draws.unit = c.currency) AS d
        ON true
     WHERE c.operator = :operator AND c.shares IS NOT NULL
     GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
    """  # noqa: S608 -- of constants only
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeFilter:
    """Which charges: each field that is set must fit. `start` and `end` bound the event's time, half-open."""

    account: str | None = None
    member: str | None = None
    site: str | None = None
    meter: str | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargePage:
    """Charges in booking order, each with the cursor behind it. `next` is behind everything that was looked at."""

    charges: tuple[tuple[Charge, Cursor], ...]
    next: Cursor
    more: bool


def cursor_text(cursor: Cursor) -> str:
    """Return the cursor as it is given out; opaque to whoever gets it, and good for ever."""
    return f"c{cursor.xid:x}-{cursor.seq:x}"


def parse_cursor(given: str) -> Cursor:
    """Return the cursor that `cursor_text` gave out. Raises BadInput (`bad_cursor`)."""
    match = _CURSOR.fullmatch(given)
    cursor = Cursor(int(match[1], 16), int(match[2], 16)) if match else None
    if cursor is None or max(cursor) > _INT8_MAX:
        message = f"{given[:60]!r} is no cursor; use the `next` of an earlier answer unchanged, or none to begin"
        raise BadInput(message, code="bad_cursor")
    return cursor


async def charges_after(
    conn: AsyncConnection, operator: str, cursor: Cursor, wanted: ChargeFilter, *, charges_max: int
) -> ChargePage:
    """Return the next charges behind `cursor` that are `wanted`, in booking order.

    Only what is below the oldest running transaction is given out, so that no later commit can land below the cursor
    (decision 0005). The horizon is read first: what it covers was complete before the rows are read. Where it was
    reached, `next` moves up to it, and a reader with a filter that rarely fits does not read the rest again.
    """
    horizon = int((await conn.execute(_HORIZON)).scalar_one())
    query = (
        select(*CHARGE_COLUMNS, charges.c.xid, charges.c.seq)
        .where(charges.c.operator == operator, _AFTER, _BELOW, *_terms(wanted))
        .order_by(charges.c.xid, charges.c.seq)
        .limit(charges_max)
    )
    place = {"xid": str(cursor.xid), "seq": cursor.seq, "horizon": str(horizon)}
    rows = (await conn.execute(query, place)).all()
    found = await _with_draws(conn, operator, rows)
    places = [Cursor(row.xid, row.seq) for row in rows]
    more = len(rows) == charges_max
    reached = places[-1] if more else max(cursor, Cursor(horizon, 0))
    return ChargePage(charges=tuple(zip(found, places, strict=True)), next=reached, more=more)


def _terms(wanted: ChargeFilter) -> list[ColumnElement[bool]]:
    equal = {"account": wanted.account, "member": wanted.member, "site": wanted.site, "meter": wanted.meter}
    terms: list[ColumnElement[bool]] = [charges.c[name] == value for name, value in equal.items() if value is not None]
    if wanted.start is not None:
        terms.append(charges.c.event_time >= wanted.start)
    if wanted.end is not None:
        terms.append(charges.c.event_time < wanted.end)
    return terms


async def charge_by_id(conn: AsyncConnection, operator: str, charge: str) -> Charge | None:
    """Return one charge, None where there is none."""
    found = await _charges(
        conn, operator, select(*CHARGE_COLUMNS).where(charges.c.operator == operator, charges.c.id == charge)
    )
    return found[0] if found else None


async def first_booked(conn: AsyncConnection, operator: str, named: Collection[str]) -> datetime | None:
    """Return when the first of the charges of these ids was booked; None where there is no charge of any."""
    if not named:
        return None
    query = select(func.min(charges.c.booked_at)).where(
        charges.c.operator == operator, charges.c.id == any_(cast(list(named), ARRAY(Text)))
    )
    found: datetime | None = (await conn.execute(query)).scalar_one()
    return found


async def chain_of(conn: AsyncConnection, operator: str, charge: Charge) -> list[Charge]:
    """Return every charge of the same line, the first one booked first: what it corrects and what corrects it."""
    key = charge.line.key
    same = and_(
        charges.c.operator == operator,
        charges.c.account == charge.line.account,
        charges.c.event_time == key.time,
        charges.c.source == key.source,
        charges.c.event_id == key.id,
        charges.c.meter == key.meter,
        charges.c.element == key.element,
        charges.c.part == key.part,
    )
    return await _charges(conn, operator, select(*CHARGE_COLUMNS).where(same).order_by(charges.c.revision))


async def last_of_each_line(
    conn: AsyncConnection, operator: str, accounts: Sequence[str], *, after: Position
) -> list[Charge]:
    """Return the newest charge of each line of the accounts after a position: it stands unless it is a reversal."""
    line = (
        charges.c.account,
        charges.c.event_time,
        charges.c.source,
        charges.c.event_id,
        charges.c.meter,
        charges.c.element,
        charges.c.part,
    )
    query = (
        select(*CHARGE_COLUMNS)
        .ext(distinct_on(*line))
        .where(
            charges.c.operator == operator,
            charges.c.account == any_(cast(list(accounts), ARRAY(Text))),
            charges.c.event_time >= after.time,
            tuple_(charges.c.event_time, charges.c.source, charges.c.event_id) > tuple_(*after),
        )
        .order_by(*line, charges.c.revision.desc())
    )
    return await _charges(conn, operator, query)


async def drawn_until(conn: AsyncConnection, operator: str, account: str, at: datetime) -> dict[str, Decimal]:
    """Return what was drawn from each instance of the account's grants by usage up to and including `at`.

    Event time with what is known today: reversals have given back what they reversed.
    """
    rows = await conn.execute(
        select(draws.c.grant, func.sum(draws.c.amount).label("drawn"))
        .where(draws.c.operator == operator, draws.c.account == account, draws.c.event_time <= at)
        .group_by(draws.c.grant)
    )
    return {row.grant: row.drawn for row in rows}


async def given_back_until(
    conn: AsyncConnection, operator: str, account: str, at: datetime
) -> dict[str, tuple[datetime, Decimal]]:
    """Return when, and how much, refunds up to and including `at` gave back to each instance, by instance."""
    rows = await conn.execute(
        select(draws.c.grant, func.min(draws.c.event_time).label("since"), (-func.sum(draws.c.amount)).label("amount"))
        .join(charges, (charges.c.operator == draws.c.operator) & (charges.c.id == draws.c.charge))
        .where(draws.c.operator == operator, draws.c.account == account, draws.c.event_time <= at)
        .where(charges.c.kind == "refund")
        .group_by(draws.c.grant)
        .having(func.sum(draws.c.amount) < 0)
    )
    return {row.grant: (row.since, row.amount) for row in rows}


async def _charges(conn: AsyncConnection, operator: str, query: Select[*tuple[Any, ...]]) -> list[Charge]:
    return await _with_draws(conn, operator, (await conn.execute(query)).all())


async def _with_draws(conn: AsyncConnection, operator: str, rows: Sequence[Row[*tuple[Any, ...]]]) -> list[Charge]:
    drawn: dict[str, list[Draw]] = {}
    if rows:
        found = await conn.execute(
            select(draws.c.charge, draws.c.grant, draws.c.unit, draws.c.amount)
            .where(draws.c.operator == operator, draws.c.charge == any_(cast([row.id for row in rows], ARRAY(Text))))
            .order_by(draws.c.charge, draws.c.n)
        )
        for charge, grant, unit, amount in found:
            drawn.setdefault(charge, []).append(Draw(grant=grant, unit=unit, amount=amount))
    return [charge_of(row, drawn.get(row.id, ())) for row in rows]


async def add_totals(
    conn: AsyncConnection, operator: str, wanted: Mapping[str, Collection[datetime]], totals: Mapping[str, GroupTotals]
) -> None:
    """Add to each account's `totals` what is booked of its service periods that start at the instants given for it."""
    accounts = [account for account, starts in wanted.items() for _ in starts]
    starts = [start for instants in wanted.values() for start in instants]
    given = {"operator": operator, "accounts": accounts, "starts": starts}
    shared = 0
    for row in await conn.execute(_TOTALS, given):
        group = _group(row)
        totals[row.account].add_sum(group, settled=row.settled, exact=row.exact, rounded=row.rounded)
        shared += row.shared
    # Most operators share nothing, and most bookings need not look.
    for row in await conn.execute(_SHARED, given) if shared else ():
        share = Share(party=row.party, share=row.share, role=row.role)
        totals[row.account].add_revenue(SharedGroup(_group(row), share), row.revenue)


def _group(row: Row[*tuple[Any, ...]]) -> RoundingGroup:
    return RoundingGroup(
        row.account,
        row.period_start,
        row.period_end,
        row.meter,
        row.site,
        row.settlement,
        row.currency,
        row.tax_name,
        row.tax_rate,
        row.tax_inclusive,
    )
