"""Charges of every form, for targets that take them as they are."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace as with_

from meter.export.gather.gatherer import items_from
from meter.export.gather.shape import Booked, Shape
from meter.export.payload import ChargeBatch, thawed
from meter.model.charge import Charge, Draw, LineTax, Share, Shared
from meter.store.outbox import OutboxItem
from tests.booked import NOON, OPERATOR, a_charge, a_fee, a_line
from tests.export.gathering import known

TEXTS = ["ada", "=cmd|'/c calc'!A0", "+49 30 1", "-1", "@sum", 'a "b", c', "größe\nzwei", "\t x", "", "日本"]


def random_charges(n: int, seed: int) -> list[Charge]:
    """`n` charges of some accounts over some days: corrections, taxes both ways, credit, shares, hostile texts."""
    dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
    return [_charge(number, dice) for number in range(n)]


def _charge(n: int, dice: random.Random) -> Charge:
    if dice.random() < 0.1:
        return a_fee(n)
    cents = dice.randrange(-500_00, 500_00)
    rate = dice.choice([Decimal("0.19"), Decimal("0.07"), None])
    line = a_line(
        n,
        account=f"account-{dice.randrange(7)}",
        member=dice.choice(TEXTS) or None,
        quantity=Decimal(dice.randrange(1, 10**6)) / 1000,
        amount=Decimal(cents).scaleb(-2) + Decimal(dice.randrange(1000)).scaleb(-12),
        currency=dice.choice(["EUR", "EUR", "EUR", "USD"]),
        tax=dice.choice([None, LineTax(name="vat", rate=rate, inclusive=dice.random() < 0.5)]),
        dimensions={"note": dice.choice(TEXTS), "weight": Decimal(dice.randrange(10**6)).scaleb(-3), "color": True},
        draws=tuple(Draw(grant=f"pack-{i}", unit="page", amount=Decimal(i)) for i in range(dice.randrange(3))),
        shares=(Share(party="landlord", share=Decimal("0.12"), role="principal"),) if dice.random() < 0.2 else (),
        tip=dice.choice([None, Decimal("1.50")]),
        earned_until=dice.choice([None, datetime(2026, 6, 1, tzinfo=UTC)]),
    )
    line = with_(line, key=line.key._replace(time=NOON + timedelta(minutes=7 * n)))
    shared = tuple(Shared(party=one.party, role=one.role, amount=Decimal("0.12")) for one in line.shares)
    tax = Decimal(dice.randrange(-50_00, 50_00)).scaleb(-2) if line.tax else Decimal(0)
    return replace(a_charge(line, rounded=Decimal(cents).scaleb(-2), tax_amount=tax), shared=shared)


def items_of(shape: Shape, booked: list[Charge], target: str, *, page: int = 50) -> list[OutboxItem]:
    """The items that the charges make, gathered a page at a time."""
    drafts = [
        draft
        for start in range(0, len(booked), page)
        for draft in shape.at_once(Booked(charges=booked[start : start + page]), known())
    ]
    return items_from(drafts, operator=OPERATOR, target=target)


def sums_of(booked: list[Charge]) -> dict[str, tuple[Decimal, Decimal]]:
    """What charges come to by currency: net and tax."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for charge in booked:
        inclusive = charge.line.tax is not None and charge.line.tax.inclusive
        net = charge.rounded - charge.tax_amount if inclusive else charge.rounded
        before = sums.get(charge.line.currency, (Decimal(0), Decimal(0)))
        sums[charge.line.currency] = (before[0] + net, before[1] + charge.tax_amount)
    return sums


def told_sums(made: list[OutboxItem]) -> dict[str, tuple[Decimal, Decimal]]:
    """What items of charges come to by batch: net and tax."""
    sums = {}
    for item in made:
        content = thawed(item.operation, item.payload)
        assert isinstance(content, ChargeBatch)
        sums[item.batch] = net_and_tax(msgspec.json.decode(charge) for charge in content.charges)
    return sums


def net_and_tax(told: Iterable[Mapping[str, Any]]) -> tuple[Decimal, Decimal]:
    """What charges come to, as the API gives them."""
    net = tax = Decimal(0)
    for charge in told:
        of_tax = charge["tax"] or {"amount": "0", "inclusive": False}
        net += Decimal(charge["rounded"]) - (Decimal(of_tax["amount"]) if of_tax["inclusive"] else 0)
        tax += Decimal(of_tax["amount"])
    return net, tax
