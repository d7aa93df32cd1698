"""Every kind of request that the Square target sends fits Square's document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import date
from typing import Any

import pytest

from meter.export.contract import Delivered, Refused
from meter.export.http import TIMEOUT_S
from meter.export.targets.spec import Means
from meter.export.targets.square.exporter import SquareTarget
from meter.store.engine import Database
from meter.store.outbox import OutboxItem, revised
from meter.telemetry import Telemetry
from tests.contract.judged import Asked, ContractServer
from tests.targets.cases.square import (
    INCLUSIVE,
    customer_of,
    fake,
    invoice,
    item,
    line,
    open_unhurried,
    setup,
    taking_back,
)
from tests.targets.fakes.square import FakeSquare


@pytest.fixture
async def square(square_contract: ContractServer) -> AsyncIterator[FakeSquare]:
    """A fake that refuses what Square's document does not allow."""
    violations: list[str] = []

    def check(call: Asked) -> str | None:
        wrong = square_contract.check(call)
        violations.extend([] if wrong is None else [f"{call.method} {call.path}: {wrong}"])
        return wrong

    async with fake(check_request=check) as made:
        yield made
    assert made.requests
    assert not violations


CASES: list[dict[str, Any]] = [
    {},
    {"publish": True, "refunds": True, "delivery": "SHARE_MANUALLY", "payments": ["card", "bank_account"]},
    {"tax": "lines", "terms_days": 0},
]


@pytest.fixture
async def make(square: FakeSquare, database: Database) -> AsyncIterator[Callable[..., SquareTarget]]:
    async with AsyncExitStack() as stack:

        def made(**options: Any) -> SquareTarget:
            means = Means(database=database, telemetry=Telemetry())
            target = open_unhurried(setup(square.url, **options), means, timeout_s=TIMEOUT_S)
            stack.push_async_callback(target.close)
            return target

        yield made


async def delivered(target: SquareTarget, what: OutboxItem) -> None:
    [outcome] = await target.send([what])
    assert isinstance(outcome, Delivered), outcome
    assert await target.look_up([what]) == [outcome]


@pytest.mark.parametrize("options", CASES)
async def test_every_request_for_invoices_fits(make: Callable[..., SquareTarget], options: dict[str, Any]) -> None:
    target = make(**options)
    await target.check()
    mixed = (line("100.00"), line("10.70", tax=INCLUSIVE), line("-3.00"), line("1.00", odd=1), line("2.00", tax=None))
    sold = [invoice(line("10.00"), customer=0), invoice(*mixed, customer=1), invoice(line("9.99"), customer=2)]
    sold += [invoice(line("1200", tax=None, currency="JPY"), customer=3, currency="JPY")]
    for one in (*sold, taking_back(sold[1], 2)):
        await delivered(target, item(one))
    assert [one async for one in target.holdings(date(2026, 10, 1), date(2026, 11, 1))]


async def test_refunds_fit(square: FakeSquare, make: Callable[..., SquareTarget]) -> None:
    target, sold = make(publish=True, refunds=True), invoice()
    await delivered(target, item(sold))
    [made] = square.invoices
    square.pay(made)
    await delivered(target, item(invoice(line("-4.00"), part=2, credits=sold.number)))
    assert square.refunds


async def test_an_order_that_is_cancelled_fits(square: FakeSquare, make: Callable[..., SquareTarget]) -> None:
    square.customers.clear()
    assert isinstance((await make().send([item(invoice())]))[0], Refused)
    square.add_customer(customer_of(0))
    await delivered(make(), revised(item(invoice(line("11.00"))), 1))
    assert square.calls("PUT", "/v2/orders/")
