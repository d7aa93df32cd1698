"""Charges as rows and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Row

from meter.model.charge import Charge, Draw, Line, LineKey, LineTax, Share, Shared
from meter.model.event import EventKey
from meter.model.period import Period
from meter.store.tables import charges

# Everything of a charge but its draws, which are rows of their own.
CHARGE_COLUMNS: Final = tuple(column for column in charges.c if column.name not in {"operator", "xid", "seq"})


def charge_row(operator: str, charge: Charge) -> dict[str, Any]:
    """Return the values of the charge's row; `xid` and `seq` are the database's."""
    line, key, tax = charge.line, charge.line.key, charge.line.tax
    own = (EventKey(key.source, key.id),)
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
        "event_time": key.time,
        "source": key.source,
        "event_id": key.id,
        "element": key.element,
        "part": key.part,
        "event_type": line.event_type,
        "events": None if line.events == own else [list(event) for event in line.events],
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
        "shares": _share_rows(charge) or None,
        "earned_until": line.earned_until,
        "booked_at": charge.booked_at,
    }


def charge_of(row: Row[*tuple[Any, ...]], draws: Sequence[Draw]) -> Charge:
    """Return the charge that `row` (of CHARGE_COLUMNS) and its draws, in order, are."""
    own = EventKey(row.source, row.event_id)
    tax = None
    if row.tax_name is not None:
        tax = LineTax(name=row.tax_name, rate=row.tax_rate, inclusive=bool(row.tax_inclusive), amount=row.tax_settled)
    line = Line(
        key=LineKey(row.event_time, row.source, row.event_id, row.meter, row.element, row.part),
        account=row.account,
        member=row.member,
        site=row.site,
        meter=row.meter,
        plan=row.plan,
        kind=row.kind,
        event_type=row.event_type,
        events=(own,) if row.events is None else tuple(EventKey(*event) for event in row.events),
        period=Period(row.period_start, row.period_end),
        quantity=row.quantity,
        unit=row.unit,
        covered=row.covered,
        billable=row.billable,
        dimensions=row.dimensions,
        price=row.price,
        amount=row.amount,
        currency=row.currency,
        tax=tax,
        draws=tuple(draws),
        settlement=row.settlement,
        estimated=row.estimated,
        unpriced=row.unpriced,
        tip=row.tip,
        total=row.total,
        shares=tuple(_share_of(one) for one in row.shares or ()),
        earned_until=row.earned_until,
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
        shared=tuple(_shared_of(one) for one in row.shares or ()),
    )


def _share_rows(charge: Charge) -> list[dict[str, str]]:
    pairs = zip(charge.line.shares, charge.shared, strict=True)
    # Numbers as text: what reads JSON must not take a decimal for a float.
    return [
        {"party": share.party, "share": str(share.share), "role": share.role, "amount": str(shared.amount)}
        for share, shared in pairs
    ]


def _share_of(row: Mapping[str, Any]) -> Share:
    return Share(party=row["party"], share=Decimal(row["share"]), role=row["role"])


def _shared_of(row: Mapping[str, Any]) -> Shared:
    return Shared(party=row["party"], role=row["role"], amount=Decimal(row["amount"]))
