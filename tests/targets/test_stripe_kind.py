"""What the kind `stripe` makes of charges and of its settings."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from meter.export.payload import LineItem, PeriodClosed
from meter.export.targets.stripe import STRIPE
from meter.export.targets.stripe.api import endpoint_of
from meter.model.charge import LineTax
from tests.booked import MARCH, a_charge, a_line
from tests.export.gathering import Desk, account, contents, customers, known
from tests.targets.cases.stripe import VAT, setup

FACTS = known(account(stripe="cus_1"))


def desk(**options: Any) -> Desk:
    return Desk(STRIPE.shape(replace(setup("http://127.0.0.1", **options), customers=customers())))


def test_a_days_line_grows_in_place_and_ends_with_a_notice() -> None:
    made = desk()
    vat = LineTax(name="vat19", rate=Decimal("0.19"), inclusive=False)
    invoices = set()
    for n in range(2):
        charge = a_charge(a_line(n, tax=vat), rounded=Decimal("0.50"), tax_amount=Decimal("0.10"))
        assert made.put([charge], FACTS) == []
        [line] = contents(made.due(FACTS))
        assert isinstance(line, LineItem)
        assert line.line.tax is not None
        assert (line.customer, line.line.tax.code, line.line.charges) == ("cus_1", VAT, n + 1)
        assert line.line.net == Decimal("0.50") * (n + 1)
        invoices.add(line.invoice)
    [notice] = contents(made.due(FACTS, closed=[("acme", MARCH.start)]))
    assert isinstance(notice, PeriodClosed)
    assert {notice.invoice} == invoices


def test_a_tax_that_no_rate_is_named_for_waits_for_one_unless_taxes_are_lines() -> None:
    vat = LineTax(name="vat21", rate=Decimal("0.21"), inclusive=False)
    charge = a_charge(a_line(tax=vat), rounded=Decimal("0.50"), tax_amount=Decimal("0.11"))
    for tax, unmet in (("rates", True), ("lines", False)):
        made = desk(tax=tax)
        made.put([charge], FACTS)
        [draft] = made.due(FACTS)
        assert (draft.unmet is not None) is unmet


@pytest.mark.parametrize("options", [{"terms_days": -1}, {"tax_codes": {"vat19": "19"}}])
def test_options_that_stripe_would_not_know_are_faults(options: dict[str, Any]) -> None:
    given = setup("http://127.0.0.1")
    assert STRIPE.faults(given) == []
    assert len(STRIPE.faults(replace(given, options={**given.options, **options}))) == 1


@pytest.mark.parametrize(
    ("method", "path", "endpoint"),
    [
        ("post", "/v1/invoiceitems", "POST invoiceitems"),
        ("POST", "/v1/invoiceitems/ii_1", "POST invoiceitems/{id}"),
        ("get", "/v1/invoices?customer=cus_1&limit=100", "GET invoices"),
        ("get", "/v1/invoices/in_1/lines?limit=100", "GET invoices/{id}/lines"),
        ("post", "/v1/invoices/in_1/finalize", "POST invoices/{id}/finalize"),
    ],
)
def test_requests_for_one_operation_count_together_whichever_object_they_are_of(
    method: str, path: str, endpoint: str
) -> None:
    assert endpoint_of(method, path) == endpoint
