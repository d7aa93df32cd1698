"""Amounts as Stripe has them: integers of its own minor units."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from meter.model.money import EXACT

# docs.stripe.com/currencies, November 2026: not ISO 4217's. ISK and UGX have two places that are always 00.
_NO_PLACES: Final = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split())
THREE_PLACES: Final = frozenset("BHD JOD KWD OMR TND".split())
# Their last digits are always 0: a tax that Stripe computes itself would have others, which it refuses.
COARSE: Final = THREE_PLACES | {"ISK", "UGX"}


def places(currency: str) -> int:
    """Return the decimal places of Stripe's minor unit."""
    return 0 if currency in _NO_PLACES else 3 if currency in THREE_PLACES else 2


def major(units: int, currency: str) -> Decimal:
    """Return an amount of Stripe's minor units."""
    return Decimal(units).scaleb(-places(currency), context=EXACT)
