"""What falls due without an event (rating.md, 4, 5 and 7).

Fees, deposits, purchases of credit and what expires of it, first flats, minimums.

    ├── fee in advance, first flat     ├── a change: unused days back, remaining days due    fee in arrears, minimum ──┤
    period.start                       subscription.span.end / .start                                     period.end

Beats are computed from the facts for each billing period. Their places have an empty source, so at one instant they
come before every event (decision 0009).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from meter.model.catalog import Plan
from meter.model.directory import FOR_EVER, Subscription
from meter.model.period import Period
from meter.rating.calendar.beat import CREDIT_SALE, DEPOSIT, MEMBERSHIP, Beat, BeatKind, Days, end_of, sold_grant
from meter.rating.calendar.fees import Terms, deposits, expiries, fees, purchases, purchases_of
from meter.rating.calendar.holders import parts_of, subscriptions_of
from meter.rating.calendar.prices import asks_without_usage, first_flats, minimums
from meter.rating.facts import AccountFacts

__all__ = [
    "CREDIT_SALE",
    "DEPOSIT",
    "MEMBERSHIP",
    "Beat",
    "BeatKind",
    "Days",
    "beats",
    "end_of",
    "is_due_without_usage",
    "is_empty",
    "sold_grant",
    "starts",
]


def is_due_without_usage(plan: Plan) -> bool:
    """Tell whether a subscription to the plan owes something in a period in which nothing is used."""
    return plan.fee is not None or any(asks_without_usage(price) for prices in plan.prices.values() for price in prices)


def starts(facts: AccountFacts) -> datetime | None:
    """Return the earliest dated start of a subscription or a purchase; None where nothing is ever due without an event.

    The account's first period is that of this instant or of its first event, whichever comes first: what has no start
    of its own begins with it.
    """
    if is_empty(facts):
        return None
    if "calendar" not in facts.memo:
        instants = [grant.span.start for grant in purchases_of(facts) if grant.span.start is not None]
        for subscription in subscriptions_of(facts):
            start = subscription.span.start
            if start is not None:
                parts = parts_of(facts, subscription, Period(start, FOR_EVER))
                instants += [part.start for part in parts]
        facts.memo["calendar"] = min(instants, default=None)
    found: datetime | None = facts.memo["calendar"]
    return found


def is_empty(facts: AccountFacts) -> bool:
    """Tell whether nothing is ever due without an event: then no period needs to be entered for its own sake."""
    if "no calendar" not in facts.memo:
        charging = any(_charges(facts, subscription) for subscription in subscriptions_of(facts))
        facts.memo["no calendar"] = not charging and not any(purchases_of(facts))
    found: bool = facts.memo["no calendar"]
    return found


def beats(facts: AccountFacts, period: Period) -> tuple[Beat, ...]:
    """Return what falls due in `period`, its end included, in order."""
    if is_empty(facts):
        return ()
    key = ("beats", period.start)
    found: tuple[Beat, ...] | None = facts.memo.get(key)
    if found is None:
        every = [*_subscribed(facts, period), *purchases(facts, period), *expiries(facts, period)]
        every += minimums(facts, period)
        # A minimum is the last of its period: what an amount of discount is left for it, the rest has left.
        found = facts.memo[key] = tuple(sorted(every, key=lambda beat: (beat.time, beat.kind == "minimum", beat.id)))
    return found


def _charges(facts: AccountFacts, subscription: Subscription) -> bool:
    """Tell whether any version of its plan has something due without usage."""
    plans = [version.plans.get(subscription.plan) for version in facts.catalogs.versions]
    return subscription.deposit is not None or any(plan is not None and is_due_without_usage(plan) for plan in plans)


def _subscribed(facts: AccountFacts, period: Period) -> Iterator[Beat]:
    for subscription in subscriptions_of(facts):
        yield from deposits(facts, subscription, period)
        for part in parts_of(facts, subscription, period):
            catalog = facts.catalogs.at(part.start)
            plan = catalog.plans.get(subscription.plan)
            if plan is not None and plan.fee is not None:
                yield from fees(facts, Terms(catalog, plan, plan.fee), subscription, period, part)
            yield from first_flats(facts, subscription, period, part)
