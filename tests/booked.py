"""Charges for tests, and a short way to book them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec.structs import replace as with_
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.charge import Charge, Line, LineKey, charge_id
from meter.model.event import EventKey
from meter.model.period import Period
from meter.store.charge_rows import charge_row
from meter.store.tables import charges, draws

OPERATOR = "northside"
MARCH = Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
# Two sites, so that what falls due without an event is at none: a fee, a deposit, credit that is bought.
DUES = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin, tax: vat19}
  hamburg: {name: Hamburg, timezone: Europe/Berlin, tax: vat19}
taxes:
  vat19: {rate: "0.19"}
meters:
  print-pages: {event: print.job, where: {status: completed}, aggregate: sum, value: impressions, unit: page}
plans:
  flex:
    name: Flex
    fee: {amount: "199.00", every: month, in: advance, tax: vat19}
    prices:
      print-pages: [{id: mono, model: per_unit, unit_price: "0.05"}]
accounts:
  acme: {name: ACME, subscriptions: [{id: acme-flex, plan: flex, from: 2026-03-10, seats: 3, deposit: "200.00"}]}
members:
  ada: {account: acme, name: Ada, identities: ["badge:ADA1"]}
grants:
  - {id: pack, account: acme, unit: page, amount: "50", effective: 2026-03-12, bought: {price: "10.00", tax: vat19}}
"""


def a_line(n: int = 0, **changes: Any) -> Line:
    """Ten pages by ada of acme in berlin, `n` seconds past noon."""
    source, event_id = "berlin/print/hall", f"job-{n}"
    time = NOON + timedelta(seconds=n)
    line = Line(
        key=LineKey(time, source, event_id, "print-pages"),
        account="acme",
        member="ada",
        site="berlin",
        meter="print-pages",
        plan="flex-10",
        kind="usage",
        event_type="print.job",
        events=(EventKey(source, event_id),),
        period=MARCH,
        quantity=Decimal(10),
        unit="page",
        covered=Decimal(0),
        billable=Decimal(10),
        dimensions={"color": False},
        price="mono",
        amount=Decimal("0.5"),
        currency="EUR",
    )
    line = with_(line, **changes)
    return with_(line, key=line.key._replace(meter=line.meter))


def a_charge(line: Line, *, revision: int = 0, **changes: Any) -> Charge:
    """`line` as booked in March."""
    charge = Charge(
        id=charge_id(OPERATOR, line.account, line.key, revision),
        line=line,
        role="original",
        revision=revision,
        rounded=line.amount,
        tax_amount=Decimal(0),
        corrects=None,
        reason=None,
        booked_at=line.key.time + timedelta(seconds=1),
        invoice_period=MARCH,
    )
    return replace(charge, **changes)


def a_fee(n: int = 0, **changes: Any) -> Charge:
    """A membership of acme, `n` seconds past noon: no event stands for it, and it falls due at no site."""
    nowhere: dict[str, Any] = {"site": "", "member": None, "event_type": "", "events": (), "dimensions": {}}
    monthly: dict[str, Any] = {
        "meter": "membership",
        "kind": "fee",
        "unit": "month",
        "price": "flex-10",
        "amount": Decimal(199),
    }
    line = a_line(n, **nowhere, **monthly)
    return a_charge(with_(line, key=line.key._replace(source="", id="acme-flex/fee")), **changes)


async def book(conn: AsyncConnection, *booked: Charge, operator: str = OPERATOR) -> None:
    """Write charges with their draws in the caller's transaction."""
    for charge in booked:
        await conn.execute(insert(charges).values(**charge_row(operator, charge)))
        for n, draw in enumerate(charge.line.draws):
            await conn.execute(
                insert(draws).values(
                    operator=operator,
                    charge=charge.id,
                    n=n,
                    account=charge.line.account,
                    event_time=charge.line.key.time,
                    grant=draw.grant,
                    unit=draw.unit,
                    amount=draw.amount,
                )
            )
