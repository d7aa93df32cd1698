"""What is asked of Stripe comes to our amounts, whatever tax Stripe computes; and what its errors make of an item."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from meter.export.contract import Barred, Outcome, Refused, Retry, Uncertain
from meter.export.payload import TaxOfLine
from meter.export.targets.stripe.amounts import Rate, major, minor, tax_on
from meter.export.targets.stripe.api import outcome_of_error
from meter.export.targets.stripe.held import Place, place_in
from meter.export.targets.stripe.wanted import Wanted, draft_name, note_params, parts_of, place_of, wanted_of
from meter.model.errors import BadInput
from tests.targets.cases.stripe import content, line
from tests.targets.contents import line as line_of
from tests.targets.fakes.stripe_items import taxes_on

CENTS = st.integers(-200_000, 200_000)
RATES = st.builds(
    Rate,
    id=st.just("txr_1"),
    fraction=st.integers(0, 3000).map(lambda n: Decimal(n).scaleb(-4)),
    inclusive=st.booleans(),
)


def wanted(rate: Rate | None, *, inclusive: bool = False) -> Wanted:
    tax = TaxOfLine(name="vat", rate=rate.fraction if rate else Decimal("0.19"), inclusive=inclusive)
    return wanted_of("b", b"{}", content(line(tax=tax)), rate)


def charged(amount: int, rate: Rate | None) -> int:
    """What the fake makes of a line: it has its own arithmetic."""
    if rate is None:
        return amount
    shown = {"id": rate.id, "percentage": rate.fraction * 100, "inclusive": rate.inclusive}
    taxes = taxes_on(amount, [shown])
    return amount + int(sum(tax["amount"] for tax in taxes if tax["tax_behavior"] == "exclusive"))


@given(net=CENTS, odd=st.integers(-3, 3), rate=st.none() | RATES)
def test_the_items_of_a_line_come_to_its_amount_and_tax(net: int, odd: int, rate: Rate | None) -> None:
    fraction = rate.fraction if rate else Decimal("0.19")
    tax = tax_on(net, Rate(id="", fraction=fraction, inclusive=False)) + odd
    parts = parts_of(wanted(rate, inclusive=rate is not None and rate.inclusive), net + tax, tax)
    assert sum(charged(part.amount, part.rate) for part in parts) == net + tax
    assert sum(part.gross for part in parts) == net + tax
    assert sum(part.tax for part in parts) == tax
    assert len(parts) <= 2


@given(net=st.integers(1, 200_000), odd=st.integers(-3, 3), rate=st.none() | RATES)
def test_a_credit_note_gives_back_the_amount_in_lines_above_nothing(net: int, odd: int, rate: Rate | None) -> None:
    fraction = rate.fraction if rate else Decimal("0.19")
    tax = max(0, tax_on(net, Rate(id="", fraction=fraction, inclusive=False)) + odd)
    of = wanted(rate, inclusive=rate is not None and rate.inclusive)
    note = note_params(of, "in_1", net + tax, tax, paid={})
    assert all(one["unit_amount"] > 0 for one in note["lines"])
    given_back = sum(charged(one["unit_amount"], rate if "tax_rates" in one else None) for one in note["lines"])
    assert given_back == net + tax
    assert note["metadata"]["meter_tax"] == str(-tax)


@pytest.mark.parametrize(
    ("amount", "currency", "units"),
    [("12.34", "EUR", 1234), ("-0.01", "USD", -1), ("500", "JPY", 500), ("500", "ISK", 50000), ("1.230", "KWD", 1230)],
)
def test_amounts_are_in_stripes_own_minor_units(amount: str, currency: str, units: int) -> None:
    assert minor(Decimal(amount), currency) == units
    assert major(units, currency) == Decimal(amount)


@pytest.mark.parametrize(("amount", "currency"), [("1.234", "KWD"), ("0.5", "JPY"), ("0.005", "EUR"), ("0.50", "MGA")])
def test_what_stripe_has_no_unit_for_is_refused(amount: str, currency: str) -> None:
    with pytest.raises(BadInput, match="steps of"):
        minor(Decimal(amount), currency)


@given(units=st.integers(-(10**6), 10**6), rate=RATES, currency=st.sampled_from(["ISK", "UGX", "KWD", "TND"]))
def test_no_part_has_a_last_digit_that_stripe_would_refuse(units: int, rate: Rate, currency: str) -> None:
    tax = TaxOfLine(name="vat", rate=rate.fraction, inclusive=rate.inclusive)
    step = 10 if currency in {"KWD", "TND"} else 100
    net = major(units * step, currency)
    owed = major(round(units * rate.fraction) * step, currency)
    gross = net + owed if rate.inclusive else net
    of = wanted_of("b", b"{}", content(line_of(gross, owed, tax=tax), currency=currency), rate)
    parts = parts_of(of, of.gross, of.tax)
    assert all(charged(part.amount, part.rate) % step == 0 for part in parts)
    assert sum(charged(part.amount, part.rate) for part in parts) == of.gross


@pytest.mark.parametrize(
    "place",
    [
        Place(invoice="in_1", item="ii_2"),
        Place(invoice="in_1", item="ii_2", tax="ii_3"),
        Place(invoice=None, item="ii_2", tax="ii_3"),
        Place(invoice="in_1", item="cn_2", whole=False),
    ],
)
def test_a_place_is_read_from_its_remote_id(place: Place) -> None:
    assert place_in(place.text) == place


@pytest.mark.parametrize("text", [None, "", "~", "in_1/", "a/b/c"])
def test_what_is_no_place_is_none(text: str | None) -> None:
    assert place_in(text) is None


def test_a_credit_note_is_never_all_that_is_held() -> None:
    place = place_in("in_1/cn_2")
    assert place is not None
    assert not place.whole


@pytest.mark.parametrize("place", [1, 2, 12])
def test_drafts_of_an_invoice_are_told_apart_by_their_names(place: int) -> None:
    assert place_of(draft_name("20261130-A", place), "20261130-A") == place
    assert place_of(draft_name("20261130-B", place), "20261130-A") == 0


def error(
    status: int | None, kind: Any = stripe.APIError, code: str | None = None, **headers: str
) -> stripe.StripeError:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    made: stripe.StripeError = kind.__new__(kind)
    stripe.StripeError.__init__(made, "It failed.", http_status=status, headers=given, code=code)
    return made


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (error(None), Uncertain("")),
        (error(200), Uncertain("")),
        (error(500), Uncertain("", answered=True)),
        (error(500, stripe_should_retry="false"), Uncertain("", answered=True)),
        (error(500, stripe_should_retry="true"), Uncertain("")),
        (error(500, stripe_should_retry="true", idempotent_replayed="true"), Uncertain("", answered=True)),
        (error(429, stripe.RateLimitError, retry_after="7"), Retry("", after_s=7.0, throttled=True)),
        (error(429, stripe.InvalidRequestError, "lock_timeout"), Retry("")),
        (error(409, stripe.IdempotencyError), Retry("")),
        (error(400, stripe.IdempotencyError), Uncertain("", answered=True)),
        (error(400, stripe.InvalidRequestError, stripe_should_retry="true"), Retry("")),
        (error(400, stripe.InvalidRequestError), Refused("")),
        (error(401, stripe.AuthenticationError), Barred("", "")),
        (error(403, stripe.PermissionError), Barred("", "")),
        (error(402, stripe.CardError), Refused("")),
        (error(404, stripe.InvalidRequestError), Refused("")),
    ],
)
def test_each_error_makes_of_an_item_what_is_certain(given: stripe.StripeError, expected: Outcome) -> None:
    outcome = outcome_of_error(given)
    assert type(outcome) is type(expected)
    for name in ("answered", "throttled", "after_s"):
        assert getattr(outcome, name, None) == getattr(expected, name, None)
    assert "It failed." in getattr(outcome, "reason", "")
