"""What Nexudus is sent: charges or products, with the rate that is named."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace as with_

from meter.export.contract import Absent, Retry, Untried
from meter.export.targets.books import batch_in
from meter.export.targets.spaces.nexudus import Nexudus
from meter.model.errors import BadInput
from tests.export.clocks import VirtualClock
from tests.targets.cases.spaces import BERLIN, NEXUDUS_CASE, NO_RATE, PRODUCT, VAT, content, line
from tests.targets.driving import one
from tests.targets.fakes.http import Answer as FakeAnswer
from tests.targets.fakes.http import Call
from tests.targets.fakes.spaces import FakeNexudus
from tests.targets.spaces.given import BATCH, Make, vendor_of


def test_nexudus_gets_a_charge_with_its_tax_rate() -> None:
    vendor = Nexudus(
        rules=vendor_of("nexudus").rules, businesses={"*": BERLIN}, taxes_named=True, financial_accounts={"*": "9"}
    )
    post = vendor.post(content(line()), BATCH)
    assert post.path == "/api/billing/charges"
    said = "Print pages, Berlin Mitte, 2026-11-02: 34 pages, 4 covered by credit"
    assert post.body == {
        "CoworkerId": 1000,
        "BusinessId": 101,
        "Quantity": 1,
        "DiscountAmount": 0,
        "CreditAmount": 0,
        "SaleDate": "2026-11-02T17:00:00Z",
        "TotalAmount": Decimal("10.00"),
        "Description": f"{said} [meter:{BATCH}]",
        "InvoiceLineDisplayAs": said,
        "RegularCharge": False,
        "TaxRateId": 201,
        "FinancialAccountId": 9,
    }


def test_nexudus_may_sell_a_product_instead() -> None:
    vendor = Nexudus(rules=vendor_of("nexudus").rules, businesses={"*": BERLIN}, entity="coworkerproducts")
    post = vendor.post(content(line(item=PRODUCT)), BATCH)
    assert post.path == "/api/billing/coworkerproducts"
    assert (post.body["ProductId"], post.body["Price"], post.body["InvoiceThisCoworker"]) == (301, Decimal(10), False)
    assert batch_in(post.body["Notes"]) == BATCH
    assert not {"TaxRateId", "TotalAmount", "Description"} & post.body.keys()


@pytest.mark.parametrize(
    ("named", "untaxed", "given", "found"),
    [
        (True, NO_RATE, line(tax=None), 202),
        (True, NO_RATE, line(), 201),
        (False, None, line(tax=with_(VAT, code=None)), None),
        (False, None, line(tax=None), None),
    ],
)
def test_nexudus_adds_the_rate_that_is_named(named: Any, untaxed: str | None, given: Any, found: int | None) -> None:
    vendor = Nexudus(rules=vendor_of("nexudus").rules, businesses={"*": BERLIN}, taxes_named=named, untaxed=untaxed)
    assert vendor.post(content(given), BATCH).body.get("TaxRateId") == found


def test_nexudus_is_not_left_to_tax_what_has_no_tax() -> None:
    vendor = Nexudus(rules=vendor_of("nexudus").rules, businesses={"*": BERLIN}, taxes_named=True)
    with pytest.raises(BadInput, match="0 % as 'none'"):
        vendor.post(content(line(tax=None)), BATCH)


def test_nexudus_ids_are_numbers() -> None:
    with pytest.raises(BadInput, match="digits only"):
        vendor_of("nexudus").post(content(line(), customer="cow-1"), BATCH)


class Busy(FakeNexudus):
    """Asked too often, but for a token."""

    def _create(self, _call: Call) -> FakeAnswer:
        return FakeAnswer(status=409, headers={"Retry-After": "60"})


async def test_nexudus_says_409_where_others_say_429(make: Make) -> None:
    clock = VirtualClock()
    vendor, target = await make(NEXUDUS_CASE, Busy(), clock)
    made = NEXUDUS_CASE.items(2, 1)
    outcome = (await target.send(made))[0]
    assert outcome == Retry("Nexudus was asked too often", after_s=60.0, throttled=True)
    asked = len(vendor.requests)
    assert isinstance(await one(target.look_up(made[:1])), Untried)
    assert len(vendor.requests) == asked
    clock.moment_s += 61
    assert isinstance(await one(target.look_up(made[:1])), Absent)
