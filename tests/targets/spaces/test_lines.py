"""What every booking system is sent of a line, and what none is."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace as with_

from meter.export.targets.books import batch_in
from meter.export.targets.spaces.charges import TEXT_CHARS_MAX, Vendor
from meter.export.targets.spaces.nexudus import Nexudus
from meter.export.targets.spaces.officernd import OfficeRnD
from meter.model.errors import BadInput
from meter.model.period import DaySpan
from meter.store.engine import encode_json
from tests.targets.cases.spaces import INCLUSIVE, KINDS, content, line
from tests.targets.spaces.given import BATCH, NO_TAX_RATE, sent, vendor_of


def test_a_line_of_a_period_is_dated_by_its_last_event() -> None:
    last, november = datetime(2026, 11, 28, 23, tzinfo=UTC), DaySpan(date(2026, 11, 1), date(2026, 11, 30))
    given = content(with_(line(), days=november, day=date(2026, 11, 29), last=last))
    assert sent(vendor_of("cobot"), given)["charged_at"] == "2026/11/29"  # the account's day, not that of UTC
    assert sent(vendor_of("officernd"), given)["issueDate"] == "2026-11-28T23:00:00Z"


@pytest.mark.parametrize("net", ["0.1", "0.30", "1E+3", "12345678901234.56", "-19.99"])
@pytest.mark.parametrize("kind", ["officernd", "nexudus"])
def test_a_price_is_a_number_digit_for_digit(kind: str, net: str) -> None:
    text = encode_json(vendor_of(kind).post(content(line(net)), BATCH).body)
    name = "price" if kind == "officernd" else "TotalAmount"
    assert f'"{name}":{Decimal(net):f},' in text


@pytest.mark.parametrize("kind", ["officernd", "nexudus"])
def test_prices_with_tax_are_sent_where_the_vendor_takes_them_so(kind: str) -> None:
    for given in (line("10.00"), line("10.00", tax=INCLUSIVE)):
        body = sent(vendor_of(kind, prices="gross"), content(given))
        assert body.get("price", body.get("TotalAmount")) == Decimal("11.90")


@pytest.mark.parametrize(("kind", "option"), [("officernd", "options.locations"), ("nexudus", "options.businesses")])
def test_a_site_that_nothing_names_is_said(kind: str, option: str) -> None:
    rules = vendor_of(kind).rules
    only = {"hamburg": "1"}
    vendor: Vendor = (
        OfficeRnD(rules=rules, slug="n", locations=only)
        if kind == "officernd"
        else Nexudus(rules=rules, businesses=only)
    )
    with pytest.raises(BadInput, match=option):
        vendor.post(content(line()), BATCH)


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_text_keeps_the_name_of_the_batch(kind: str) -> None:
    body = sent(vendor_of(kind), content(line(name="x" * 400)))
    text = body.get("description") or body.get("name") or body.get("Description")
    assert len(text) == TEXT_CHARS_MAX
    assert batch_in(text) == BATCH


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"currency": "USD"}, "options.currency"),
        ({"customer": "../../admin"}, "no id of"),
        ({"customer": ""}, "no id of"),
        ({"line": line("-1.00")}, "credit it there by hand"),
    ],
)
def test_what_no_charge_can_say_is_refused_with_what_to_do(kind: str, changes: dict[str, Any], words: str) -> None:
    vendor = vendor_of(kind, credits="refuse")
    vendor.checked(content(line()))
    with pytest.raises(BadInput, match=words):
        vendor.checked(with_(content(line()), **changes))


@pytest.mark.parametrize(("kind", "default"), [("cobot", True), ("officernd", False), ("nexudus", False)])
def test_credits_are_sent_by_default_where_the_vendor_documents_them(kind: str, default: Any) -> None:
    assert (KINDS[kind].options["credits"].default == "send") is default
    vendor_of(kind, credits="send").checked(content(line("-1.00")))


@pytest.mark.parametrize(
    ("given", "gross", "tax"),
    [
        (line("10.03"), False, "1.91"),
        (line("10.03"), True, "1.91"),
        (line("10.03", tax=None), False, "0"),
        (line("10.03", tax=NO_TAX_RATE), False, None),
    ],
)
def test_the_tax_that_a_vendor_will_compute(given: Any, gross: Any, tax: str | None) -> None:
    vendor = vendor_of("nexudus", prices="gross" if gross else "net")
    assert vendor.tax(given) == (None if tax is None else Decimal(tax))
