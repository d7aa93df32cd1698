"""QuickBooks with journals of several sites, added to later, or with invoices and credit memos."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import count
from pathlib import Path
from typing import Any

from meter.export.gather.names import document_number
from meter.export.payload import (
    DayJournal,
    Invoice,
    InvoiceLine,
    PostingSum,
    TaxOfLine,
    frozen,
    operation_of,
    thawed,
)
from meter.export.targets.books import batch_in, figures_of
from meter.export.targets.quickbooks import QUICKBOOKS, open_target
from meter.export.targets.quickbooks.exporter import LIMITS, QuickBooksTarget
from meter.export.targets.spec import Means, Mode, Setup
from meter.sources.options import options_of
from meter.store.outbox import OutboxItem, name_of, revised
from tests.booked import OPERATOR
from tests.targets.case import Books, TargetCase
from tests.targets.fakes.quickbooks import REALM, FakeQuickBooks

SITES = ("berlin", "hamburg", "köln's")
CUSTOMERS = 5
NOVEMBER, DECEMBER = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
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
    filled, faults = options_of(QUICKBOOKS.options, given)
    assert not faults, faults
    return Setup(
        operator=OPERATOR,
        name="books",
        kind="quickbooks",
        data_dir=Path("/nowhere"),
        base_url=url,
        mode=mode,
        grain="day",
        company=REALM,
        client_id="client",
        client_secret="secret",
        refresh_token="refresh-0",
        options=filled,
    )


def open_unhurried(
    given: Setup, means: Means, clock: Callable[[], float] | None = None, *, timeout_s: float = 0.5
) -> QuickBooksTarget:
    """The target without a rate, and with the patience of a test: by its clock two minutes pass at every look."""
    limits = replace(LIMITS, rate_per_s=None, settles_s=0.0)
    looks = count(step=120)
    return open_target(given, means, limits=limits, timeout_s=timeout_s, clock=clock or (lambda: float(next(looks))))


def posting(ledger_account: str, amount: str, code: str, **changes: Any) -> PostingSum:
    given: dict[str, Any] = {"ledger_account": ledger_account, "code": code, "amount": Decimal(amount), "entries": 2}
    return PostingSum(**{**given, **changes})


def journal(day: date = date(2026, 11, 2), site: str = "berlin", part: int = 1, **changes: Any) -> DayJournal:
    """What one member owes: usage, its tax, and the landlord's share of it."""
    given: dict[str, Any] = {
        "number": document_number(day, OPERATOR, "books", site, part=part),
        "day": day,
        "site": site,
        "currency": "EUR",
        "part": part,
        "narration": f"Usage {day} {site}",
        "postings": (
            posting("assets:receivable", "26.78", RECEIVABLE, account="acme", party=str(FIRST_CUSTOMER)),
            posting("expenses:revenue-share", "4.50", SHARE),
            posting("income:room", "-22.50", INCOME),
            posting("liabilities:landlord", "-4.50", LANDLORD),
            posting("liabilities:tax", "-4.28", TAX),
        ),
        "tracking": site.title(),
    }
    return DayJournal(**{**given, **changes})


def line(net: str = "10.00", *, tax: TaxOfLine | None = VAT, **changes: Any) -> InvoiceLine:
    amount = Decimal(net)
    rate = Decimal(0) if tax is None else tax.rate or Decimal(0)
    tax_amount = (amount * rate).quantize(Decimal("0.01"), ROUND_HALF_UP)
    given: dict[str, Any] = {
        "meter": "print-pages",
        "site": "berlin",
        "unit": "page",
        "kind": "usage",
        "quantity": Decimal(34),
        "covered": Decimal(4),
        "billable": Decimal(30),
        "rounded": amount,
        "tax_amount": tax_amount,
        "start": NOVEMBER,
        "end": NOVEMBER + timedelta(days=1),
        "first": NOVEMBER + timedelta(hours=9),
        "last": NOVEMBER + timedelta(hours=17),
        "charges": 3,
        "day": NOVEMBER.date(),
        "tax": tax,
        "item": ITEM,
        "tracking": "Berlin",
    }
    return InvoiceLine(**{**given, **changes})


