"""Double entry: every charge becomes one balanced entry (docs/ledger.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from meter.model.errors import Broken
from meter.model.money import ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One leg: `amount` in the entry's currency, debit positive, credit negative, on a colon-separated `account`."""

    account: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """A balanced set of postings of one currency, dated in the operator's zone on the day it was booked.

    `id` is the charge's id. `dimensions` carries site, account, member, meter for the ledger's classes and metadata.
    """

    id: str
    day: date
    currency: str
    narration: str
    postings: tuple[Posting, ...]
    dimensions: Mapping[str, str]

    def check_invariants(self) -> None:
        """Raise Broken unless the postings sum to zero."""
        if sum((posting.amount for posting in self.postings), ZERO) != ZERO:
            message = f"journal entry {self.id} does not balance: {self.postings}"
            raise Broken(message, code="unbalanced_entry")
