"""Square with invoices of several customers and currencies, some of them taken back whole."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from msgspec.structs import replace as with_

from meter.export.gather.names import document_number
from meter.export.payload import Invoice, InvoiceLine, TaxOfLine, frozen, operation_of, thawed
from meter.export.targets.spec import Means, Setup
from meter.export.targets.square import SQUARE, open_target
from meter.export.targets.square.exporter import LIMITS, SquareTarget
from meter.model.money import minor_unit_places
from meter.sources.options import options_of
from meter.store.outbox import OutboxItem, name_of, revised
from tests.booked import OPERATOR
from tests.targets.case import Books, TargetCase
from tests.targets.contents import month_of
from tests.targets.fakes.money import major
from tests.targets.fakes.square import LOCATION, FakeSquare

CUSTOMERS = 60
OCTOBER, NOVEMBER = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
ISSUED = date(2026, 10, 31)
VAT = TaxOfLine(name="vat19", rate=Decimal("0.19"), inclusive=False)
INCLUSIVE = TaxOfLine(name="vat7", rate=Decimal("0.07"), inclusive=True)


def customer_of(number: int) -> str:
    return f"CUSTOMER{number}"


def fake(**given: Any) -> FakeSquare:
    made = FakeSquare(**given)
    for number in range(CUSTOMERS):
        made.add_customer(customer_of(number))
    return made


def setup(url: str | None, **options: Any) -> Setup:
    filled, faults = options_of(SQUARE.options, options)
    assert not faults, faults
    return Setup(
        operator=OPERATOR,
        name="square",
        kind="square",
        data_dir=Path("/nowhere"),
        base_url=url,
        mode="invoices",
        grain="period",
        company=LOCATION,
        api_key="secret",
        options=filled,
    )


def open_unhurried(given: Setup, means: Means, *, timeout_s: float = 0.5) -> SquareTarget:
    """The target without a rate, with the patience of a test, and with a minute between any two looks at its clock."""
    limits = replace(LIMITS, rate_per_s=None, settles_s=0.0)
    looks = itertools.count(0, 60)
    return open_target(given, means, limits=limits, timeout_s=timeout_s, clock=lambda: float(next(looks)))


def rounded(amount: Decimal, currency: str) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-minor_unit_places(currency)), ROUND_HALF_UP)


def line(
    amount: str = "10.00", *, tax: TaxOfLine | None = VAT, odd: int = 0, currency: str = "EUR", **changes: Any
) -> InvoiceLine:
    """A line whose tax is `odd` minor units off what the rate gives on the sum: it was rounded charge by charge."""
    total = Decimal(amount)
    rate = Decimal(0) if tax is None else tax.rate or Decimal(0)
    inclusive = tax is not None and tax.inclusive
    exact = total - total / (1 + rate) if inclusive else total * rate
    tax_amount = rounded(exact, currency) + Decimal(odd).scaleb(-minor_unit_places(currency))
    given: dict[str, Any] = {
        "meter": "print-pages",
        "name": "Print pages",
        "site": "berlin",
        "place": "Berlin Mitte",
        "unit": "page",
        "kind": "usage",
        "quantity": Decimal("34.5"),
        "covered": Decimal(4),
        "billable": Decimal("30.5"),
        "rounded": total,
        "tax_amount": tax_amount if tax is not None else Decimal(0),
        "start": OCTOBER,
        "end": NOVEMBER,
        "first": OCTOBER + timedelta(hours=9),
        "last": OCTOBER + timedelta(days=20),
        "charges": 3,
        "days": month_of(ISSUED),
        "day": (OCTOBER + timedelta(days=20)).date(),
        "tax": tax,
    }
    return InvoiceLine(**{**given, **changes})


def invoice(*lines: InvoiceLine, customer: int = 0, part: int = 1, **changes: Any) -> Invoice:
    given: dict[str, Any] = {
        "number": document_number(ISSUED, OPERATOR, "square", customer, part=part),
        "account": f"account-{customer}",
        "customer": customer_of(customer),
        "name": "ACME",
        "currency": "EUR",
        "start": OCTOBER,
        "end": NOVEMBER,
        "days": month_of(ISSUED),
        "issued": ISSUED,
        "advance": False,
        "lines": lines or (line(),),
        "part": part,
    }
    return Invoice(**{**given, **changes})


def taking_back(sold: Invoice, part: int) -> Invoice:
    """The whole of an invoice, given back."""
    lines = tuple(with_(one, rounded=-one.rounded, tax_amount=-one.tax_amount) for one in sold.lines)
    number = document_number(ISSUED, sold.number, part=part)
    return with_(sold, number=number, lines=lines, part=part, credits=sold.number)


def item(what: Invoice, revision: int = 0) -> OutboxItem:
    made = OutboxItem(
        operator=OPERATOR,
        target="square",
        operation=operation_of(what),
        batch=name_of("batch", what.number),
        key="",
        payload=frozen(what),
        stream=what.account,
    )
    return revised(made, revision)


def items(n: int, seed: int) -> list[OutboxItem]:
    """Invoices of some customers, with something given back inside, and some of them taken back whole."""
    dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
    made: list[OutboxItem] = []
    part = 0
    while len(made) < n:
        part += 1
        sold = _sold(dice, dice.randrange(CUSTOMERS), part)
        made.append(item(sold))
        if len(made) < n and dice.random() < 0.2:
            made.append(item(taking_back(sold, part)))
    return made


def _sold(dice: random.Random, customer: int, part: int) -> Invoice:
    currency = dice.choice(["EUR", "EUR", "JPY", "KWD"])
    places = minor_unit_places(currency)

    def one(least: int, most: int) -> InvoiceLine:
        amount = f"{Decimal(dice.randrange(least, most)).scaleb(-places):f}"
        tax = dice.choice([None, VAT, INCLUSIVE])
        return line(amount, tax=tax, odd=dice.choice([0, 0, 0, 1, -1]), currency=currency)

    lines = [one(50_000, 100_000), *(one(-5_000, 5_000) for _ in range(dice.randrange(3)))]
    return invoice(*lines, customer=customer, part=part, currency=currency)


def wanted(made: Sequence[OutboxItem]) -> Books:
    """What invoices come to that nothing takes back; those that are, and what takes them back, come to nothing."""
    contents = {one.batch: thawed(one.operation, one.payload) for one in made}
    invoices = {batch: one for batch, one in contents.items() if isinstance(one, Invoice)}
    credited = {one.credits for one in invoices.values() if one.credits}
    return {
        batch: (one.net, one.tax_amount)
        for batch, one in invoices.items()
        if one.credits is None and one.number not in credited
    }


def books(held: FakeSquare) -> Books:
    """What the fake holds by batch; a batch that is held twice counts twice, and one without an invoice shows."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for one in held.books():
        batch = one.details.get("meter_batch") or f"no batch: {one.reference}"
        if one.state == "ORDERED":
            batch = f"without an invoice: {batch}"
        lined = _taxes_that_are_lines(held.orders[one.id]) if one.kind == "order" else Decimal(0)
        net, tax = sums.get(batch, (Decimal(0), Decimal(0)))
        sums[batch] = (net + one.amount - lined, tax + one.tax + lined)
    return sums


def _taxes_that_are_lines(order: dict[str, Any]) -> Decimal:
    taxes = [one["base_price_money"] for one in order.get("line_items", []) if one["uid"].startswith("tax-")]
    back = [one["amount_money"] for one in order.get("discounts", []) if one["uid"].startswith("tax-")]
    units = sum(one["amount"] for one in taxes) - sum(one["amount"] for one in back)
    return major(units, order["total_money"]["currency"])


CASE = TargetCase(
    kind="square",
    fake=fake,
    setup=lambda url: setup(url, publish=True),
    open=open_unhurried,
    items=items,
    books=books,
    wanted=wanted,
)
DRAFTS = replace(CASE, setup=setup)
