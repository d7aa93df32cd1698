"""Xero with journals of several sites, added to later, or with invoices and credit notes taken off them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import Any

from meter.clock import Ticks
from meter.export.payload import DayJournal, Invoice, InvoiceLine, TaxOfLine
from meter.export.targets.books import batch_in
from meter.export.targets.spec import Means, Mode, Setup
from meter.export.targets.xero import open_target
from meter.export.targets.xero.exporter import LIMITS, XeroTarget
from tests.targets import contents
from tests.targets.case import Books, TargetCase, passing, setup_of, unhurried
from tests.targets.contents import CENT, NOTHING, SITES, document_item, documents, invoice_number, of_cents, summed
from tests.targets.fakes.xero import FakeXero
from tests.targets.fakes.xero_core import TENANT

VAT = TaxOfLine(name="vat19", rate=Decimal("0.19"), inclusive=False, code="OUTPUT2")
VAT_IN = TaxOfLine(name="vat7", rate=Decimal("0.07"), inclusive=True, code="REDUCED")
RECEIVABLE, INCOME, TAX, LANDLORD, SHARE, SUSPENSE, DEBTORS = "611", "200", "820", "825", "404", "850", "610"
ACCOUNTS = {
    "assets:receivable": RECEIVABLE,
    "income:*": INCOME,
    "liabilities:tax": TAX,
    "liabilities:landlord": LANDLORD,
    "expenses:*": SHARE,
    "suspense": SUSPENSE,
}
# The ids that the fake gives, in the order in which it is filled.
_FILLED = FakeXero()
CUSTOMERS = tuple(_FILLED.add_contact(f"Customer {number}") for number in range(5))


def fake(**given: Any) -> FakeXero:
    made = FakeXero(**{"minute_max": 10**9, "day_max": 10**9, **given})
    assert made.tokens.first() == "refresh-0"
    assert tuple(made.add_contact(f"Customer {number}") for number in range(len(CUSTOMERS))) == CUSTOMERS
    for code in ACCOUNTS.values():
        made.add_account(code)
    made.add_account(DEBTORS, type="CURRENT", system="DEBTORS")
    made.add_tax_rate("OUTPUT2", "19")
    made.add_tax_rate("REDUCED", "7")
    made.add_tracking("Site", *(site.title() for site in SITES))
    return made


def setup(address: str, mode: Mode = "journals", **options: Any) -> Setup:
    given = {"accounts": ACCOUNTS, "sales": {"*": INCOME}, "tax_codes": {"vat19": "OUTPUT2", "vat7": "REDUCED"}}
    return setup_of(
        "xero",
        {**given, **options},
        name="books",
        base_url=address,
        mode=mode,
        grain="day",
        company=TENANT,
        client_id="client",
        client_secret="secret",
        refresh_token="refresh-0",
    )


def open_unhurried(given: Setup, means: Means, clock: Ticks | None = None, *, timeout_s: float = 0.5) -> XeroTarget:
    """The target without a rate, and with the patience of a test; without a clock, a minute passes at each look."""
    return open_target(given, means, limits=unhurried(LIMITS), timeout_s=timeout_s, clock=clock or passing())


def journal(day: date = date(2026, 11, 2), site: str = "berlin", part: int = 1, **changes: Any) -> DayJournal:
    return contents.journal(ACCOUNTS, day, site, part, **changes)


def line(amount: str = "10.00", *, tax: TaxOfLine | None = VAT, **changes: Any) -> InvoiceLine:
    """A line of `amount` as it stands in a price list: before a tax that is added, with one that is included."""
    rounded = Decimal(amount)
    rate = NOTHING if tax is None else tax.rate or NOTHING
    share = rate / (1 + rate) if tax is not None and tax.inclusive else rate
    tax_amount = (rounded * share).quantize(CENT, ROUND_HALF_UP)
    return contents.line(rounded, tax_amount, **{"tax": tax, "tracking": "Berlin", **changes})


def invoice(*lines: InvoiceLine, customer: int = 0, **changes: Any) -> Invoice:
    return contents.invoice(*(lines or (line(),)), customer=customer, customer_id=CUSTOMERS[customer], **changes)


def sold(dice: random.Random, sign: int) -> InvoiceLine:
    cents = sign * dice.randrange(1, 100_000)
    billable = Decimal(dice.randrange(1, 10**7)).scaleb(-dice.randrange(6))
    tax = dice.choice([None, VAT, VAT_IN])
    return line(of_cents(cents), tax=tax, billable=billable, charges=dice.randrange(1, 40))


def books(held: FakeXero) -> Books:
    """What the fake holds by batch, of journals their debits."""
    return summed(_held(held))


def _held(held: FakeXero) -> Iterator[tuple[str, Decimal, Decimal]]:
    for one in held.books():
        text = one.details["reference"]
        yield batch_in(text) or f"no batch: {text}", one.amount, one.tax
    for posted in held.postings():
        yield batch_in(posted.reference) or f"no batch: {posted.reference}", max(posted.amount, NOTHING), NOTHING


item = document_item
number_of = invoice_number
posting = contents.posting
journals = partial(contents.journals, codes=ACCOUNTS)
invoices = partial(contents.invoices, customers=len(CUSTOMERS), sold=sold, invoice=invoice)
CASE = TargetCase(
    kind="xero", fake=fake, setup=setup, open=open_unhurried, items=journals, books=books, wanted=documents
)
INVOICES = TargetCase(
    kind="xero",
    fake=fake,
    setup=lambda url: setup(url, "invoices"),
    open=open_unhurried,
    items=invoices,
    books=books,
    wanted=documents,
)
