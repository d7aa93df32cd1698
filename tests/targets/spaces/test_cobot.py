"""What Cobot is sent: net amounts with the rate of their tax, and the tax that it computes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace as with_
from structlog.testing import capture_logs

from meter.model.errors import BadInput
from tests.targets.cases.spaces import COBOT_CASE, INCLUSIVE, VAT, content, item, line
from tests.targets.spaces.given import BATCH, NO_TAX_RATE, Make, sent, vendor_of


def test_cobot_adds_the_tax_by_the_lines_rate() -> None:
    post = vendor_of("cobot").post(content(line(item="8400")), BATCH)
    assert post.path == "/api/memberships/1000/charges"
    assert post.body == {
        "description": f"Print pages, Berlin Mitte, 2026-11-02: 34 pages, 4 covered by credit [meter:{BATCH}]",
        "amount": "10",
        "quantity": "1.0",
        "tax_rate": "19",
        "charged_at": "2026/11/02",
        "accounting_code": "8400",
    }


@pytest.mark.parametrize(
    ("given", "amount", "rate"),
    [
        (line("10.55"), "10.55", "19"),
        (line("10.55", tax=None), "10.55", "0.0"),  # without it the space's own rate would be added
        (line("10.55", tax=INCLUSIVE), "10.55", "19"),
        (line("-10.55"), "-10.55", "19"),
        (line("1E+3", tax=with_(VAT, rate=Decimal("0.077"))), "1000", "7.7"),
    ],
)
def test_cobot_gets_net_amounts(given: Any, amount: str, rate: str) -> None:
    body = sent(vendor_of("cobot"), content(given))
    assert (body["amount"], body["tax_rate"]) == (amount, rate)
    assert "accounting_code" not in body


def test_cobot_is_not_sent_a_tax_without_a_rate() -> None:
    with pytest.raises(BadInput, match="has no rate"):
        vendor_of("cobot").post(content(line(tax=NO_TAX_RATE)), BATCH)


async def test_cobot_computes_our_tax(make: Make) -> None:
    vendor, target = await make(COBOT_CASE)
    await target.send([item(content(line("10.03"))), item(content(line("10.03", tax=None)), "other")])
    assert [round(one.tax, 2) for one in vendor.books()] == [Decimal("1.91"), 0]


async def test_where_the_vendors_tax_will_be_another_it_is_said(make: Make) -> None:
    _, target = await make(COBOT_CASE)
    odd = with_(line("10.03"), tax_amount=Decimal("1.92"))
    with capture_logs() as logs:
        await target.send([item(content(odd)), item(content(line("10.03"), number=1), "other")])
    [said] = [one for one in logs if one["event"] == "charge_tax_differs"]
    assert (said["ours"], said["theirs"]) == ("1.92", "1.91")
