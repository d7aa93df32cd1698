"""What OfficeRnD is sent: fees of companies or members."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from meter.export.targets.spaces.officernd import OfficeRnD
from meter.rating.calendar import DEPOSIT
from tests.targets.cases.spaces import BERLIN, content, customer, line
from tests.targets.spaces.given import BATCH, sent, vendor_of


def test_officernd_gets_a_price_and_an_instant() -> None:
    post = vendor_of("officernd").post(content(line(item="plan-1")), BATCH)
    assert post.path == "/api/v2/organizations/north/fees"
    assert post.body == {
        "name": f"Print pages, Berlin Mitte, 2026-11-02: 34 pages, 4 covered by credit [meter:{BATCH}]",
        "price": Decimal("10.00"),
        "quantity": 1,
        "issueDate": "2026-11-02T17:00:00Z",
        "location": BERLIN,
        "company": customer(0),
        "plan": "plan-1",
    }


@pytest.mark.parametrize(
    ("given", "whose", "personal"),
    [
        ("5f3c", "company", None),
        ("company:5f3c", "company", None),
        ("member:5f3c", "member", True),  # else the member's company would be billed
    ],
)
def test_an_officernd_customer_is_a_company_or_a_member(given: str, whose: str, personal: Any) -> None:
    body = sent(vendor_of("officernd"), content(line(), customer=given))
    assert (body[whose], body.get("isPersonal")) == ("5f3c", personal)


def test_officernd_keeps_the_reference_where_it_is_told_to() -> None:
    sourced = OfficeRnD(rules=vendor_of("officernd").rules, slug="north", locations={"*": "1"}, sourced=True)
    body = sent(sourced, content(line()))
    assert "meter:" not in body["name"]
    assert body["source"] == f"[meter:{BATCH}]"


def test_a_deposit_can_be_refunded_at_officernd() -> None:
    assert sent(vendor_of("officernd"), content(line(meter=DEPOSIT, tax=None)))["refundable"] is True
    assert "refundable" not in sent(vendor_of("officernd"), content(line()))
