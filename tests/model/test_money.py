from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.errors import BadInput
from meter.model.money import (
    DIGITS_MAX,
    EXACT,
    cut_quantity,
    is_currency,
    minor_unit_places,
    parse_decimal,
    plain,
    round_amount,
    round_quantity,
    rounded_minor,
)

D = Decimal


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("1.005", "EUR", "1.01"),
        ("-1.005", "EUR", "-1.01"),
        ("1.0049", "EUR", "1.00"),
        ("0.5", "JPY", "1"),
        ("-0.5", "JPY", "-1"),
        ("1.0005", "KWD", "1.001"),
        ("2.675", "USD", "2.68"),
    ],
)
def test_half_a_minor_unit_goes_away_from_0(amount: str, currency: str, expected: str) -> None:
    rounded = rounded_minor(D(amount), currency)
    assert str(rounded) == expected


def test_minor_units() -> None:
    assert [minor_unit_places(c) for c in ("EUR", "JPY", "KWD", "CLF", "ISK")] == [2, 0, 3, 4, 0]


def test_amounts_have_12_places_and_quantities_6() -> None:
    assert round_amount(D("0.0000000000005")) == D("0.000000000001")
    assert round_amount(D("-0.0000000000005")) == D("-0.000000000001")
    assert round_quantity(D("33.3333335")) == D("33.333334")
    assert cut_quantity(D("33.3333339")) == D("33.333333")
    assert cut_quantity(D("-33.3333339")) == D("-33.333333")


def test_rounding_does_not_depend_on_the_context_of_the_caller() -> None:
    with localcontext() as context:
        context.prec = 5
        context.rounding = "ROUND_DOWN"
        assert rounded_minor(D("1234567.895"), "EUR") == D("1234567.90")
        assert round_amount(D("123456.0000000000005")) == D("123456.000000000001")


def test_a_product_of_the_longest_numbers_is_exact() -> None:
    longest = D("9" * DIGITS_MAX + "." + "9" * DIGITS_MAX)
    whole = int("9" * 2 * DIGITS_MAX)
    assert EXACT.multiply(longest, longest) == D((0, tuple(map(int, str(whole * whole))), -2 * DIGITS_MAX))


def test_currencies_are_told_from_units() -> None:
    assert all(map(is_currency, ["EUR", "USD", "JPY", "CHF", "ZWG"]))
    assert not any(map(is_currency, ["page", "GB", "day", "credit", "eur", "GPU", "KWH"]))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("1E+3", "1000"),
        ("1.500", "1.5"),
        ("-0.00", "0"),
        ("-0", "0"),
        ("0E-12", "0"),
        ("100", "100"),
        ("-2.50", "-2.5"),
    ],
)
def test_numbers_leave_without_exponent_and_trailing_zeros(number: str, expected: str) -> None:
    assert plain(D(number)) == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**17), max_value=10**17, places=9))
def test_numbers_come_back_as_they_left(number: Decimal) -> None:
    assert parse_decimal(plain(number), what="n") == number


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-inf", "1_000", "", "many", "1,5", "٣", "1e18", "1e-19", True, "0x10"]
)
def test_what_is_no_number_that_is_kept_is_refused(text: str | bool) -> None:  # noqa: FBT001 -- a table's column
    with pytest.raises(BadInput) as caught:
        parse_decimal(text, what="price")
    assert caught.value.code == "bad_number"
    assert "price" in caught.value.detail


def test_the_longest_numbers_are_kept() -> None:
    assert parse_decimal("9" * 18 + "." + "9" * 18, what="n") == D("9" * 18 + "." + "9" * 18)
    assert parse_decimal(5, what="n") == 5
    assert parse_decimal(D("1e17"), what="n") == 10**17
