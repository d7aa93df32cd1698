"""The entry of a charge.

    on account       Dr receivable or unbilled   Cr income, tax; of a tip, a deposit, credit sold ahead: what is owed
    paid at a till   Dr clearing                 Cr income, tax, tips; what the till's total has more or less: rounding
    a fee ahead      Dr receivable               Cr deferred, tax; its days earn it
    drawn credit     Dr deferred                 Cr income
    a share          as principal: Dr share, Cr landlord; as agent: Cr landlord, and income is what remains

Reversals and refunds are the same entries negated, because their charges' figures are. With inclusive tax a charge is
gross, and income gets what remains after tax.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final, TypeAlias

from meter.export.journal.chart import (
    clearing_account,
    landlord_account,
    named_account,
    role_account,
    tax_account,
    waits_in_suspense,
)
from meter.export.journal.credit import Burn
from meter.export.journal.days import BookingDay
from meter.export.journal.net import net_of, own_of
from meter.export.journal.rules import credited_account
from meter.model.catalog import Catalog
from meter.model.charge import Charge, charge_id
from meter.model.journal import Deferral, JournalEntry, Posting
from meter.model.money import ZERO, plain
from meter.rating.calendar import CREDIT_SALE, DEPOSIT

Legs: TypeAlias = list[tuple[str, Decimal]]
# Due at once: with the usage of their period they are not billed.
_AT_ONCE: Final = frozenset({DEPOSIT, CREDIT_SALE})


def entries_of(
    charge: Charge, *, catalog: Catalog, day: date, deferral: Deferral | None = None, burn: Burn | None = None
) -> list[JournalEntry]:
    """Return the balanced entry of `charge`; none where nothing moves, one more for each other currency in `burn`.

    `catalog` is that of the line's time. `deferral` is the charge's schedule, `burn` what it moves of bought credit.
    """
    legs: dict[str, Legs] = {charge.line.currency: _legs(charge, catalog, deferral)}
    for (currency, account), amount in (burn or {}).items():
        legs.setdefault(currency, []).append((account, amount))
    found = []
    for currency, own in legs.items():
        postings = postings_of(own)
        other = currency != charge.line.currency
        if postings:
            found.append(
                JournalEntry(
                    id=f"{charge.id}/{currency}" if other else charge.id,
                    day=day,
                    currency=currency,
                    narration=_narration(charge),
                    postings=postings,
                    dimensions=_dimensions(charge) | ({"charge": charge.id} if other else {}),
                    suspense=waits_in_suspense(catalog, [posting.account for posting in postings]),
                )
            )
    return found


def postings_of(legs: Legs) -> tuple[Posting, ...]:
    """Return one posting an account, in the order of the legs, without those of zero."""
    sums: dict[str, Decimal] = {}
    for account, amount in legs:
        sums[account] = sums.get(account, ZERO) + amount
    return tuple([Posting(account=account, amount=amount) for account, amount in sums.items() if amount])


def deferral_of(charge: Charge, *, operator: str, catalog: Catalog, day: BookingDay) -> Deferral | None:
    """Return the schedule by which the charge is earned; None where it is earned at once."""
    line = charge.line
    if line.earned_until is None or catalog.ledger.recognition == "at_once":
        return None
    first, end, net = day.day(line.key.time), day.day(line.earned_until), own_of(charge)
    if first >= end or not net:
        return None
    income = credited_account(catalog, line)
    dimensions = _dimensions(charge)
    dimensions.pop("corrects", None)
    return Deferral(
        charge=charge.id,
        chain=charge_id(operator, line.account, line.key, 0),
        currency=line.currency,
        net=net,
        first_day=first,
        end_day=end,
        next_day=first,
        debit=role_account(catalog, "deferred"),
        credit=income,
        narration=f"{line.meter} earned",
        dimensions=dimensions,
        suspense=waits_in_suspense(catalog, [income]),
    )


def _legs(charge: Charge, catalog: Catalog, deferral: Deferral | None) -> Legs:
    line, net, tax = charge.line, net_of(charge), charge.tax_amount
    legs: Legs = []
    if line.settlement == "paid":
        tip = line.tip or ZERO
        total = net + tax + tip if line.total is None else line.total
        legs.append((clearing_account(catalog, line), total))
        # The till took the tip, and its total is the guest's.
        legs.append((role_account(catalog, "tips"), -tip))
        legs.append((role_account(catalog, "rounding"), net + tax + tip - total))
    else:
        legs.append((_owed_account(charge, catalog), net + tax))
    credited = deferral.debit if deferral is not None else credited_account(catalog, line)
    legs.insert(1, (credited, -own_of(charge)))
    legs.insert(2, (tax_account(catalog, charge), -tax))
    for shared in charge.shared:
        if shared.role == "principal":
            legs.append((role_account(catalog, "share"), shared.amount))
        legs.append((landlord_account(catalog, shared.party), -shared.amount))
    return legs


def _owed_account(charge: Charge, catalog: Catalog) -> str:
    """Return where the account's debt stands: what is due at once is receivable, the rest when it is billed."""
    line = charge.line
    if line.meter not in _AT_ONCE and line.earned_until is None:
        unbilled = named_account(catalog, "unbilled")
        if unbilled is not None:
            return unbilled
    return role_account(catalog, "receivable")


def _narration(charge: Charge) -> str:
    """Return what the line is, and how much where it has a quantity: a minimum has none."""
    line, kind = charge.line, charge.kind
    words = [line.meter] if kind in {"usage", "fee"} else [line.meter, kind]
    if line.key.of_expiry:
        words.append("expired")
    return " ".join([*words, plain(line.quantity), line.unit] if line.quantity or line.kind == "usage" else words)


def _dimensions(charge: Charge) -> dict[str, str]:
    """Return what classes, tags and metadata are made of. Ids only: names of people stay in the directory."""
    line = charge.line
    dimensions = {"site": line.site, "account": line.account, "meter": line.meter, "kind": charge.kind}
    optional: Mapping[str, str | None] = {
        "member": line.member,
        "tax": line.tax.name if line.tax is not None else None,
        "corrects": charge.corrects,
    }
    return dimensions | {name: value for name, value in optional.items() if value is not None}
