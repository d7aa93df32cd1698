"""Invoices as whole documents: one an account and billing period when it is closed, and what was due at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from meter.export.gather.customers import Customers
from meter.export.gather.invoicing import (
    Codes,
    invoice_line,
    invoice_number,
    is_advance,
    is_invoiced,
    line_of,
    moves_money,
    period_number,
)
from meter.export.gather.shape import Booked, Bucket, Draft, Known, Put, Shape
from meter.export.gather.spans import GRACE, Grain, grain_end
from meter.export.journal import moment_of
from meter.export.payload import Content, Invoice, InvoiceLine
from meter.model.directory import Account
from meter.model.money import ZERO
from meter.model.period import Period
from meter.store.closes import Closing


class Documents(Shape):
    """An invoice an account, currency and period, its lines summed by `grain`; fees in advance the day they are due."""

    customers: Customers

    def __init__(self, *, target: str, customers: Customers, grain: Grain, codes: Codes) -> None:
        """Keep how documents are made."""
        self._target = target
        self.customers = customers
        self._grain = grain
        self._codes = codes

    def sort(self, booked: Booked, known: Known) -> Iterable[Put]:
        """Give each charge to the invoice that it is for."""
        for charge in booked.charges:
            line, period = charge.line, charge.invoice_period
            account = known.accounts.get(line.account)
            if account is None or not is_invoiced(charge):
                continue
            advance = is_advance(charge)
            number = invoice_number(known, self._target, charge)
            key, of, figures = line_of(charge, self._grain, account.periods)
            yield Put(
                bucket=f"invoice/{number}/{line.account}/{line.currency}",
                stream=line.account,
                head={
                    "number": number,
                    "account": line.account,
                    "currency": line.currency,
                    "start": period.start.isoformat(),
                    "end": period.end.isoformat(),
                    "advance": advance,
                },
                key=key,
                of=of,
                figures=figures,
                time=moment_of(charge),
                due=grain_end(charge, "day", account.periods) + GRACE if advance else None,
                closing=None if advance else Closing(line.account, period.start, period.end),
            )

    def draft(self, bucket: Bucket, known: Known) -> Draft | None:
        """Return the invoice, without lines that move no money; None where none is left."""
        head: dict[str, Any] = dict(bucket.head)
        lines = [invoice_line(tally, head["account"], known) for tally in bucket.tallies.values()]
        lines = sorted((line for line in lines if moves_money(line)), key=_in_order)
        if not lines:
            return None
        start, end = (datetime.fromisoformat(head[name]) for name in ("start", "end"))
        account = known.holder(head["account"])
        last = min(known.now, end - datetime.resolution)
        if head["advance"]:
            last = max(line.last for line in lines)
        invoice = Invoice(
            number=head["number"] + (f"-{bucket.part}" if bucket.part > 1 else ""),
            account=head["account"],
            customer="",
            name=account.name,
            currency=head["currency"],
            start=start,
            end=end,
            days=account.periods.dates(Period(start, end)),
            issued=account.periods.date(last),
            advance=head["advance"],
            lines=tuple(lines),
            part=bucket.part,
        )
        if invoice.net + invoice.tax_amount < ZERO:
            invoice = msgspec.structs.replace(invoice, credits=self._credited(invoice, account, known))
        content, unmet = self.renew(invoice, known)
        return Draft(content, bucket.batch, head["account"], unmet)

    def renew(self, content: Content, known: Known) -> tuple[Content, str | None]:
        """Return the content with customer and codes as they are today."""
        if not isinstance(content, Invoice):
            return content, None
        account = known.accounts.get(content.account)
        customer = None if account is None else self.customers.of(account)
        unmet = None if customer else self.customers.unmet(content.account)
        lines: list[InvoiceLine] = []
        for line in content.lines:
            resolved, missing = self._codes.resolved(line, known)
            lines.append(resolved)
            unmet = unmet or missing
        return msgspec.structs.replace(content, customer=customer or "", lines=tuple(lines)), unmet

    def _credited(self, invoice: Invoice, account: Account, known: Known) -> str | None:
        """Return the number of the invoice that most of a negative one gives back on: of the period it corrects."""
        adjusting = [line for line in invoice.lines if line.adjusts is not None and line.gross < ZERO]
        if not adjusting:
            return None
        start = min(adjusting, key=lambda line: line.gross).adjusts or invoice.start
        period = account.periods.at(start)
        return period_number(known, self._target, invoice.account, invoice.currency, period)


def _in_order(line: InvoiceLine) -> tuple[Any, ...]:
    tax = "" if line.tax is None else line.tax.name
    late = line.adjusts is not None
    return (late, line.kind != "fee", line.meter, line.site, line.start, line.kind, tax, line.unit, line.first)
