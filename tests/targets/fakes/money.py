"""Amounts in minor units, in major ones. Apart from the gateway's own table, so that it is held against another."""

from __future__ import annotations

from decimal import Decimal

# Two minor digits are the rule; these have none (docs.stripe.com/currencies).
_WHOLE = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf".split())


def major(amount: int, currency: str) -> Decimal:
    """Return an amount in minor units in major ones."""
    return Decimal(amount) if currency.lower() in _WHOLE else Decimal(amount).scaleb(-2)
