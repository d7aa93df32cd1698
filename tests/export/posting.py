"""Charges in Berlin's March and what they are posted to."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from meter.export.journal import entries_of
from meter.model.catalog import Catalog, Tax
from meter.model.charge import Charge, Line, LineKey, LineTax, SalesRole, Shared
from meter.model.event import EventKey
from meter.model.journal import JournalEntry
from meter.model.period import Period

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MARCH = Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
BERLINS_MARCH = Period(datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 31, 22, tzinfo=UTC))
CATALOG = Catalog(
    operator="northside",
    version=1,
    effective=None,
    currency="EUR",
    timezone="Europe/Berlin",
    taxes={
        "vat19": Tax(name="vat19", rate=Decimal("0.19"), account="liabilities:vat"),
        "plain": Tax(name="plain", rate=Decimal(0)),
    },
)
VAT = LineTax(name="vat19", rate=Decimal("0.19"), inclusive=False)


def charge(*, rounded: str = "0.00", tax: str = "0.00", line_tax: LineTax | None = None, **fields: Any) -> Charge:
    source = fields.pop("source", "berlin/printer/1")
    line = Line(
        key=LineKey(NOON, source, "e1", fields.get("meter", "print-pages"), part=fields.pop("part", "")),
        **{
            "account": "acme",
            "member": "ada",
            "site": "berlin",
            "meter": "print-pages",
            "plan": None,
            "kind": "usage",
            "event_type": "print.job",
            "events": (EventKey(source, "e1"),),
            "period": MARCH,
            "quantity": Decimal(3),
            "unit": "page",
            "covered": Decimal(0),
            "billable": Decimal(3),
            "dimensions": {},
            "price": None,
            "amount": Decimal(rounded),
            "currency": "EUR",
            "tax": line_tax,
            **fields,
        },
    )
    return Charge(
        id="ch_1",
        line=line,
        role="original",
        revision=0,
        rounded=Decimal(rounded),
        tax_amount=Decimal(tax),
        corrects=None,
        reason=None,
        booked_at=NOON,
        invoice_period=MARCH,
    )


def entry_for(charge: Charge, *, catalog: Catalog, day: date) -> JournalEntry | None:
    entries = entries_of(charge, catalog=catalog, day=day)
    assert len(entries) <= 1
    return entries[0] if entries else None


def posted(charge: Charge, catalog: Catalog = CATALOG) -> dict[str, Decimal]:
    entry = entry_for(charge, catalog=catalog, day=DAY)
    if entry is None:
        return {}
    entry.check_invariants()
    assert len({posting.account for posting in entry.postings}) == len(entry.postings)
    return {posting.account: posting.amount for posting in entry.postings}


def fee(meter: str, rounded: str, *, tax: str = "0.00", **fields: Any) -> Charge:
    """A line that no event stands for."""
    nowhere: dict[str, Any] = {"source": "", "site": "", "member": None, "event_type": "", "events": ()}
    line_tax = VAT if tax != "0.00" else None
    return charge(rounded=rounded, tax=tax, line_tax=line_tax, **{**nowhere, "meter": meter, "kind": "fee", **fields})


def shared(role: SalesRole, amount: str, party: str = "mitte") -> dict[str, Any]:
    return {"shared": (Shared(party=party, role=role, amount=Decimal(amount)),)}
