"""Numbers of the second rater: fractions throughout, rounded only where the rules say so."""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

Doc = dict[str, Any]
ZERO = Fraction(0)
# What a grant must be in to be money. The scenarios use no other.
CURRENCIES = {"EUR", "USD", "JPY"}
PLACES = {"EUR": 2, "USD": 2, "JPY": 0}
SECONDS = {"second": 1, "minute": 60, "hour": 3600}
_WIDE = Context(prec=120)


def number(value: Any) -> Fraction | None:
    """The number that JSON says, as a number or as a decimal string."""
    if value is None or isinstance(value, bool | dict | list):
        return None
    try:
        return Fraction(Decimal(str(value)))
    except (InvalidOperation, ValueError, OverflowError):
        return None


def exact(value: Any) -> Fraction:
    """A number of the catalog."""
    found = number(value)
    assert found is not None, value
    return found


def rounded(value: Fraction, places: int) -> Fraction:
    """Half away from zero."""
    shifted = abs(value) * 10**places
    whole = (2 * shifted.numerator + shifted.denominator) // (2 * shifted.denominator)
    return Fraction(whole if value >= 0 else -whole, 10**places)


def cut(value: Fraction, places: int) -> Fraction:
    """Towards zero."""
    shifted = abs(value) * 10**places
    whole = shifted.numerator // shifted.denominator
    return Fraction(whole if value >= 0 else -whole, 10**places)


def decimal(value: Fraction) -> Decimal:
    """The same number, as it is compared."""
    return _WIDE.divide(Decimal(value.numerator), Decimal(value.denominator))


def equal(left: Any, right: Any) -> bool:
    """Equal JSON values: numbers by value, true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)
