"""Amounts as Stripe has them: integers of its own minor units, and the tax that it computes on them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec

from meter.export.targets.reading import number_of, word_of
from meter.model.errors import BadInput
from meter.model.money import EXACT, ONE
from meter.sources.billing.currency import THREE_PLACES, major, places

__all__ = ["Rate", "major", "minor", "rate_of", "tax_on"]


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A tax rate of Stripe's: `fraction` of the net amount, inside the amount or on top of it."""

    id: str
    fraction: Decimal
    inclusive: bool


def minor(amount: Decimal, currency: str) -> int:
    """Return an amount in Stripe's minor units. Raises BadInput (`bad_amount`) where it has none such."""
    scaled = amount.scaleb(places(currency), context=EXACT)
    # Three-decimal currencies end in 0 at Stripe.
    if scaled != scaled.to_integral_value() or (currency in THREE_PLACES and scaled % 10):
        step = Decimal(10 if currency in THREE_PLACES else 1).scaleb(-places(currency))
        message = (
            f"{amount:f} {currency} has more places than Stripe takes: steps of {step:f}; "
            "bill this account through another target"
        )
        raise BadInput(message, code="bad_amount")
    return int(scaled)


def tax_on(amount: int, rate: Rate | None) -> int:
    """Return the tax that Stripe computes on a line of `amount`: each line by itself, half away from zero.

    With an inclusive rate it is the part of `amount` that is tax.
    """
    if rate is None:
        return 0
    taxable = Decimal(amount)
    if rate.inclusive:
        taxable = EXACT.divide(taxable, ONE + rate.fraction)
    return int((taxable * rate.fraction).quantize(ONE, rounding=ROUND_HALF_UP, context=EXACT))


def rate_of(given: Mapping[str, Any]) -> Rate:
    """Return a tax rate as Stripe gives it. Its percentage comes as a JSON number of at most four places.

    Raises Unreadable.
    """
    fraction = number_of(given, "percentage").scaleb(-2, context=EXACT)
    return Rate(id=word_of(given, "id"), fraction=fraction, inclusive=bool(given.get("inclusive")))
