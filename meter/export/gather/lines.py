"""Charges summed as invoices have them: one line an account, meter, site, unit, tax and grain. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
)
from meter.export.gather.shape import Booked, Bucket, Draft, Known, Put, Shape, Tally
from meter.export.gather.spans import GRACE, Grain, grain_end
from meter.export.journal import moment_of
from meter.export.payload import Content, InvoiceLine, LineItem, PeriodClosed
from meter.model.charge import Charge
from meter.model.directory import Account
from meter.model.event import Json
from meter.store.closes import Closing
from meter.store.outbox import name_of


class Lines(Shape):
    """Lines for a target that takes them one by one, and a notice for each invoice that is complete.

    `replaces`: see Shape. `notices`: whether the target wants to hear that an invoice is complete.
    """

    customers: Customers

    def __init__(
        self, *, target: str, customers: Customers, grain: Grain, codes: Codes, replaces: bool, notices: bool
    ) -> None:
        """Keep how lines are made."""
        # With any grain: under "charge" there may be sums that were begun under another one.
        self.replaces = replaces
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
            key, of, figures = line_of(charge, "charge", account.periods)
            time = moment_of(charge)
            tally = Tally(of=of, figures=figures, count=1, first=time, last=time)
            line = invoice_line(tally, account.id, known)
            if moves_money(line):
                head = _head(charge, invoice_number(known, self._target, charge))
                batch = name_of(known.operator, self._target, "line", key)
                yield self._item(line, head, account, known, batch)

    def sort(self, booked: Booked, known: Known) -> Iterable[Put]:
        """Give each charge to its line's bucket, and its invoice's notice to a bucket of its own."""
        for charge, account in self._mine(booked, known):
            line = charge.line
            invoice = invoice_number(known, self._target, charge)
            head = _head(charge, invoice)
            if self._grain != "charge":
                key, of, figures = line_of(charge, self._grain, account.periods)
                end = grain_end(charge, self._grain, account.periods)
                yield Put(
                    bucket=f"line/{invoice}/{line.account}/{line.currency}/{key}",
                    stream=line.account,
                    head=head,
                    key=key,
                    of=of,
                    figures=figures,
                    time=moment_of(charge),
                    due=None if self.replaces else end + GRACE,
                )
            if self._notices and (charge.rounded or charge.tax_amount):
                yield self._notice(charge, head, invoice, account)

    def _mine(self, booked: Booked, known: Known) -> Iterator[tuple[Charge, Account]]:
        """Give the charges that this target invoices."""
        for charge in booked.charges:
            account = known.accounts.get(charge.line.account)
            if account is not None and is_invoiced(charge):
                yield charge, account

    def _notice(self, charge: Charge, head: Mapping[str, Json], invoice: str, account: Account) -> Put:
        line, period = charge.line, charge.invoice_period
        advance = is_advance(charge)
        return Put(
            bucket=f"closed/{invoice}/{line.account}/{line.currency}",
            stream=line.account,
            head=head,
            key="closed",
            of={},
            figures={},
            time=moment_of(charge),
            due=grain_end(charge, "day", account.periods) + GRACE if advance else None,
            closing=None if advance else Closing(line.account, period.start, period.end),
        )

    def draft(self, bucket: Bucket, known: Known) -> Draft | None:
        """Return the line, or the notice, of a bucket that is due."""
        head: dict[str, Any] = dict(bucket.head)
        account = known.holder(head["account"])
        if bucket.name.startswith("closed/"):
            if bucket.part > 1:
                return None  # what comes behind a notice is said by its own lines
            notice = msgspec.convert(
                {**head, **_spans(head), "customer": self.customers.of(account) or ""}, PeriodClosed
            )
            return Draft(notice, bucket.batch, account.id, self._unmet(account))
        [tally] = bucket.tallies.values()
        line = invoice_line(tally, account.id, known)
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
        account = known.holder(content.account)
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
