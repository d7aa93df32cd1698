"""What a plan gives: an instance for each billing period, subscription and, where it is theirs, member."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from meter.model.catalog import PlanGrant
from meter.model.directory import SINCE_ALWAYS, Subscription
from meter.model.money import ZERO, round_quantity, unit_scale
from meter.model.period import Period
from meter.rating.facts import AccountFacts
from meter.rating.grants.instance import Instance
from meter.rating.grants.spans import member_spans, overlap
from meter.rating.resolve import membership
from meter.rating.values import segment


class Part(NamedTuple):
    """The part of a billing period in which a subscription holds."""

    subscription: Subscription
    period: Period
    span: Period


def plan_instances(
    facts: AccountFacts, subscription: Subscription, period: Period, member: str | None
) -> list[Instance]:
    """Return the credit that a subscription's plan gives in `period` to the account, and to `member` alone.

    A member's own subscription gives to that member, whatever the grant's holder, for the days of belonging to the
    account.
    """
    span = overlap(period, subscription.span)
    if span is None:
        return []
    plan = facts.catalogs.at(span.start).plans.get(subscription.plan)
    part = Part(subscription, period, span)
    found = []
    for grant in () if plan is None else plan.grants:
        seat = grant.holder == "member" and subscription.member is None
        if seat and (member is None or not _seated(facts, part, member)):
            continue
        holder = subscription.member or (member if grant.holder == "member" else None)
        spans = [span] if holder is None else member_spans(facts, holder, span)
        amount = _amount(facts, grant, part, spans)
        if amount > ZERO:
            found.append(_planned(facts, grant, part, holder, amount, spans[0]))
    return found


def _planned(  # noqa: PLR0917 -- a grant, whose it is, and how much
    facts: AccountFacts, grant: PlanGrant, part: Part, holder: str | None, amount: Decimal, first: Period
) -> Instance:
    account, subscription, end = facts.account, part.subscription, part.span.end
    name = account.periods.name(part.period)
    tail = "" if holder is None else f"/{segment(account.id if subscription.member is not None else holder)}"
    scale = unit_scale(grant.unit)
    rollover = grant.rollover if end == part.period.end else None
    lasts = end
    for _ in range(0 if rollover is None else rollover.periods):
        lasts = account.periods.at(lasts).end
    return Instance(
        id=f"{segment(subscription.id)}/{segment(grant.id)}/{name}{tail}",
        origin="plan",
        subscription=subscription.id,
        member=holder,
        unit=grant.unit,
        amount=amount * scale,
        meters=grant.meters,
        effective=first.start,
        expires=end,
        priority=grant.priority,
        rolls=None if rollover is None else rollover.most * scale,
        lasts=lasts,
    )


def _seated(facts: AccountFacts, part: Part, member: str) -> bool:
    """Tell whether `member` has one of the subscription's seats: the first by start of the link and id.

    Who has a seat is settled for the whole part: somebody who leaves takes the seat along until it ends.
    """
    subscription, span = part.subscription, part.span
    if subscription.seats is None:
        return True
    key = ("seats", subscription.id, span.start, span.end)
    seated: frozenset[str] | None = facts.memo.get(key)
    if seated is None:
        ranked = []
        for name in facts.directory.members_of(facts.account.id):
            spans = membership(name, facts.account.id, facts.directory)
            held = next((one for one in spans if overlap(span, one) is not None), None)
            if held is not None:
                ranked.append((held.start or SINCE_ALWAYS, name))
        seated = facts.memo[key] = frozenset(name for _, name in sorted(ranked)[: subscription.seats])
    return member in seated


def _amount(facts: AccountFacts, grant: PlanGrant, part: Part, spans: Sequence[Period]) -> Decimal:
    """Return the instance's amount: times seats with `per_seat`; for a part of the period active days / days of it."""
    amount, period = grant.amount, part.period
    if grant.per_seat and part.subscription.seats is not None:
        amount *= part.subscription.seats
    days = facts.account.periods.days(period)
    active = sum(days.between(span.start, span.end) for span in spans)
    return amount if active == days.month else round_quantity(amount * active / days.month)
