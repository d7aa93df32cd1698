"""QuickBooks with journals of several sites, added to later, or with invoices and credit memos."""

from __future__ import annotations

import random
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

from meter.clock import Ticks
from meter.export.payload import DayJournal, Invoice, InvoiceLine, TaxOfLine
from meter.export.targets.books import batch_in
from meter.export.targets.quickbooks import open_target
from meter.export.targets.quickbooks.exporter import LIMITS, QuickBooksTarget
from meter.export.targets.spec import Means, Mode, Setup
from tests.targets import contents
from tests.targets.case import Books, TargetCase, passing, setup_of, unhurried
from tests.targets.contents import SITES, document_item, documents, of_cents, summed, tax_on
from tests.targets.fakes.quickbooks import REALM, FakeQuickBooks

CUSTOMERS = 5
# The ids that the fake gives, in the order in which it is filled.
RECEIVABLE, INCOME, TAX, LANDLORD, SHARE, SUSPENSE = (str(number) for number in range(1, 7))
ITEM, DEPOSIT = "7", "8"
LANDLORDS_VENDOR, WALK_IN = "9", "10"
FIRST_CUSTOMER = 11
TAX_CODE, EXEMPT, TAX_RATE = "19", "20", "21"
VAT = TaxOfLine(name="vat19", rate=Decimal("0.19"), inclusive=False, code=TAX_CODE)
ACCOUNTS = {
    "assets:receivable": RECEIVABLE,
    "income:*": INCOME,
    "liabilities:tax": TAX,
    "liabilities:landlord": LANDLORD,
    "expenses:*": SHARE,
    "suspense": SUSPENSE,
}


def fake(**given: Any) -> FakeQuickBooks:
    made = FakeQuickBooks(**given)
    assert made.tokens.first() == "refresh-0"
    types = ("Accounts Receivable", "Income", "Other Current Liability", "Accounts Payable", "Expense", "Equity")
    ids = [made.add("Account", Name=f"{number} {kind}", AccountType=kind) for number, kind in enumerate(types)]
    ids += [made.add("Item", Name=name) for name in ("Usage", "Deposit")]
    ids += [made.add("Vendor", DisplayName="Landlord"), made.add("Customer", DisplayName="Walk-in")]
    ids += [made.add("Customer", DisplayName=f"Customer {number}") for number in range(CUSTOMERS)]
    assert ids == [str(number) for number in range(1, FIRST_CUSTOMER + CUSTOMERS)]
    for site in SITES:
        made.add("Class", Name=site.title())
    taxes = [made.add("TaxCode", Name=name) for name in ("19 %", "Exempt")] + [made.add("TaxRate", Name="19 %")]
    assert taxes == [TAX_CODE, EXEMPT, TAX_RATE]
    return made


def setup(url: str, mode: Mode = "journals", **options: Any) -> Setup:
    given = {
        "accounts": ACCOUNTS,
        "parties": {"liabilities:landlord": LANDLORDS_VENDOR},
        "customer": WALK_IN,
        "items": {"*": ITEM, "deposit": DEPOSIT},
        "tax_codes": {"vat19": TAX_CODE, "none": EXEMPT},
        "tax_rates": {"vat19": TAX_RATE},
        "terms_days": 14,
        **options,
    }
    return setup_of(
        "quickbooks",
        given,
        name="books",
        base_url=url,
        mode=mode,
        grain="day",
        company=REALM,
        client_id="client",
        client_secret="secret",
        refresh_token="refresh-0",
    )


def open_unhurried(
    given: Setup, means: Means, clock: Ticks | None = None, *, timeout_s: float = 0.5
) -> QuickBooksTarget:
    """The target without a rate, and with the patience of a test: by its clock two minutes pass at every look."""
    return open_target(given, means, limits=unhurried(LIMITS), timeout_s=timeout_s, clock=clock or passing(120.0))


def journal(day: date = date(2026, 11, 2), site: str = "berlin", part: int = 1, **changes: Any) -> DayJournal:
    return contents.journal(ACCOUNTS, day, site, part, party=str(FIRST_CUSTOMER), **changes)


def line(net: str = "10.00", *, tax: TaxOfLine | None = VAT, **changes: Any) -> InvoiceLine:
    amount = Decimal(net)
    return contents.line(amount, tax_on(amount, tax), **{"tax": tax, "item": ITEM, "tracking": "Berlin", **changes})


def invoice(*lines: InvoiceLine, customer: int = 0, **changes: Any) -> Invoice:
    return contents.invoice(
        *(lines or (line(),)), customer=customer, customer_id=str(FIRST_CUSTOMER + customer), **changes
    )


def sold(dice: random.Random, sign: int) -> InvoiceLine:
    return line(of_cents(sign * dice.randrange(1, 100_000)), tax=dice.choice([None, VAT]))


def books(held: FakeQuickBooks) -> Books:
    """What the fake holds by batch."""
    return summed(
        (batch_in(one.details["note"]) or f"no batch: {one.reference}", one.amount, one.tax) for one in held.books()
    )


item = document_item
posting = contents.posting
journals = partial(
    contents.journals, codes=ACCOUNTS, customers=[str(FIRST_CUSTOMER + number) for number in range(CUSTOMERS)]
)
invoices = partial(contents.invoices, customers=CUSTOMERS, sold=sold, invoice=invoice)
CASE = TargetCase(
    kind="quickbooks", fake=fake, setup=setup, open=open_unhurried, items=journals, books=books, wanted=documents
)
INVOICES = TargetCase(
    kind="quickbooks",
    fake=fake,
    setup=lambda url: setup(url, "invoices"),
    open=open_unhurried,
    items=invoices,
    books=books,
    wanted=documents,
)
