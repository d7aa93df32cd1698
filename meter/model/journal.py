"""Double entry: what is booked, earned and billed, as balanced entries (docs/ledger.md, decision 0013)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Literal, TypeAlias

from meter.model.errors import Broken
from meter.model.money import ZERO

EntryKind: TypeAlias = Literal["charge", "earned", "billed", "opening"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One leg: `amount` in the entry's currency, debit positive, credit negative, on a colon-separated `account`."""

    account: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """A balanced set of postings of one currency, dated in the operator's zone by what it is about (decision 0013).

    `id` is the charge's where `kind` is `charge`; `rv_...` of revenue earned with a day, `bl_...` of a period billed,
    `op_...` where books that an earlier version kept are restated.
    `dimensions` carries site, account, member, meter and so on for the ledger's classes and metadata; ids only.
    `suspense`: a posting waits in suspense for an account that fits.
    """

    id: str
    kind: EntryKind = "charge"
    day: date
    currency: str
    narration: str
    postings: tuple[Posting, ...]
    dimensions: Mapping[str, str]
    suspense: bool = False

    def check_invariants(self) -> None:
        """Raise Broken unless the postings sum to zero."""
        if sum((posting.amount for posting in self.postings), ZERO) != ZERO:
            message = f"journal entry {self.id} does not balance: {self.postings}"
            raise Broken(message, code="unbalanced_entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferral:
    """How what a charge has deferred is earned: evenly over the days [first_day, end_day) of the operator's zone.

    `net` is the operator's own revenue, negative where a charge takes it back. `chain` is the same for all charges of a
    line; `next_day` is the first that is not entered yet, `end_day` once all are. Each day debits and credits the two
    accounts.
    """

    charge: str
    chain: str
    currency: str
    net: Decimal
    first_day: date
    end_day: date
    next_day: date
    debit: str
    credit: str
    narration: str
    dimensions: Mapping[str, str]
    suspense: bool = False

    def moved_to(self, day: date) -> Deferral:
        """Return the same with every day before `day` entered."""
        return replace(self, next_day=min(max(self.next_day, day), self.end_day))
