"""Every kind of request that the Xero target sends fits Xero's document."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from meter.export.contract import Absent, Delivered
from meter.export.targets.spec import Means, Mode
from meter.export.targets.xero.documents import body_of, entity_of
from meter.export.targets.xero.exporter import XeroTarget, document_of
from meter.export.targets.xero.rules import Rules
from meter.store.engine import Database
from meter.store.outbox import OutboxItem
from meter.telemetry import Telemetry
from tests.contract.judged import Asked, ContractServer
from tests.specs import spec
from tests.targets.cases.xero import (
    fake,
    invoice,
    invoices,
    item,
    journal,
    journals,
    line,
    number_of,
    open_unhurried,
    setup,
)
from tests.targets.fakes.xero import FakeXero

_ENCODER = msgspec.json.Encoder(decimal_format="number")
Open = Callable[..., XeroTarget]


@pytest.fixture
async def xero(xero_contract: ContractServer) -> AsyncIterator[FakeXero]:
    """A fake that refuses what Xero's document does not allow."""
    violations: list[str] = []

    def check(call: Asked) -> str | None:
        wrong = xero_contract.check(call)
        violations.extend([] if wrong is None else [f"{call.method} {call.path}: {wrong}"])
        return wrong

    async with fake(check_request=check) as made:
        yield made
    xero_contract.assert_accepted()
    assert not violations


@pytest.fixture
async def opened(xero: FakeXero, database: Database) -> AsyncIterator[Open]:
    """The target; Prism takes its time."""
    async with AsyncExitStack() as stack:

        def open_(mode: Mode, **options: Any) -> XeroTarget:
            means = Means(database=database, telemetry=Telemetry())
            target = open_unhurried(setup(xero.url, mode, **options), means, timeout_s=60.0)
            stack.push_async_callback(target.close)
            return target

        yield open_


OPTIONS: list[tuple[Mode, dict[str, Any]]] = [
    ("journals", {}),
    ("journals", {"status": "draft", "tracking": "", "url": "https://meter.example"}),
    ("journals", {"create_tracking": True, "tracking": "Place"}),
    ("invoices", {}),
    ("invoices", {"status": "draft", "tracking": "", "url": "https://meter.example"}),
]


@pytest.mark.parametrize(("mode", "options"), OPTIONS)
async def test_every_request_fits(opened: Open, mode: Mode, options: dict[str, Any]) -> None:
    target = opened(mode, **options)
    await target.check()
    made: dict[Mode, Any] = {
        "journals": [journal(), journal(site="hamburg"), journal(part=2, narration='a "b", größe')],
        "invoices": [
            invoice(line("10.00"), line("0.37", billable=Decimal("0.017"), tax=None), line("9.99", item="USE")),
            invoice(line("-5.00"), line("1.00", billable=Decimal(0)), part=3, credits=number_of(0)),
        ],
    }
    for sent in map(item, made[mode]):
        assert await target.look_up([sent]) == [Absent()]
        [outcome] = await target.send([sent])
        assert isinstance(outcome, Delivered), outcome
        assert await target.look_up([sent]) == [outcome]
    held = [one async for one in target.holdings(date(2026, 11, 1), date(2026, 12, 1))]
    assert [(one.batch, one.figures) for one in held] == [
        (sent.batch, target.figures(sent)) for sent in map(item, made[mode])
    ]


@pytest.mark.parametrize("sent", [journals(60, 3), invoices(60, 3)], ids=["journals", "invoices"])
def test_whatever_is_booked_fits(sent: list[OutboxItem]) -> None:
    document = spec("xero")
    for one in sent:
        content = document_of(one)
        entity = entity_of(content)
        body = {entity: [body_of(content, one.batch, Rules(sales={"*": "200"}))]}
        document.validate(json.loads(_ENCODER.encode(body)), entity)
