"""Charges to a statement, in one go."""

from __future__ import annotations

from collections.abc import Iterable

from meter.model.charge import Charge
from meter.rating.statement import Statement, StatementSums


def statement_of(charges: Iterable[Charge]) -> Statement:
    """Return the statement that charges of one account and one invoice period make."""
    sums = StatementSums()
    for charge in charges:
        sums.add(charge)
    return sums.statement()
