"""Stripe with lines that grow, shrink and come late, some after their invoice is final."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from meter.export.payload import InvoiceLine, LineItem, PeriodClosed, TaxOfLine
from meter.export.targets.spec import Setup
from meter.export.targets.stripe.exporter import StripeTarget
from meter.store.outbox import OutboxItem
from tests.targets import contents
from tests.targets.case import Books, TargetCase, setup_of
from tests.targets.contents import NOVEMBER, line_item, line_of_net, newest, of_cents, summed
from tests.targets.fakes.stripe import FakeStripe

CUSTOMERS = 7
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
VAT, REDUCED = "txr_000000000000000000000001", "txr_000000000000000000000002"
TAXES = (
    None,
    TaxOfLine(name="vat19", rate=Decimal("0.19"), inclusive=False, code=VAT),
    TaxOfLine(name="vat7", rate=Decimal("0.07"), inclusive=True, code=REDUCED),
)


def fake(**given: Any) -> FakeStripe:
    made = FakeStripe(reference="meter_batch", **given)
    assert [made.add_tax_rate("19"), made.add_tax_rate("7", inclusive=True)] == [VAT, REDUCED]
    for number in range(CUSTOMERS):
        made.add_customer(f"cus_{number}")
    return made


def setup(url: str, **options: Any) -> Setup:
    codes = {"vat19": VAT, "vat7": REDUCED}
    return setup_of(
        "stripe",
        {"tax_codes": codes, "invoices": "finalize", **options},
        name="stripe",
        base_url=url,
        mode="invoices",
        grain="day",
        api_key="sk_test_of_the_fake",
    )


def line(net: str = "10.00", *, tax: TaxOfLine | None = None, odd: int = 0, **changes: Any) -> InvoiceLine:
    return line_of_net(net, tax, odd=odd, **{"covered": Decimal(0), "billable": Decimal(34), **changes})


def content(given: InvoiceLine, *, customer: int = 0, start: datetime = NOVEMBER, **changes: Any) -> LineItem:
    return line_item(given, number=customer, customer_id=f"cus_{customer}", start=start, **changes)


def notice(customer: int = 0, start: datetime = NOVEMBER) -> PeriodClosed:
    of = content(line(), customer=customer, start=start)
    return PeriodClosed(
        account=of.account,
        customer=of.customer,
        currency="EUR",
        invoice=of.invoice,
        start=start,
        end=of.invoice_end,
    )


def item(batch: str, what: LineItem | PeriodClosed, revision: int = 0) -> OutboxItem:
    return contents.item(what, target="stripe", batch=batch, revision=revision)


def items(n: int, seed: int) -> list[OutboxItem]:
    """Lines of seven customers, revised now and then; some invoices are closed on the way, and revised all the same."""
    dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
    made: list[OutboxItem] = []
    begun: dict[str, tuple[int, LineItem]] = {}
    closed: set[tuple[int, datetime]] = set()
    while len(made) < n:
        if begun and dice.random() < 0.5:
            batch = dice.choice(sorted(begun))
            revision, before = begun[batch]
            what = replace_line(before, dice)
            begun[batch] = (revision + 1, what)
            made.append(item(batch, what, revision + 1))
            continue
        customer, start = dice.randrange(CUSTOMERS), dice.choice([OCTOBER, NOVEMBER])
        if dice.random() < 0.05 and (customer, start) not in closed:
            closed.add((customer, start))
            made.append(item(f"close-{customer}-{start:%m}", notice(customer, start)))
            continue
        batch, late = f"batch-{len(made):05d}", dice.random() < 0.15
        day = (start + timedelta(days=dice.randrange(28))).date()
        given = _random_line(dice, day=day, adjusts=OCTOBER if late else None, least=-900 if late else 1)
        what = content(given, customer=customer, start=NOVEMBER if late else start)
        begun[batch] = (0, what)
        made.append(item(batch, what))
    return made


def replace_line(before: LineItem, dice: random.Random) -> LineItem:
    """The same line with other sums: more, less, nothing, something to give back."""
    given = _random_line(dice, tax=before.line.tax, day=before.line.day, adjusts=before.line.adjusts)
    return content(given, customer=int(before.customer[4:]), start=before.invoice_start)


def _random_line(dice: random.Random, *, least: int = -200, **given: Any) -> InvoiceLine:
    cents = dice.choice([0, dice.randrange(least, 4000), dice.randrange(least, 4000)])
    cents = cents or (0 if least < 0 else 1)
    tax = given.pop("tax", dice.choice(TAXES))
    return line(of_cents(cents), tax=tax, odd=dice.randrange(-1, 2), **given)


def wanted(made: list[OutboxItem]) -> Books:
    """What the newest content of each batch comes to; what comes to nothing may be held or not."""
    lines = {batch: what.line for batch, what in newest(made).items() if isinstance(what, LineItem)}
    return {batch: (one.net, one.tax_amount) for batch, one in lines.items() if one.net or one.tax_amount}


def books(held: FakeStripe) -> Books:
    sums = summed(_held(held))
    return {batch: (net, tax) for batch, (net, tax) in sums.items() if net or tax}


def _held(held: FakeStripe) -> Iterator[tuple[str, Decimal, Decimal]]:
    for one in held.books():
        tax = Decimal(one.details["meter_tax"]).scaleb(-2)
        yield one.reference, one.amount + one.tax - tax, tax


CASE = TargetCase(
    kind="stripe",
    fake=fake,
    setup=setup,
    open=lambda setup, _means: StripeTarget(setup),
    items=items,
    books=books,
    wanted=wanted,
)
