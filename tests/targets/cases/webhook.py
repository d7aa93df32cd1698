"""A receiver of Standard Webhooks that takes each webhook-id once."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path

from meter.export.gather.charges import Charges
from meter.export.targets.spec import Means, Setup
from meter.export.targets.webhook import WEBHOOK, WebhookTarget
from meter.sources.options import options_of
from meter.store.outbox import OutboxItem
from tests.booked import OPERATOR
from tests.targets.case import Books, TargetCase
from tests.targets.fakes.receiver import SECRET, FakeReceiver
from tests.targets.random_charges import items_of, net_and_tax, random_charges, told_sums

CHARGES_MAX = 3


def setup(url: str) -> Setup:
    options, faults = options_of(WEBHOOK.options, {})
    assert not faults, faults
    return Setup(
        operator=OPERATOR,
        name="hook",
        kind="webhook",
        data_dir=Path("/nowhere"),
        base_url=f"{url}/hook",
        grain="charge",
        secrets=(SECRET,),
        options=options,
    )


def open_impatient(given: Setup, _means: Means) -> WebhookTarget:
    """The target with the patience of a test: whenever it looks at the clock, an hour has passed."""
    return WebhookTarget(given, monotonic=itertools.count(0.0, 3600.0).__next__, timeout_s=0.5)


def items(n: int, seed: int) -> list[OutboxItem]:
    shape = Charges(apart="account", charges_max=CHARGES_MAX)
    return items_of(shape, random_charges(n * CHARGES_MAX, seed), "hook", page=10 * CHARGES_MAX)[:n]


def books(fake: FakeReceiver) -> Books:
    """What it took by batch; a batch that came under two ids counts twice."""
    assert fake.changed == [], "the same id came with another body"
    held: dict[str, tuple[Decimal, Decimal]] = {}
    for message in fake.taken.values():
        net, tax = held.get(message["data"]["batch"], (Decimal(0), Decimal(0)))
        more = net_and_tax(message["data"]["charges"])
        held[message["data"]["batch"]] = (net + more[0], tax + more[1])
    return held


CASE = TargetCase(
    kind="webhook", fake=FakeReceiver, setup=setup, open=open_impatient, items=items, books=books, wanted=told_sums
)
