"""What of a charge is invoiced: in which line, under which number, by which names of the target's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from meter.export.gather.names import document_number, either, line_name
from meter.export.gather.shape import Known, Tally
from meter.export.gather.spans import Grain, service_span
from meter.export.payload import InvoiceLine, LineKind
from meter.model.charge import EXPIRY_PART, Charge, Line
from meter.model.event import Json
from meter.model.instant import zone
from meter.model.period import Period, Periods
from meter.rating.calendar import CREDIT_SALE, DEPOSIT, MEMBERSHIP
from meter.store.outbox import name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """A target's own names: of taxes by the catalog's, and of products by meter. None: it needs none."""

    taxes: Mapping[str, str] | None = None
    items: Mapping[str, str] | None = None

    def resolved(self, line: InvoiceLine, known: Known) -> tuple[InvoiceLine, str | None]:
        """Return the line with the target's names in place, and what is missing."""
        tax, item, unmet = line.tax, line.item, None
        if tax is not None and self.taxes is not None:
            code = self.taxes.get(tax.name)
            tax = msgspec.structs.replace(tax, code=code)
            if code is None:
                unmet = f"the target knows no tax called {tax.name}; name its code in options.tax_codes"
        if self.items is not None:
            item = either(self.items, line.meter)
            if item is None:
                unmet = f"the target has no product for {line.meter}; name it (or '*') in options.items"
        site = known.catalog.sites.get(line.site)
        tracking = None if site is None else site.ledger_class
        return msgspec.structs.replace(line, tax=tax, item=item, tracking=tracking), unmet


def is_invoiced(charge: Charge) -> bool:
    """Tell whether the charge is for an invoice: sales paid at a till never are."""
    return charge.line.settlement == "account"


def is_advance(charge: Charge) -> bool:
    """Tell whether the charge is due at once: fees in advance, deposits, credit that is sold."""
    line = charge.line
    if charge.kind == "adjustment" or line.key.part == EXPIRY_PART:
        return False
    return line.earned_until is not None or line.meter in {DEPOSIT, CREDIT_SALE}


def line_of(charge: Charge, grain: Grain, periods: Periods) -> tuple[str, dict[str, Json], dict[str, Decimal]]:
    """Return the name of the line that a charge belongs to, what that line is, and what the charge adds to it.

    `periods` are the account's: what it is told are its own days (decision 0014).
    """
    line, tax = charge.line, charge.line.tax
    span = service_span(charge, grain, periods)
    adjusts = line.period if charge.kind == "adjustment" else None
    of: dict[str, Json] = {
        "meter": line.meter,
        "site": line.site,
        "unit": line.unit,
        "kind": _kind_of(line),
        "plan": line.plan if line.meter == MEMBERSHIP else None,
        "start": span.start.isoformat(),
        "end": span.end.isoformat(),
        "days": _texts(periods, span),
        "clock": _clock(line, span, grain, periods),
        "tax": None if tax is None else [tax.name, None if tax.rate is None else str(tax.rate), tax.inclusive],
        "adjusts": None if adjusts is None else adjusts.start.isoformat(),
        "adjusts_days": None if adjusts is None else _texts(periods, adjusts),
        "charge": charge.id if grain == "charge" else None,
        "member": line.member if grain == "charge" else None,
    }
    figures = {
        "quantity": line.quantity,
        "covered": line.covered,
        "billable": line.billable,
        "rounded": charge.rounded,
        "tax_amount": charge.tax_amount,
    }
    return name_of(*(str(value) for value in of.values())), of, figures


def _kind_of(line: Line) -> LineKind:
    if line.key.of_tip:
        return "tip"
    return line.kind if line.kind in {"fee", "minimum"} else "usage"


def _texts(periods: Periods, span: Period) -> list[Json]:
    return [day.isoformat() for day in periods.dates(span)]


def _clock(line: Line, span: Period, grain: Grain, periods: Periods) -> str | None:
    """Return what the account's clocks show: of an hour when it begins, of a single event when it happened."""
    if not line.key.source or grain not in {"hour", "charge"}:
        return None
    moment = span.start if grain == "hour" else line.key.time
    return f"{moment.astimezone(zone(periods.terms_at(moment).timezone)):%H:%M}"


def invoice_line(tally: Tally, account: str, known: Known) -> InvoiceLine:
    """Return the line that a tally of an account comes to, without the target's names."""
    of: dict[str, Any] = dict(tally.of)
    tax = of.pop("tax")
    return msgspec.convert(
        {
            **of,
            **tally.figures,
            "name": line_name(known.catalog, of["meter"], of["plan"]),
            "place": known.catalog.site(of["site"]).name,
            "day": known.holder(account).periods.date(tally.last),
            "tax": None if tax is None else {"name": tax[0], "rate": tax[1], "inclusive": tax[2]},
            "first": tally.first,
            "last": tally.last,
            "charges": tally.count,
        },
        InvoiceLine,
        strict=False,
    )


def moves_money(line: InvoiceLine) -> bool:
    """Tell whether there is anything to pay or to give back."""
    return bool(line.rounded or line.tax_amount)


def invoice_number(known: Known, target: str, charge: Charge) -> str:
    """Return the number of the invoice that the charge is for: the period's, or that of the day on which it was due."""
    line, period = charge.line, charge.invoice_period
    if is_advance(charge):
        day = known.holder(line.account).periods.date(line.key.time)
        return document_number(day, known.operator, target, line.account, line.currency, "advance", day.isoformat())
    return period_number(known, target, line.account, line.currency, period)


def period_number(known: Known, target: str, account: str, currency: str, period: Period) -> str:
    """Return the number of the invoice of a billing period, dated on its last day in the account's zone of then."""
    day = known.holder(account).periods.dates(period).last
    return document_number(day, known.operator, target, account, currency, period.start.isoformat())
