"""Fees, deposits, credit that is paid for, and what of it expires."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from meter.model.catalog import Catalog, Fee, Plan
from meter.model.directory import GivenGrant, Subscription
from meter.model.money import ONE, ZERO, round_amount, round_quantity
from meter.model.period import Period
from meter.rating.calendar.beat import CREDIT_SALE, DEPOSIT, MEMBERSHIP, Beat, Days
from meter.rating.calendar.holders import only_site, tax_of
from meter.rating.facts import AccountFacts
from meter.rating.resolve import link_at
from meter.rating.values import segment


class Terms(NamedTuple):
    """A plan with a fee, in the version that was in force when a part of the period began."""

    catalog: Catalog
    plan: Plan
    fee: Fee


def fees(facts: AccountFacts, terms: Terms, subscription: Subscription, period: Period, part: Period) -> Iterator[Beat]:
    """In advance: from the part's start to the period's end, and what was too much back; in arrears: at its end."""
    (catalog, plan, fee), days = terms, facts.account.periods.days(period)

    def line(time: datetime, name: str, active: int, *, discounts_at: datetime, until: datetime | None) -> Beat:
        seats = Decimal(subscription.seats or 1)
        return Beat(
            time=time,
            id=f"{segment(subscription.id)}/fee/{name}",
            kind="fee",
            period=period,
            meter=MEMBERSHIP,
            unit="month",
            quantity=round_quantity(seats * active / days.month),
            amount=round_amount(fee.amount * seats * active / days.month),
            site=only_site(catalog),
            tax=tax_of(catalog, fee.tax),
            member=subscription.member,
            plan=plan,
            subscription=subscription,
            discounts_at=discounts_at,
            days=Days(active, days.month),
            each=fee.amount,
            currency=facts.currency_at(period.start),
            asked=catalog.currency,
            # By the version that gives the fee: what comes back of it takes the same share back.
            shares=catalog.shares_of(MEMBERSHIP, only_site(catalog)),
            earned_until=until,
        )

    begun = part.start.isoformat()
    if fee.timing == "arrears":
        # It is due when the part is over: discounts of its last moment lower it, not those that begin behind it.
        last = part.end - datetime.resolution
        yield line(part.end, f"{begun}/arrears", days.between(part.start, part.end), discounts_at=last, until=None)
        return
    whole = days.between(part.start, period.end)
    yield line(part.start, begun, whole, discounts_at=part.start, until=period.end)
    if part.end < period.end:
        # What was charged for a day that is not used comes back, whatever discounts have ended or begun since.
        unused = -days.between(part.end, period.end)
        yield line(part.end, f"{begun}/unused", unused, discounts_at=part.start, until=period.end)


def deposits(facts: AccountFacts, subscription: Subscription, period: Period) -> Iterator[Beat]:
    """Taken when the subscription begins and given back when it ends, where both are dated."""
    deposit, span = subscription.deposit, subscription.span
    if deposit is None or span.start is None:
        return
    for time, sign, name in ((span.start, ONE, "deposit"), (span.end, -ONE, "returned")):
        if time is None or time not in period or not _pays(facts, subscription, span.start):
            continue
        yield Beat(
            time=time,
            id=f"{segment(subscription.id)}/{name}",
            kind="fee",
            period=period,
            meter=DEPOSIT,
            unit="deposit",
            quantity=sign,
            amount=sign * deposit,
            site=only_site(facts.catalogs.at(time)),
            tax=None,
            # It goes back as what it was taken in, whatever the account pays in by then.
            currency=facts.currency_at(span.start),
            member=subscription.member,
            each=deposit,
        )


def _pays(facts: AccountFacts, subscription: Subscription, instant: datetime) -> bool:
    """Tell whether the account is the one that pays for the subscription at `instant`."""
    if subscription.member is None:
        return True
    link = link_at(subscription.member, instant, facts.directory)
    return link is not None and link.account == facts.account.id


def purchases_of(facts: AccountFacts) -> list[GivenGrant]:
    """Return the account's grants that have a price."""
    return [grant for grant in facts.directory.grants.get(facts.account.id, ()) if grant.bought is not None]


def purchases(facts: AccountFacts, period: Period) -> Iterator[Beat]:
    """Give what is due for credit, when it takes effect."""
    for grant in purchases_of(facts):
        time = grant.span.start
        if grant.bought is None or time is None or time not in period:
            continue
        catalog = facts.catalogs.at(time)
        yield Beat(
            time=time,
            id=f"{segment(grant.id)}/bought",
            kind="fee",
            period=period,
            meter=CREDIT_SALE,
            unit=grant.unit,
            quantity=grant.amount,
            amount=grant.bought.price,
            site=only_site(catalog),
            tax=tax_of(catalog, grant.bought.tax),
            currency=facts.currency_at(time),
            member=grant.member,
            each=grant.bought.price,
        )


def expiries(facts: AccountFacts, period: Period) -> Iterator[Beat]:
    """Give what ends of the credit that was paid for, with the period: what ends as it does is its last.

    No money moves: what is left is revenue that nothing was ever delivered for.
    """
    for grant in purchases_of(facts):
        start, end = grant.span.start, grant.span.end
        if grant.bought is None or start is None or end is None or not period.start < end <= period.end:
            continue
        # Where and in which currency it was sold.
        yield Beat(
            time=end,
            id=f"{segment(grant.id)}/expired",
            kind="expiry",
            period=period,
            meter=CREDIT_SALE,
            unit=grant.unit,
            quantity=grant.amount,
            amount=ZERO,
            site=only_site(facts.catalogs.at(start)),
            tax=None,
            currency=facts.currency_at(start),
            member=grant.member,
            each=grant.bought.price,
            instance=segment(grant.id),
        )
