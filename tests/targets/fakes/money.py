"""Amounts in minor units, in major ones. Apart from the gateway's own table, so that it is held against another."""

from __future__ import annotations

from decimal import Decimal

# Two minor digits are the rule; these have none, or three (docs.stripe.com/currencies).
_WHOLE = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())
_THOUSANDTHS = frozenset("bhd jod kwd omr tnd".split())


def major(amount: int, currency: str) -> Decimal:
    """Return an amount in minor units in major ones."""
    code = currency.lower()
    return Decimal(amount) if code in _WHOLE else Decimal(amount).scaleb(-3 if code in _THOUSANDTHS else -2)
