"""Charges as rows of `charges` and `draws`, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.charge import Charge, Draw, Line, LineKey, LineTax
from meter.model.event import EventKey
from meter.model.period import Period
from meter.store.tables import charges

# Everything but the tail's marks, in the table's order; `draws` come beside it as JSON.
CHARGE_COLUMNS: Final = ", ".join(f"c.{column.name}" for column in charges.c if column.name not in {"xid", "seq"})
DRAWS_OF_CHARGE: Final = """
    (SELECT jsonb_agg(jsonb_build_array(d."grant", d.unit, d.amount) ORDER BY d.n)
       FROM draws AS d WHERE d.operator = c.operator AND d.charge = c.id) AS draws
"""


def charge_row(operator: str, charge: Charge) -> dict[str, Any]:
    """Return the row of `charges` that holds `charge`."""
    line, tax = charge.line, charge.line.tax
    own = EventKey(line.key.source, line.key.id)
    return {
        "operator": operator,
        "id": charge.id,
        "account": line.account,
        "member": line.member,
        "site": line.site,
        "meter": line.meter,
        "plan": line.plan,
        "kind": line.kind,
        "role": charge.role,
        "revision": charge.revision,
        "corrects": charge.corrects,
        "reason": charge.reason,
        "event_time": line.key.time,
        "source": line.key.source,
        "event_id": line.key.id,
        "element": line.key.element,
        "part": line.key.part,
        "event_type": line.event_type,
        "events": None if line.events == (own,) else [list(key) for key in line.events],
        "period_start": line.period.start,
        "period_end": line.period.end,
        "invoice_start": charge.invoice_period.start,
        "invoice_end": charge.invoice_period.end,
        "quantity": line.quantity,
        "unit": line.unit,
        "covered": line.covered,
        "billable": line.billable,
        "dimensions": dict(line.dimensions),
        "price": line.price,
        "amount": line.amount,
        "rounded": charge.rounded,
        "currency": line.currency,
        "tax_name": tax.name if tax else None,
        "tax_rate": tax.rate if tax else None,
        "tax_inclusive": tax.inclusive if tax else None,
        "tax_settled": tax.amount if tax else None,
        "tax_amount": charge.tax_amount,
        "settlement": line.settlement,
        "estimated": line.estimated,
        "unpriced": line.unpriced,
        "tip": line.tip,
        "total": line.total,
        "booked_at": charge.booked_at,
    }


def draw_rows(operator: str, charge: Charge) -> Iterable[dict[str, Any]]:
    """Return the rows of `draws` that belong to `charge`."""
    for n, draw in enumerate(charge.line.draws):
        yield {
            "operator": operator,
            "charge": charge.id,
            "n": n,
            "account": charge.line.account,
            "event_time": charge.line.key.time,
            "grant": draw.grant,
            "unit": draw.unit,
            "amount": draw.amount,
        }


def charge_of(row: Row[Any]) -> Charge:
    """Return the charge of a row that was selected with CHARGE_COLUMNS and DRAWS_OF_CHARGE."""
    line = Line(
        key=LineKey(row.event_time, row.source, row.event_id, row.meter, row.element, row.part),
        account=row.account,
        member=row.member,
        site=row.site,
        meter=row.meter,
        plan=row.plan,
        kind=row.kind,
        event_type=row.event_type,
        events=tuple(EventKey(*key) for key in row.events) if row.events else (EventKey(row.source, row.event_id),),
        period=Period(row.period_start, row.period_end),
        quantity=row.quantity,
        unit=row.unit,
        covered=row.covered,
        billable=row.billable,
        dimensions=row.dimensions,
        price=row.price,
        amount=row.amount,
        currency=row.currency,
        tax=None
        if row.tax_name is None
        else LineTax(name=row.tax_name, rate=row.tax_rate, inclusive=row.tax_inclusive, amount=row.tax_settled),
        draws=tuple(Draw(grant=grant, unit=unit, amount=Decimal(amount)) for grant, unit, amount in row.draws or ()),
        settlement=row.settlement,
        estimated=row.estimated,
        unpriced=row.unpriced,
        tip=row.tip,
        total=row.total,
    )
    return Charge(
        id=row.id,
        line=line,
        role=row.role,
        revision=row.revision,
        rounded=row.rounded,
        tax_amount=row.tax_amount,
        corrects=row.corrects,
        reason=row.reason,
        booked_at=row.booked_at,
        invoice_period=Period(row.invoice_start, row.invoice_end),
    )


_LAST_OF_EACH_LINE: Final = text(
    f"""
    SELECT DISTINCT ON (c.event_time, c.source, c.event_id, c.meter, c.element, c.part) {CHARGE_COLUMNS},
           {DRAWS_OF_CHARGE}
      FROM charges AS c
     WHERE c.operator = :operator AND c.account = :account AND c.event_time >= :time
       AND (c.event_time, c.source, c.event_id) > (:time, :source, :id)
     ORDER BY c.event_time, c.source, c.event_id, c.meter, c.element, c.part, c.revision DESC
    """  # noqa: S608 -- constants of this module
)


async def last_of_each_line(
    connection: AsyncConnection, operator: str, account: str, *, after: Sequence[Any]
) -> list[Charge]:
    """Return the newest charge of each line of the account after a position: what stands, unless it is a reversal."""
    time, source, event_id = after
    rows = await connection.execute(
        _LAST_OF_EACH_LINE,
        {"operator": operator, "account": account, "time": time, "source": source, "id": event_id},
    )
    return [charge_of(row) for row in rows]
