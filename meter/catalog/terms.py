"""What putting an account does to its terms: other ones begin with the next period (decision 0010). Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from meter.catalog.draft import AccountDraft
from meter.catalog.issues import Faults
from meter.model.directory import Account
from meter.model.instant import local_date
from meter.model.period import Periods, Replaced, Terms

OperatorTerms: TypeAlias = Callable[[datetime], Terms]
"""The operator's currency and zone by the catalog in force at an instant."""


def put_account(
    put: AccountDraft, before: Account | None, *, charged: bool, operator: OperatorTerms, at: datetime, faults: Faults
) -> Account:
    """Return the account as put at `at`. Terms that differ begin with the next period if it was `charged` before.

    Records a fault where the first period of the new terms would end before it begins.
    """
    # What is not written is the operator's, by the catalog of the time at which the newest terms hold.
    default = operator(at if before is None else max(at, before.periods.newest_since))
    terms = Terms(put.currency or default.currency, put.timezone or default.timezone, put.anchor_day)
    replaced = _replaced(before, terms, at) if before is not None and charged else ()
    if replaced:
        first = Periods(terms, replaced).named(replaced[-1].until)
        if first.end <= first.start:
            message = f"leaves no time for the period {replaced[-1].until}; change zone and anchor_day in two steps"
            faults.add(put.place, message)
    return Account(
        id=put.id,
        name=put.name,
        currency=terms.currency,
        timezone=terms.timezone,
        anchor_day=terms.anchor_day,
        external=dict(put.external),
        replaced=replaced,
    )


def _replaced(before: Account, terms: Terms, at: datetime) -> tuple[Replaced, ...]:
    """Return what `terms` replace, asked for at `at`: what has not begun by then is taken back."""
    if terms == before.terms:
        return before.replaced
    begun = tuple(one for one in before.replaced if before.periods.named(one.until).start <= at)
    current = before.periods.terms_at(at)
    if terms == current:
        return begun
    periods = Periods(current, begun)
    period = periods.at(at)
    if period.start != at:
        period = periods.at(period.end)
    return (*begun, Replaced(current, periods.name(period)))


def terms_warning(before: Account | None, after: Account) -> str | None:
    """Return since when other terms hold; None where they hold from the start, or nothing new comes of it."""
    if before is None or not after.replaced:
        return None
    kept = len(after.replaced)
    earlier = [*(one.terms for one in before.replaced), before.terms]
    if after.replaced == before.replaced[:kept] and after.terms == earlier[kept]:
        return None  # as they were, or what had not begun is taken back
    terms, until = after.replaced[-1]
    period = after.periods.named(until)
    day = local_date(period.start, terms.timezone)
    return f"{_said(after.terms)} begin with the period {until}, on {day}; until then {_said(terms)} hold"


def _said(terms: Terms) -> str:
    return f"{terms.currency}, {terms.timezone} and anchor_day {terms.anchor_day}"
