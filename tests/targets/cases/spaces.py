"""Booking systems with charges of some members, each added to later, up or down."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from meter.clock import Ticks
from meter.export.payload import InvoiceLine, LineItem, TaxOfLine
from meter.export.targets.books import batch_in
from meter.export.targets.spaces import COBOT, NEXUDUS, OFFICERND, cobot, nexudus, officernd
from meter.export.targets.spaces.target import SpacesTarget
from meter.export.targets.spec import Kind, Means, Setup
from meter.store.outbox import OutboxItem, name_of
from tests.targets import case as targets
from tests.targets import contents
from tests.targets.case import Books, TargetCase, passing, unhurried
from tests.targets.contents import NOTHING, NOVEMBER, line_item, line_of_net, newest, of_cents, summed
from tests.targets.fakes.base import Held
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
    return targets.setup_of(
        kind,
        {**OPTIONS[kind], **options},
        name="space",
        base_url=url,
        mode="invoices",
        grain="day",
        company="north",
        api_key="key",
        client_id="client",
        client_secret="secret",
    )


def open_unhurried(setup: Setup, means: Means, clock: Ticks | None = None) -> SpacesTarget:
    """The target without a rate, and with the patience of a test; without a clock, a minute passes at each look."""
    module: Any = {"cobot": cobot, "officernd": officernd, "nexudus": nexudus}[setup.kind]
    limits = unhurried(module.LIMITS)
    made: SpacesTarget = module.open_target(setup, means, limits=limits, timeout_s=0.5, clock=clock or passing())
    return made


def line(net: str = "10.00", *, tax: TaxOfLine | None = VAT, **changes: Any) -> InvoiceLine:
    return line_of_net(net, tax, **changes)


def content(given: InvoiceLine, *, number: int = 0, **changes: Any) -> LineItem:
    return line_item(given, number=number, customer_id=customer(number), **changes)


def item(what: LineItem, name: str = "batch", revision: int = 0) -> OutboxItem:
    return contents.item(what, target="space", batch=name_of(name), revision=revision)


def items(n: int, seed: int) -> list[OutboxItem]:
    """Lines of seven members; of some days there is more to come, up or down."""
    dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
    made = []
    for number in range(n):
        cents = dice.choice([-1, 1, 1, 1]) * dice.randrange(1, 40_000)
        day = (NOVEMBER + timedelta(days=dice.randrange(28))).date()
        given = line(
            of_cents(cents),
            tax=dice.choice([None, VAT, INCLUSIVE]),
            day=day,
            site=dice.choice(["berlin", "hamburg"]),
            item=PRODUCT,
        )
        made.append(item(content(given, number=dice.randrange(MEMBERS)), f"batch-{number}"))
    return made


def wanted(made: list[OutboxItem]) -> Books:
    """What items come to: the amounts alone, for the vendors compute the taxes."""
    return {batch: (what.line.net, NOTHING) for batch, what in newest(made).items() if isinstance(what, LineItem)}


def books(held: Any) -> Books:
    """What a fake holds by batch."""
    return summed((_batch_of(one), one.amount, NOTHING) for one in held.books())


def _batch_of(one: Held) -> str:
    return next(filter(None, map(batch_in, (*one.details.values(), one.reference))), f"no batch: {one.id}")


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
