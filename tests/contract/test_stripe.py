"""Every kind of request that the Stripe targets send fits Stripe's document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from meter.export.contract import Delivered
from meter.export.targets.stripe import exporter
from meter.export.targets.stripe.exporter import StripeTarget
from tests.contract.judged import Asked, ContractServer
from tests.targets.cases.stripe import OCTOBER, TAXES, content, fake, item, line, notice, setup
from tests.targets.fakes.stripe import FakeStripe


@pytest.fixture
async def stripe(stripe_contract: ContractServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeStripe]:
    """A fake that refuses what Stripe's document does not allow."""
    monkeypatch.setattr(exporter, "LIMITS", replace(exporter.LIMITS, rate_per_s=None))
    violations: list[str] = []

    def check(call: Asked) -> str | None:
        wrong = stripe_contract.check(call)
        violations.extend([] if wrong is None else [wrong])
        return wrong

    async with fake(check_request=check) as made:
        yield made
    assert made.requests
    assert not violations


@pytest.mark.parametrize("tax", ["rates", "lines"])
@pytest.mark.parametrize("invoices", ["draft", "finalize", "none"])
@pytest.mark.parametrize("collection", ["charge_automatically", "send_invoice"])
async def test_every_request_for_lines_fits(stripe: FakeStripe, tax: str, invoices: str, collection: str) -> None:
    target = StripeTarget(setup(stripe.url, tax=tax, invoices=invoices, collection=collection))
    await target.check()
    places: dict[str, str | None] = {}
    for step, made in enumerate(
        [
            item("a", content(line("10.00", tax=TAXES[1], odd=1), start=OCTOBER)),
            item("a", content(line("11.00", tax=TAXES[1], odd=-1), start=OCTOBER), 1),
            item("b", content(line("4.00", tax=TAXES[2]), start=OCTOBER)),
            item("closed", notice(start=OCTOBER)),
            item("a", content(line("6.00", tax=TAXES[1], odd=1), start=OCTOBER), 2),
            item("b", content(line("5.00", tax=TAXES[2], charge="ch_1", day=line().day), start=OCTOBER), 1),
            item("c", content(line("-1.00", tax=TAXES[1], adjusts=OCTOBER))),
        ]
    ):
        if step == 5:
            for invoice in stripe.invoices.objects.values():
                if invoice["status"] == "open":
                    stripe.pay(invoice["id"])
        [outcome] = await target.send([replace(made, known_id=places.get(made.batch))])
        assert isinstance(outcome, Delivered), outcome
        places[made.batch] = outcome.remote_id
        [found] = await target.look_up([replace(made, known_id=outcome.remote_id)])
        assert isinstance(found, Delivered)
    assert [one async for one in target.holdings(OCTOBER.date(), notice().end.date())]
    await target.close()
