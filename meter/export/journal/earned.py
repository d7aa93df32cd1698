"""What days earn of deferred fees: r(d) = round(net x days to d / days), so that all days sum to the net."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal, localcontext
from hashlib import sha256
from typing import NamedTuple

import msgspec

from meter.export.journal.charges import Legs, postings_of
from meter.model.journal import Deferral, JournalEntry
from meter.model.money import EXACT, rounded_minor

_DAY = timedelta(days=1)


class _Group(NamedTuple):
    chain: str
    currency: str


def earned_until(deferral: Deferral, day: date) -> Decimal:
    """Return what of `net` is earned before `day` begins."""
    days = (min(max(day, deferral.first_day), deferral.end_day) - deferral.first_day).days
    with localcontext(EXACT):
        return rounded_minor(deferral.net * days / (deferral.end_day - deferral.first_day).days, deferral.currency)


def earned_entries(deferrals: Iterable[Deferral], *, before: date, dated: Callable[[date], date]) -> list[JournalEntry]:
    """Return what the days before `before` earn that is not entered yet, from each deferral's `next_day` on.

    What several charges of one line give for a day is one entry, none where it is nothing. `dated` is the date of an
    entry about a day: days that have the same one are one entry.
    """
    groups: dict[_Group, list[Deferral]] = {}
    for deferral in deferrals:
        groups.setdefault(_Group(deferral.chain, deferral.currency), []).append(deferral)
    found: list[JournalEntry] = []
    for group in groups.values():
        first, end = min(one.next_day for one in group), min(before, max(one.end_day for one in group))
        spans: dict[date, list[date]] = {}
        for n in range((end - first).days):
            day = first + n * _DAY
            spans.setdefault(dated(day), []).append(day)
        for on, days in spans.items():
            entry = _entry(group, days, on)
            if entry is not None:
                found.append(entry)
    return found


def _entry(group: Sequence[Deferral], days: Sequence[date], on: date) -> JournalEntry | None:
    legs: Legs = []
    running = [one for one in group if one.next_day <= days[-1] and one.end_day > days[0]]
    for one in running:
        # Days that are entered together follow one another: those that may not change come before those that may.
        amount = earned_until(one, days[-1] + _DAY) - earned_until(one, max(days[0], one.next_day))
        legs += [(one.debit, amount), (one.credit, -amount)]
    postings = postings_of(legs)
    if not postings:
        return None
    newest = running[-1]
    about = str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return JournalEntry(
        id=_name([one.charge for one in running], days[0], days[-1]),
        kind="earned",
        day=on,
        currency=newest.currency,
        narration=f"{newest.narration} {about}",
        postings=postings,
        dimensions={**newest.dimensions, "charge": newest.charge},
        suspense=any(one.suspense for one in running),
    )


def _name(charges: Sequence[str], first: date, last: date) -> str:
    """Return the id of what these charges give for these days: the same whoever enters them."""
    return "rv_" + sha256(msgspec.json.encode([sorted(charges), first, last])).hexdigest()[:32]
