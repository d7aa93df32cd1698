"""Stripe's meters with usage of some minutes, added to later and taken back in part."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from meter.export.payload import MeterUsage, frozen, thawed
from meter.export.targets.spec import Setup
from meter.export.targets.stripe_meters import STRIPE_METERS
from meter.export.targets.stripe_meters.exporter import StripeMetersTarget
from meter.sources.options import options_of
from meter.store.outbox import OutboxItem, revised
from tests.booked import OPERATOR
from tests.targets.case import Books, TargetCase
from tests.targets.fakes.clock import START
from tests.targets.fakes.stripe import FakeStripe

CUSTOMERS = 5
METERS = ("print_pages", "room_hours")


def fake(**given: Any) -> FakeStripe:
    made = FakeStripe(**given)
    for name in METERS:
        made.add_meter(name)
    for number in range(CUSTOMERS):
        made.add_customer(f"cus_{number}")
    return made


def setup(url: str, **options: Any) -> Setup:
    filled, faults = options_of(STRIPE_METERS.options, options)
    assert not faults, faults
    return Setup(
        operator=OPERATOR,
        name="stripe-meters",
        kind="stripe-meters",
        data_dir=Path("/nowhere"),
        base_url=url,
        api_key="sk_of_the_fake",
        options=filled,
    )


def usage(value: str = "12.5", *, customer: int = 0, **changes: Any) -> MeterUsage:
    given: dict[str, Any] = {
        "account": f"account-{customer}",
        "customer": f"cus_{customer}",
        "meter": "print-pages",
        "event": "print_pages",
        "at": START - timedelta(hours=2),
        "value": Decimal(value),
        "unit": "page",
        "charges": 3,
    }
    return MeterUsage(**{**given, **changes})


def item(batch: str, what: MeterUsage) -> OutboxItem:
    made = OutboxItem(
        operator=OPERATOR,
        target="stripe-meters",
        operation="usage",
        batch=batch,
        key="",
        payload=frozen(what),
        stream=f"{what.account}/{what.meter}",
    )
    return revised(made, 0)


def items(n: int, seed: int) -> list[OutboxItem]:
    """Usage of five customers and two meters, each event of a minute of its own; a tenth takes usage back."""
    dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
    made = []
    for number in range(n):
        event = dice.choice(METERS)
        least = -500 if dice.random() < 0.1 else 1
        value = f"{Decimal(dice.randrange(least, 5000) or 1).scaleb(-2):f}"
        at = datetime(2026, 11, 18, tzinfo=UTC) + timedelta(minutes=number)
        what = usage(
            value, customer=dice.randrange(CUSTOMERS), event=event, meter=event.replace("_", "-"), at=at, alone=True
        )
        made.append(item(f"batch-{number:05d}", what))
    return made


def wanted(made: list[OutboxItem]) -> Books:
    """What each customer and meter comes to; there is no money in it."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for one in made:
        what = thawed(one.operation, one.payload)
        assert isinstance(what, MeterUsage)
        name = f"{what.customer}/{what.event}"
        sums[name] = (sums.get(name, (Decimal(0), Decimal(0)))[0] + what.value, Decimal(0))
    return sums


def books(held: FakeStripe) -> Books:
    usage_of: Mapping[tuple[str, str], Decimal] = held.usage()
    return {f"{customer}/{event}": (value, Decimal(0)) for (customer, event), value in usage_of.items()}


CASE = TargetCase(
    kind="stripe-meters",
    fake=fake,
    setup=setup,
    open=lambda given, _means: StripeMetersTarget(given, lambda: START),
    items=items,
    books=books,
    wanted=wanted,
)
