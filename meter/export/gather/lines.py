"""Charges summed as invoices have them: one line an account, meter, site, unit, tax and grain. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from meter.export.gather.customers import Customers
from meter.export.gather.names import document_number
from meter.export.gather.shape import Booked, Bucket, Draft, Known, Put, Shape, Span, Tally
from meter.export.payload import Content, InvoiceLine, LineItem, PeriodClosed
from meter.model.charge import EXPIRY_PART, Charge
from meter.model.directory import Account
from meter.model.event import Json
from meter.model.instant import local_date, zone
from meter.model.period import Period
from meter.rating.calendar import CREDIT_SALE, DEPOSIT
from meter.store.closes import Closing
from meter.store.outbox import name_of

Grain: TypeAlias = Literal["charge", "hour", "day", "period"]
# What happens just before a grain is over is booked some seconds after it.
GRACE: Final = timedelta(minutes=5)


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
            item = self.items.get(line.meter) or self.items.get("*")
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


def grain_span(charge: Charge, grain: Grain, timezone: str) -> tuple[datetime, datetime]:
    """Return the grain of the operator's time that holds the charge's event; of a period the invoice's own."""
    instant = charge.line.key.time
    if grain == "charge":
        return instant, instant
    if grain == "period":
        return charge.invoice_period.start, charge.invoice_period.end
    return local_span(instant, grain, timezone)


def local_span(instant: datetime, span: Span, timezone: str) -> tuple[datetime, datetime]:
    """Return the hour or day of the zone's clocks that holds `instant`."""
    local_zone = zone(timezone)
    if span == "hour":
        local = instant.astimezone(local_zone)
        begin = instant - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return begin, begin + timedelta(hours=1)
    day = local_date(instant, timezone)
    return _midnight(day, local_zone), _midnight(day + timedelta(days=1), local_zone)


def _midnight(day: Any, local_zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=local_zone).astimezone(ZoneInfo("UTC"))