def invoice(*lines: InvoiceLine, customer: int = 0, part: int = 1, **changes: Any) -> Invoice:
    issued = date(2026, 11, 30)
    given: dict[str, Any] = {
        "number": document_number(issued, OPERATOR, "books", customer, part=part),
        "account": f"account-{customer}",
        "customer": str(FIRST_CUSTOMER + customer),
        "name": "ACME",
        "currency": "EUR",
        "start": NOVEMBER,
        "end": DECEMBER,
        "issued": issued,
        "advance": False,
        "lines": lines or (line(),),
        "part": part,
    }
    return Invoice(**{**given, **changes})


def item(what: DayJournal | Invoice, revision: int = 0) -> OutboxItem:
    stream = what.site if isinstance(what, DayJournal) else what.account
    made = OutboxItem(
        operator=OPERATOR,
        target="books",
        operation=operation_of(what),
        batch=name_of("batch", what.number),
        key="",
        payload=frozen(what),
        stream=stream,
    )
    return revised(made, revision)


def journals(n: int, seed: int) -> list[OutboxItem]:
    """Days of some sites, each added to later, up or down."""
    dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
    made = []
    parts: dict[tuple[date, str], int] = {}
    for _ in range(n):
        day, site = date(2026, 1, 1) + timedelta(days=dice.randrange(1 + n // 4)), dice.choice(SITES)
        part = parts[day, site] = parts.get((day, site), 0) + 1
        made.append(item(journal(day, site, part, postings=_balanced(dice))))
    return made


def _balanced(dice: random.Random) -> tuple[PostingSum, ...]:
    postings = []
    for number in range(dice.randrange(1, 4)):
        cents = dice.choice([-1, 1, 1, 1]) * dice.randrange(1, 100_000)
        owed, sold = f"{Decimal(cents).scaleb(-2):f}", f"{Decimal(-cents).scaleb(-2):f}"
        party = dice.choice([None, str(FIRST_CUSTOMER + dice.randrange(CUSTOMERS))])
        postings.append(posting("assets:receivable", owed, RECEIVABLE, account=f"account-{number}", party=party))
        postings.append(posting(f"income:meter-{number}", sold, INCOME))
    return tuple(postings)


def invoices(n: int, seed: int) -> list[OutboxItem]:
    """Invoices of some customers, and what comes later for them: more, or something to give back."""
    dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
    made = []
    parts = [0] * CUSTOMERS
    for _ in range(n):
        customer = dice.randrange(CUSTOMERS)
        parts[customer] += 1
        sign = 1 if parts[customer] == 1 else dice.choice([-1, 1])
        lines = [_sold(dice, sign) for _ in range(dice.randrange(1, 4))]
        made.append(item(invoice(*lines, customer=customer, part=parts[customer])))
    return made


def _sold(dice: random.Random, sign: int) -> InvoiceLine:
    cents = sign * dice.randrange(1, 100_000)
    return line(f"{Decimal(cents).scaleb(-2):f}", tax=dice.choice([None, VAT]))


def wanted(made: Sequence[OutboxItem]) -> Books:
    contents = {one.batch: thawed(one.operation, one.payload) for one in made}
    figures = {batch: figures_of(what) for batch, what in contents.items() if isinstance(what, DayJournal | Invoice)}
    return {batch: (one.net, one.tax) for batch, one in figures.items()}


def books(held: FakeQuickBooks) -> Books:
    """What the fake holds by batch; a batch that is held twice counts twice."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for one in held.books():
        batch = batch_in(one.details["note"]) or f"no batch: {one.reference}"
        net, tax = sums.get(batch, (Decimal(0), Decimal(0)))
        sums[batch] = (net + one.amount, tax + one.tax)
    return sums


CASE = TargetCase(
    kind="quickbooks", fake=fake, setup=setup, open=open_unhurried, items=journals, books=books, wanted=wanted
)
INVOICES = TargetCase(
    kind="quickbooks",
    fake=fake,
    setup=lambda url: setup(url, "invoices"),
    open=open_unhurried,
    items=invoices,
    books=books,
    wanted=wanted,
)
