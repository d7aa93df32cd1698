"""Xero with journals of several sites, added to later, or with invoices and credit notes taken off them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

from meter.export.gather.names import document_number
from meter.export.payload import DayJournal, Invoice, InvoiceLine, PostingSum, TaxOfLine, frozen, operation_of, thawed
from meter.export.targets.books import batch_in, figures_of
from meter.export.targets.spec import Means, Mode, Setup
from meter.export.targets.xero import XERO, open_target
from meter.export.targets.xero.exporter import LIMITS, XeroTarget
from meter.sources.options import options_of
from meter.store.outbox import OutboxItem, name_of, revised
from tests.booked import OPERATOR
from tests.targets.case import Books, TargetCase
from tests.targets.fakes.xero import FakeXero
from tests.targets.fakes.xero_core import TENANT

Clock: TypeAlias = Callable[[], float]
SITES = ("berlin", "hamburg", "köln's")
NOVEMBER, DECEMBER = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
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
    filled, faults = options_of(XERO.options, {**given, **options})
    assert not faults, faults
    return Setup(
        operator=OPERATOR,
        name="books",
        kind="xero",
        data_dir=Path("/nowhere"),
        base_url=address,
        mode=mode,
        grain="day",
        company=TENANT,
        client_id="client",
        client_secret="secret",
        refresh_token="refresh-0",
        options=filled,
    )


def open_unhurried(given: Setup, means: Means, clock: Clock | None = None, *, timeout_s: float = 0.5) -> XeroTarget:
    """The target without a rate, and with the patience of a test; without a clock, a minute passes at each look."""
    limits = replace(LIMITS, rate_per_s=None, settles_s=0.0)
    passing = count(0.0, 60.0)
    return open_target(given, means, limits=limits, timeout_s=timeout_s, clock=clock or (lambda: next(passing)))


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
            posting("assets:receivable", "26.78", RECEIVABLE, account="acme"),
            posting("expenses:revenue-share", "4.50", SHARE),
            posting("income:room", "-22.50", INCOME),
            posting("liabilities:landlord", "-4.50", LANDLORD),
            posting("liabilities:tax", "-4.28", TAX),
        ),
        "tracking": site.title(),
    }
    return DayJournal(**{**given, **changes})


def line(amount: str = "10.00", *, tax: TaxOfLine | None = VAT, **changes: Any) -> InvoiceLine:
    """Thirty pages at `amount`, as it stands in a price list: before a tax that is added, with one that is included."""
    rounded = Decimal(amount)
    rate = Decimal(0) if tax is None else tax.rate or Decimal(0)
    share = rate / (1 + rate) if tax is not None and tax.inclusive else rate
    given: dict[str, Any] = {
        "meter": "print-pages",
        "site": "berlin",
        "unit": "page",
        "kind": "usage",
        "quantity": Decimal(34),
        "covered": Decimal(4),
        "billable": Decimal(30),
        "rounded": rounded,
        "tax_amount": (rounded * share).quantize(Decimal("0.01"), ROUND_HALF_UP),
        "start": NOVEMBER,
        "end": NOVEMBER + timedelta(days=1),
        "first": NOVEMBER + timedelta(hours=9),
        "last": NOVEMBER + timedelta(hours=17),
        "charges": 3,
        "day": NOVEMBER.date(),
        "tax": tax,
        "tracking": "Berlin",
    }
    return InvoiceLine(**{**given, **changes})


def number_of(customer: int, part: int = 1) -> str:
    return document_number(date(2026, 11, 30), OPERATOR, "books", customer, part=part)


def invoice(*lines: InvoiceLine, customer: int = 0, part: int = 1, **changes: Any) -> Invoice:
    given: dict[str, Any] = {
        "number": number_of(customer, part),
        "account": f"account-{customer}",
        "customer": CUSTOMERS[customer],
        "name": "ACME",
        "currency": "EUR",
        "start": NOVEMBER,
        "end": DECEMBER,
        "issued": date(2026, 11, 30),
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
        postings.append(posting("assets:receivable", owed, RECEIVABLE, account=f"account-{number}"))
        postings.append(posting(f"income:meter-{number}", sold, INCOME))
    return tuple(postings)


def invoices(n: int, seed: int) -> list[OutboxItem]:
    """Invoices of some customers, and what comes later for them: more, or something to give back on the first."""
    dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
    made = []
    parts = [0] * len(CUSTOMERS)
    for _ in range(n):
        customer = dice.randrange(len(CUSTOMERS))
        part = parts[customer] = parts[customer] + 1
        sign = 1 if part == 1 else dice.choice([-1, 1])
        lines = [_sold(dice, sign) for _ in range(dice.randrange(1, 4))]
        about = number_of(customer) if sign < 0 else None
        made.append(item(invoice(*lines, customer=customer, part=part, credits=about)))
    return made


def _sold(dice: random.Random, sign: int) -> InvoiceLine:
    cents = sign * dice.randrange(1, 100_000)
    billable = Decimal(dice.randrange(1, 10**7)).scaleb(-dice.randrange(6))
    tax = dice.choice([None, VAT, VAT_IN])
    return line(f"{Decimal(cents).scaleb(-2):f}", tax=tax, billable=billable, charges=dice.randrange(1, 40))


def wanted(made: Sequence[OutboxItem]) -> Books:
    contents = {one.batch: thawed(one.operation, one.payload) for one in made}
    figures = {batch: figures_of(what) for batch, what in contents.items() if isinstance(what, DayJournal | Invoice)}
    return {batch: (one.net, one.tax) for batch, one in figures.items()}


def books(held: FakeXero) -> Books:
    """What the fake holds by batch, of journals their debits; a batch that is held twice counts twice."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}

    def add(text: str, amount: Decimal, tax: Decimal = Decimal(0)) -> None:
        batch = batch_in(text) or f"no batch: {text}"
        before = sums.get(batch, (Decimal(0), Decimal(0)))
        sums[batch] = (before[0] + amount, before[1] + tax)

    for one in held.books():
        add(one.details["reference"], one.amount, one.tax)
    for posted in held.postings():
        add(posted.reference, max(posted.amount, Decimal(0)))
    return sums


CASE = TargetCase(kind="xero", fake=fake, setup=setup, open=open_unhurried, items=journals, books=books, wanted=wanted)
INVOICES = TargetCase(
    kind="xero",
    fake=fake,
    setup=lambda url: setup(url, "invoices"),
    open=open_unhurried,
    items=invoices,
    books=books,
    wanted=wanted,
)
