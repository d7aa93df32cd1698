"""Books that an earlier version has kept, taken over once: an account's first fold by this version restates them.

That version earned a fee in advance with its booking, and let credit that was drawn stand as deferred. A line that
differs from its charge in nothing but the span in which it is earned bills the same: the charge is told its span, and
nothing is booked again. What the account's charges come to by the rules of today (`meter.export.journal`), less what
its journal holds, is one entry `op_...` a currency, of the day on which it is made. The books are then those of an
account that this version has kept all along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from hashlib import sha256

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.accounts import AccountFold
from meter.export.journal import BookingDay, deferral_of, entries_of
from meter.export.journal.charges import Legs, postings_of
from meter.export.journal.earned import earned_until
from meter.model.charge import Charge, changed
from meter.model.journal import Deferral, JournalEntry
from meter.model.money import EXACT, ZERO
from meter.rating.corrections import Difference, bills_the_same
from meter.store.openings import accounts_to_open, charges_of_account, posted_of_account

# (currency, ledger account) -> amount, debit positive.
_Sums = dict[tuple[str, str], Decimal]


@dataclass(slots=True, kw_only=True)
class Openings:
    """The accounts whose books are restated now, and until when charges of theirs are earned, by id."""

    accounts: frozenset[str] = frozenset()
    restated: dict[str, datetime] = field(default_factory=dict)


async def open_books(
    connection: AsyncConnection, operator: str, folds: Sequence[AccountFold]
) -> tuple[Openings, list[AccountFold]]:
    """Return which of `folds` are the first of their accounts by this version, and all without what they restate."""
    # Of an account that is warm already the first fold is over.
    cold = {fold.warm.account for fold in folds if fold.stale_since is not None}
    openings = Openings(accounts=await accounts_to_open(connection, operator, cold))
    return openings, [_restated(fold, openings) if fold.warm.account in openings.accounts else fold for fold in folds]


def _restated(fold: AccountFold, openings: Openings) -> AccountFold:
    left: list[Difference] = []
    for difference in fold.differences:
        standing = difference.standing
        charge = None if standing is None else _told(standing, difference)
        if charge is None or charge.line.earned_until is None:
            left.append(difference)
        else:
            openings.restated[charge.id] = charge.line.earned_until
            fold.warm.last[difference.key] = charge
    return replace(fold, differences=left)


def _told(standing: Charge, difference: Difference) -> Charge | None:
    """Return the charge with the span of the line; None where it bills anything else."""
    if difference.line is None:
        return None
    line = changed(standing.line, earned_until=difference.line.earned_until)
    return replace(standing, line=line) if bills_the_same(line, difference.line) else None


async def opening_entries(
    connection: AsyncConnection, operator: str, fold: AccountFold, openings: Openings, day: BookingDay
) -> tuple[list[JournalEntry], list[Deferral]]:
    """Return the entries that restate the account's books, and the schedules that still run.

    What is drawn of its credit is warm, and nothing of today's booking is counted in yet.
    """
    account, catalogs = fold.warm.account, fold.facts.catalogs
    sums: _Sums = {}
    running: list[Deferral] = []
    async for stored in charges_of_account(connection, operator, account):
        charge = _with_span(stored, openings.restated)
        catalog = catalogs.at(charge.line.key.time)
        deferral = deferral_of(charge, operator=operator, catalog=catalog, day=day)
        for entry in entries_of(charge, catalog=catalog, day=day.today, deferral=deferral):
            for posting in entry.postings:
                _add(sums, entry.currency, posting.account, posting.amount)
        if deferral is not None:
            earned = earned_until(deferral, day.today)
            _add(sums, deferral.currency, deferral.debit, earned)
            _add(sums, deferral.currency, deferral.credit, -earned)
            running += [deferral.moved_to(day.today)] if day.today < deferral.end_day else []
    for credit in (fold.warm.credit or {}).values():
        for (currency, name), amount in credit.burnt().items():
            _add(sums, currency, name, amount)
    for (currency, name), amount in (await posted_of_account(connection, operator, account)).items():
        _add(sums, currency, name, -amount)
    return _entries(operator, account, sums, day), running


def _with_span(charge: Charge, restated: Mapping[str, datetime]) -> Charge:
    until = restated.get(charge.id)
    return charge if until is None else replace(charge, line=changed(charge.line, earned_until=until))


def _add(sums: _Sums, currency: str, account: str, amount: Decimal) -> None:
    sums[currency, account] = EXACT.add(sums.get((currency, account), ZERO), amount)


def _entries(operator: str, account: str, sums: _Sums, day: BookingDay) -> list[JournalEntry]:
    legs: dict[str, Legs] = {}
    for (currency, name), amount in sorted(sums.items()):
        legs.setdefault(currency, []).append((name, amount))
    return [
        JournalEntry(
            id="op_" + sha256(msgspec.json.encode([operator, account, currency])).hexdigest()[:32],
            kind="opening",
            day=day.today,
            currency=currency,
            narration="restated: fees and credit that were earned too early or too late",
            postings=postings,
            dimensions={"site": "", "account": account, "meter": "", "kind": "opening"},
        )
        for currency, own in legs.items()
        if (postings := postings_of(own))
    ]