def line_of(charge: Charge, grain: Grain, timezone: str) -> tuple[str, dict[str, Json], dict[str, Decimal]]:
    """Return the name of the line that a charge belongs to, what that line is, and what the charge adds to it."""
    line = charge.line
    start, end = grain_span(charge, grain, timezone)
    if grain == "charge":
        start, end = line.period.start, line.period.end
    adjusts = line.period.start if charge.kind == "adjustment" else None
    tax = line.tax
    of: dict[str, Json] = {
        "meter": line.meter,
        "site": line.site,
        "unit": line.unit,
        "kind": "adjustment" if adjusts is not None else "fee" if line.kind == "fee" else "usage",
        "start": start.isoformat(),
        "end": end.isoformat(),
        "day": local_date(line.key.time, timezone).isoformat() if grain in {"day", "hour", "charge"} else None,
        "tax": None if tax is None else [tax.name, None if tax.rate is None else str(tax.rate), tax.inclusive],
        "adjusts": None if adjusts is None else adjusts.isoformat(),
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


def invoice_line(tally: Tally) -> InvoiceLine:
    """Return the line that a tally comes to, without the target's names."""
    of: dict[str, Any] = dict(tally.of)
    tax = of.pop("tax")
    return msgspec.convert(
        {
            **of,
            **tally.figures,
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
        day = local_date(line.key.time, known.catalog.timezone)
        return document_number(day, known.operator, target, line.account, line.currency, "advance", day.isoformat())
    return period_number(known, target, line.account, line.currency, period)


def period_number(known: Known, target: str, account: str, currency: str, period: Period) -> str:
    """Return the number of the invoice of a billing period, dated on its last day in the account's zone."""
    holder = known.accounts.get(account)
    timezone = known.catalog.timezone if holder is None else holder.timezone
    day = local_date(period.end - datetime.resolution, timezone)
    return document_number(day, known.operator, target, account, currency, period.start.isoformat())


class Lines(Shape):
    """Lines for a target that takes them one by one, and a notice for each invoice that is complete.

    `replaces`: see Shape. `notices`: whether the target wants to hear that an invoice is complete.
    """

    customers: Customers

    def __init__(
        self, *, target: str, customers: Customers, grain: Grain, codes: Codes, replaces: bool, notices: bool
    ) -> None:
        """Keep how lines are made."""
        self.replaces = replaces and grain != "charge"
        self._target = target
        self.customers = customers
        self._grain = grain
        self._codes = codes
        self._notices = notices

    def at_once(self, booked: Booked, known: Known) -> Iterable[Draft]:
        """Give each charge as an item of its own, where that is the grain."""
        if self._grain != "charge":
            return
        for charge, account in self._mine(booked, known):
            key, of, figures = line_of(charge, "charge", known.catalog.timezone)
            time = charge.line.key.time
            tally = Tally(of=of, figures=figures, count=1, first=time, last=time)
            line = invoice_line(tally)
            if moves_money(line):
                head = _head(charge, invoice_number(known, self._target, charge))
                batch = name_of(known.operator, self._target, "line", key)
                yield self._item(line, head, account, known, batch)

    def sort(self, booked: Booked, known: Known) -> Iterable[Put]:
        """Give each charge to its line's bucket, and its invoice's notice to a bucket of its own."""
        timezone = known.catalog.timezone
        for charge, _ in self._mine(booked, known):
            line = charge.line
            invoice = invoice_number(known, self._target, charge)
            head = _head(charge, invoice)
            if self._grain != "charge":
                key, of, figures = line_of(charge, self._grain, timezone)
                end = grain_span(charge, self._grain, timezone)[1]
                yield Put(
                    bucket=f"line/{invoice}/{line.account}/{line.currency}/{key}",
                    stream=line.account,
                    head=head,
                    key=key,
                    of=of,
                    figures=figures,
                    time=line.key.time,
                    due=None if self.replaces else end + GRACE,
                )
            if self._notices and (charge.rounded or charge.tax_amount):
                yield self._notice(charge, head, invoice, timezone)

    def _mine(self, booked: Booked, known: Known) -> Iterator[tuple[Charge, Account]]:
        """Give the charges that this target invoices."""
        for charge in booked.charges:
            account = known.accounts.get(charge.line.account)
            if account is not None and is_invoiced(charge):
                yield charge, account

    def _notice(self, charge: Charge, head: Mapping[str, Json], invoice: str, timezone: str) -> Put:
        line, period = charge.line, charge.invoice_period
        advance = is_advance(charge)
        return Put(
            bucket=f"closed/{invoice}/{line.account}/{line.currency}",
            stream=line.account,
            head=head,
            key="closed",
            of={},
            figures={},
            time=line.key.time,
            due=grain_span(charge, "day", timezone)[1] + GRACE if advance else None,
            closing=None if advance else Closing(line.account, period.start, period.end),
        )

    def draft(self, bucket: Bucket, known: Known) -> Draft | None:
        """Return the line, or the notice, of a bucket that is due."""
        head: dict[str, Any] = dict(bucket.head)
        account = known.accounts.get(head["account"]) or _unknown(head["account"])
        if bucket.name.startswith("closed/"):
            if bucket.part > 1:
                return None  # what comes behind a notice is said by its own lines
            notice = msgspec.convert(
                {**head, **_spans(head), "customer": self.customers.of(account) or ""}, PeriodClosed
            )
            return Draft(notice, bucket.batch, account.id, self._unmet(account))
        [tally] = bucket.tallies.values()
        line = invoice_line(tally)
        if not moves_money(line) and not bucket.begun:
            return None
        return self._item(line, head, account, known, bucket.batch)

    def _item(self, line: InvoiceLine, head: Mapping[str, Any], account: Account, known: Known, batch: str) -> Draft:
        line, unmet = self._codes.resolved(line, known)
        item = LineItem(
            account=account.id,
            customer=self.customers.of(account) or "",
            name=account.name,
            currency=head["currency"],
            invoice=head["invoice"],
            invoice_start=datetime.fromisoformat(head["start"]),
            invoice_end=datetime.fromisoformat(head["end"]),
            line=line,
        )
        return Draft(item, batch, account.id, self._unmet(account) or unmet)

    def renew(self, content: Content, known: Known) -> tuple[Content, str | None]:
        """Return the content with customer and codes as they are today."""
        if not isinstance(content, LineItem | PeriodClosed):
            return content, None
        account = known.accounts.get(content.account) or _unknown(content.account)
        unmet = self._unmet(account)
        renewed = msgspec.structs.replace(content, customer=self.customers.of(account) or "")
        if isinstance(renewed, LineItem):
            line, missing = self._codes.resolved(renewed.line, known)
            return msgspec.structs.replace(renewed, line=line), unmet or missing
        return renewed, unmet

    def _unmet(self, account: Account) -> str | None:
        return None if self.customers.of(account) else self.customers.unmet(account.id)


def _head(charge: Charge, invoice: str) -> dict[str, Json]:
    line, period = charge.line, charge.invoice_period
    return {
        "account": line.account,
        "currency": line.currency,
        "invoice": invoice,
        "start": period.start.isoformat(),
        "end": period.end.isoformat(),
    }


def _spans(head: Mapping[str, Any]) -> dict[str, datetime]:
    return {name: datetime.fromisoformat(head[name]) for name in ("start", "end")}


def _unknown(account: str) -> Account:
    return Account(id=account, name=account, currency="", timezone="UTC")
