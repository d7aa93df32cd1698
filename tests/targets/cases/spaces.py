"""Booking systems with charges of some members, each added to later, up or down."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from meter.export.payload import InvoiceLine, LineItem, TaxOfLine, frozen, operation_of, thawed
from meter.export.targets.books import batch_in
from meter.export.targets.spaces import COBOT, NEXUDUS, OFFICERND, cobot, nexudus, officernd
from meter.export.targets.spaces.target import SpacesTarget, Ticks
from meter.export.targets.spec import Kind, Means, Setup
from meter.sources.options import options_of
from meter.store.outbox import OutboxItem, name_of, revised
from tests.booked import OPERATOR
from tests.targets.case import Books, TargetCase
from tests.targets.fakes.spaces import FakeCobot, FakeNexudus, FakeOfficeRnD

KINDS: Mapping[str, Kind] = {"cobot": COBOT, "officernd": OFFICERND, "nexudus": NEXUDUS}
MEMBERS = 7
BERLIN, ELSEWHERE = "101", "102"
VAT_RATE, NO_RATE = "201", "202"
PRODUCT = "301"
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "cobot": {"items": {"print-pages": "8400"}, "currency": "EUR"},
    "officernd": {
        "locations": {"berlin": BERLIN, "*": ELSEWHERE},
        "items": {"*": "plan-1"},
        "credits": "send",
        "currency": "EUR",
    },
    "nexudus": {
        "businesses": {"berlin": BERLIN, "*": ELSEWHERE},
        "tax_codes": {"vat19": VAT_RATE, "none": NO_RATE},
        "items": {"*": PRODUCT},
        "credits": "send",
        "currency": "EUR",
    },
}
VAT = TaxOfLine(name="vat19", rate=Decimal("0.19"), inclusive=False, code=VAT_RATE)
INCLUSIVE = TaxOfLine(name="vat19", rate=Decimal("0.19"), inclusive=True, code=VAT_RATE)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)


def customer(number: int) -> str:
    """Return a member's id: digits, as Nexudus wants it, and letters will do for no other either."""
    return str(1000 + number)


def filled(fake: Callable[..., Any]) -> Callable[[], Any]:
    def made() -> Any:
        vendor = fake()
        vendor.members |= {customer(number) for number in range(MEMBERS)}
        return vendor

    return made


def setup_of(kind: str, url: str | None, **options: Any) -> Setup:
    filled_in, faults = options_of(KINDS[kind].options, {**OPTIONS[kind], **options})
    assert not faults, faults
    return Setup(
        operator=OPERATOR,
        name="space",
        kind=kind,
        data_dir=Path("/nowhere"),
        base_url=url,
        mode="invoices",
        grain="day",
        company="north",
        api_key="key",
        client_id="client",
        client_secret="secret",
        options=filled_in,
    )


def open_unhurried(setup: Setup, means: Means, clock: Ticks | None = None) -> SpacesTarget:
    """The target without a rate, and with the patience of a test; without a clock, a minute passes at each look."""
    passing = itertools.count(step=60.0)
    module: Any = {"cobot": cobot, "officernd": officernd, "nexudus": nexudus}[setup.kind]
    limits = replace(module.LIMITS, rate_per_s=None, settles_s=0.0)
    made: SpacesTarget = module.open_target(
        setup, means, limits=limits, timeout_s=0.5, clock=clock or (lambda: next(passing))
    )
    return made


def line(net: str = "10.00", *, tax: TaxOfLine | None = VAT, **changes: Any) -> InvoiceLine:
    """A line of `net`, with the tax that its rate comes to."""
    amount, rate = Decimal(net), Decimal(0) if tax is None else tax.rate or Decimal(0)
    tax_amount = (amount * rate).quantize(Decimal("0.01"), ROUND_HALF_UP)
    day: date = changes.get("day") or date(2026, 11, 2)
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    given: dict[str, Any] = {
        "meter": "print-pages",
        "site": "berlin",
        "unit": "page",
        "kind": "usage",
        "quantity": Decimal(34),
        "covered": Decimal(4),
        "billable": Decimal(30),
        "rounded": amount + tax_amount if tax is not None and tax.inclusive else amount,
        "tax_amount": tax_amount,
        "start": start,
        "end": start + timedelta(days=1),
        "first": start + timedelta(hours=9),
        "last": start + timedelta(hours=17),
        "charges": 3,
        "day": day,
        "tax": tax,
    }
    return InvoiceLine(**{**given, **changes})


def content(given: InvoiceLine, *, number: int = 0, **changes: Any) -> LineItem:
    facts: dict[str, Any] = {
        "account": f"account-{number}",
        "customer": customer(number),
        "currency": "EUR",
        "invoice": f"20261130-{number:08d}",
        "invoice_start": NOVEMBER,
        "invoice_end": NOVEMBER + timedelta(days=30),
        "line": given,
        "name": f"Account {number}",
    }
    return LineItem(**{**facts, **changes})


def item(what: LineItem, name: str = "batch", revision: int = 0) -> OutboxItem:
    made = OutboxItem(
        operator=OPERATOR,
        target="space",
        operation=operation_of(what),
        batch=name_of(name),
        key="",
        payload=frozen(what),
        stream=what.account,
    )
    return revised(made, revision)


def items(n: int, seed: int) -> list[OutboxItem]:
    """Lines of seven members; of some days there is more to come, up or down."""
    dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
    made = []
    for number in range(n):
        cents = dice.choice([-1, 1, 1, 1]) * dice.randrange(1, 40_000)
        day = (NOVEMBER + timedelta(days=dice.randrange(28))).date()
        given = line(
            f"{Decimal(cents).scaleb(-2):f}",
            tax=dice.choice([None, VAT, INCLUSIVE]),
            day=day,
            site=dice.choice(["berlin", "hamburg"]),
            item=PRODUCT,
        )
        made.append(item(content(given, number=dice.randrange(MEMBERS)), f"batch-{number}"))
    return made


def wanted(made: list[OutboxItem]) -> Books:
    """What items come to: the amounts alone, for the vendors compute the taxes."""
    contents = {one.batch: thawed(one.operation, one.payload) for one in made}
    return {batch: (what.line.net, Decimal(0)) for batch, what in contents.items() if isinstance(what, LineItem)}


def books(held: Any) -> Books:
    """What a fake holds by batch; a batch that is held twice counts twice."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for one in held.books():
        texts = one.details.values()
        batch = next(filter(None, map(batch_in, texts)), None) or batch_in(one.reference) or f"no batch: {one.id}"
        sums[batch] = (sums.get(batch, (Decimal(0), Decimal(0)))[0] + one.amount, Decimal(0))
    return sums


def case(kind: str, fake: Callable[..., Any], **options: Any) -> TargetCase:
    return TargetCase(
        kind=kind,
        fake=filled(fake),
        setup=lambda url: setup_of(kind, url, **options),
        open=open_unhurried,
        items=items,
        books=books,
        wanted=wanted,
    )


COBOT_CASE = case("cobot", FakeCobot)
OFFICERND_CASE = case("officernd", FakeOfficeRnD)
SOURCED_CASE = case("officernd", FakeOfficeRnD, reference="source", customers="member")
NEXUDUS_CASE = case("nexudus", FakeNexudus)
PRODUCTS_CASE = case("nexudus", FakeNexudus, entity="products")
CASES: Mapping[str, TargetCase] = {
    "cobot": COBOT_CASE,
    "officernd": OFFICERND_CASE,
    "officernd by source": SOURCED_CASE,
    "nexudus": NEXUDUS_CASE,
    "nexudus products": PRODUCTS_CASE,
}
