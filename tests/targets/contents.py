"""What items say: lines, invoices and journals of one kind of usage, single ones and many by a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from meter.export.gather.names import document_number
from meter.export.payload import (
    Content,
    DayJournal,
    Invoice,
    InvoiceLine,
    LineItem,
    PeriodClosed,
    PostingSum,
    TaxOfLine,
    frozen,
    operation_of,
    thawed,
)
from meter.export.targets.books import figures_of
from meter.model.period import DaySpan
from meter.store.outbox import OutboxItem, name_of, revised
from tests.booked import OPERATOR
from tests.targets.case import Books

NOVEMBER, DECEMBER = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
ISSUED: Final = date(2026, 11, 30)
SITES: Final = ("berlin", "hamburg", "köln's")
CENT: Final = Decimal("0.01")
NOTHING: Final = Decimal(0)


def of_cents(cents: int) -> str:
    return f"{Decimal(cents).scaleb(-2):f}"


def tax_on(net: Decimal, tax: TaxOfLine | None) -> Decimal:
    """What the tax comes to on a net amount, whether or not prices include it."""
    rate = NOTHING if tax is None else tax.rate or NOTHING
    return (net * rate).quantize(CENT, ROUND_HALF_UP)


def month_of(day: date) -> DaySpan:
    first = day.replace(day=1)
    return DaySpan(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))


def line(rounded: Decimal, tax_amount: Decimal, *, start: datetime = NOVEMBER, **changes: Any) -> InvoiceLine:
    """Pages of the day that begins with `start`: 34, thirty of them to pay."""
    day = start.date()
    given: dict[str, Any] = {
        "meter": "print-pages",
        "name": "Print pages",
        "site": "berlin",
        "place": "Berlin Mitte",
        "unit": "page",
        "kind": "usage",
        "quantity": Decimal(34),
        "covered": Decimal(4),
        "billable": Decimal(30),
        "rounded": rounded,
        "tax_amount": tax_amount,
        "start": start,
        "end": start + timedelta(days=1),
        "first": start + timedelta(hours=9),
        "last": start + timedelta(hours=17),
        "charges": 3,
        "days": DaySpan(day, day),
        "day": day,
        "adjusts_days": month_of(changes["adjusts"].date()) if changes.get("adjusts") else None,
    }
    return InvoiceLine(**{**given, **changes})


def line_of_net(net: str, tax: TaxOfLine | None, *, odd: int = 0, **changes: Any) -> InvoiceLine:
    """A line of `net`, with the tax that its rate comes to, where there is any with `odd` cents more."""
    amount, tax_amount = Decimal(net), tax_on(Decimal(net), tax)
    tax_amount += odd * CENT if tax_amount else NOTHING
    rounded = amount + tax_amount if tax is not None and tax.inclusive else amount
    day: date = changes.get("day") or date(2026, 11, 2)
    return line(
        rounded, tax_amount, start=datetime(day.year, day.month, day.day, tzinfo=UTC), **{"tax": tax, **changes}
    )


def line_item(
    given: InvoiceLine, *, number: int, customer_id: str, start: datetime = NOVEMBER, **changes: Any
) -> LineItem:
    facts: dict[str, Any] = {
        "account": f"account-{number}",
        "customer": customer_id,
        "currency": "EUR",
        "invoice": f"{start:%Y%m%d}-{number:08d}",
        "invoice_start": start,
        "invoice_end": start + timedelta(days=30),
        "line": given,
        "name": f"Account {number}",
    }
    return LineItem(**{**facts, **changes})


def invoice_number(customer: int, part: int = 1, *, target: str = "books", issued: date = ISSUED) -> str:
    return document_number(issued, OPERATOR, target, customer, part=part)


def invoice(*lines: InvoiceLine, customer: int, customer_id: str, part: int = 1, **changes: Any) -> Invoice:
    given: dict[str, Any] = {
        "number": invoice_number(customer, part),
        "account": f"account-{customer}",
        "customer": customer_id,
        "name": "ACME",
        "currency": "EUR",
        "start": NOVEMBER,
        "end": DECEMBER,
        "days": DaySpan(NOVEMBER.date(), ISSUED),
        "issued": ISSUED,
        "advance": False,
        "lines": lines,
        "part": part,
    }
    return Invoice(**{**given, **changes})


def invoices(
    n: int,
    seed: int,
    *,
    customers: int,
    sold: Callable[[random.Random, int], InvoiceLine],
    invoice: Callable[..., Invoice],
) -> list[OutboxItem]:
    """Invoices of some customers, and what comes later for them: more, or something to give back on the first.

    `sold` makes a line of a sign.
    """
    dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
    made = []
    parts = [0] * customers
    for _ in range(n):
        customer = dice.randrange(customers)
        part = parts[customer] = parts[customer] + 1
        sign = 1 if part == 1 else dice.choice([-1, 1])
        lines = [sold(dice, sign) for _ in range(dice.randrange(1, 4))]
        about = invoice_number(customer) if sign < 0 else None
        made.append(document_item(invoice(*lines, customer=customer, part=part, credits=about)))
    return made


def posting(ledger_account: str, amount: str, code: str, **changes: Any) -> PostingSum:
    given: dict[str, Any] = {"ledger_account": ledger_account, "code": code, "amount": Decimal(amount), "entries": 2}
    return PostingSum(**{**given, **changes})


def journal(
    codes: Mapping[str, str], day: date, site: str, part: int, *, party: str | None = None, **changes: Any
) -> DayJournal:
    """What one member owes, `party` at the target: usage, its tax, and the landlord's share of it."""
    given: dict[str, Any] = {
        "number": document_number(day, OPERATOR, "books", site, part=part),
        "day": day,
        "site": site,
        "currency": "EUR",
        "part": part,
        "narration": f"Usage {day} {site}",
        "postings": (
            posting("assets:receivable", "26.78", codes["assets:receivable"], account="acme", party=party),
            posting("expenses:revenue-share", "4.50", codes["expenses:*"]),
            posting("income:room", "-22.50", codes["income:*"]),
            posting("liabilities:landlord", "-4.50", codes["liabilities:landlord"]),
            posting("liabilities:tax", "-4.28", codes["liabilities:tax"]),
        ),
        "tracking": site.title(),
    }
    return DayJournal(**{**given, **changes})


def journals(n: int, seed: int, *, codes: Mapping[str, str], customers: Sequence[str] = ()) -> list[OutboxItem]:
    """Days of some sites, each added to later, up or down; some of `customers` owe, where the target names them."""
    dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
    made = []
    parts: dict[tuple[date, str], int] = {}
    for _ in range(n):
        day, site = date(2026, 1, 1) + timedelta(days=dice.randrange(1 + n // 4)), dice.choice(SITES)
        part = parts[day, site] = parts.get((day, site), 0) + 1
        postings = _balanced(dice, codes, customers)
        made.append(document_item(journal(codes, day, site, part, postings=postings)))
    return made


def _balanced(dice: random.Random, codes: Mapping[str, str], customers: Sequence[str]) -> tuple[PostingSum, ...]:
    postings = []
    for number in range(dice.randrange(1, 4)):
        cents = dice.choice([-1, 1, 1, 1]) * dice.randrange(1, 100_000)
        party = dice.choice([None, dice.choice(customers)]) if customers else None
        owed = {"account": f"account-{number}", "party": party}
        postings.append(posting("assets:receivable", of_cents(cents), codes["assets:receivable"], **owed))
        postings.append(posting(f"income:meter-{number}", of_cents(-cents), codes["income:*"]))
    return tuple(postings)


def item(
    what: DayJournal | Invoice | LineItem | PeriodClosed, *, target: str, batch: str, revision: int = 0
) -> OutboxItem:
    made = OutboxItem(
        operator=OPERATOR,
        target=target,
        operation=operation_of(what),
        batch=batch,
        key="",
        payload=frozen(what),
        stream=what.site if isinstance(what, DayJournal) else what.account,
    )
    return revised(made, revision)


def document_item(what: DayJournal | Invoice, revision: int = 0, *, target: str = "books") -> OutboxItem:
    return item(what, target=target, batch=name_of("batch", what.number), revision=revision)


def newest(made: Iterable[OutboxItem]) -> dict[str, Content]:
    """What each batch says in the end."""
    return {one.batch: thawed(one.operation, one.payload) for one in made}


def documents(made: Iterable[OutboxItem]) -> Books:
    """What journals and invoices come to."""
    figures = {
        batch: figures_of(what) for batch, what in newest(made).items() if isinstance(what, DayJournal | Invoice)
    }
    return {batch: (one.net, one.tax) for batch, one in figures.items()}


def summed(held: Iterable[tuple[str, Decimal, Decimal]]) -> Books:
    """The sums of net and tax by batch; a batch that is held twice counts twice."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for batch, net, tax in held:
        before = sums.get(batch, (NOTHING, NOTHING))
        sums[batch] = (before[0] + net, before[1] + tax)
    return sums
