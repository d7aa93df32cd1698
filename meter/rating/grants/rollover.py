"""Rollover: what is left of a plan's credit when its period ends, at most so much, goes on for some periods."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from meter.model.directory import FOR_EVER, Subscription
from meter.model.money import ZERO
from meter.model.period import Period
from meter.rating.facts import AccountFacts
from meter.rating.grants.instance import Instance
from meter.rating.grants.plan import plan_instances
from meter.rating.grants.spans import member_spans, overlap

ROLLED: Final = "rolled"
_MOMENT: Final = timedelta(microseconds=1)


def rolled_instances(
    facts: AccountFacts, subscription: Subscription, period: Period, member: str | None
) -> list[Instance]:
    """Return what earlier periods of the same subscription left over to `period`, whatever is left of it."""
    part = overlap(period, subscription.span)
    if part is None or part.start != period.start:
        return []  # it begins in this period, or is over: nothing was before
    found: list[Instance] = []
    before = period
    for age in range(1, _rollover_periods(facts, subscription.plan) + 1):
        before = facts.account.periods.at(before.start - _MOMENT)
        if subscription.span.start is not None and subscription.span.start >= before.end:
            break
        for old in plan_instances(facts, subscription, before, member):
            if old.rolls is not None and old.lasts > period.start:
                now = _as_if_now(facts, old, period, part)
                if now is not None:
                    found.append(rolled(old, now, age, subscription))
    return found


def rolled(old: Instance, now: Instance, age: int, subscription: Subscription) -> Instance:
    """Return what is left of `old`, `age` periods later, drawn beside `now`."""
    return replace(
        old,
        id=f"{old.id}/{ROLLED}",
        origin="rollover",
        amount=old.rolls or ZERO,
        rolls=None,
        effective=old.expires,
        expires=min(old.lasts, subscription.span.end or FOR_EVER),
        rolled_from=old.id,
        rolled_amount=old.amount,
        rank_as=now,
        age=age,
    )


def _as_if_now(facts: AccountFacts, old: Instance, period: Period, part: Period) -> Instance | None:
    """Return the instance of `period` beside which what is left of `old` is drawn, whether it exists or not."""
    spans = [part] if old.member is None else member_spans(facts, old.member, part)
    if not spans:
        return None
    names = old.id.split("/")
    names[2] = facts.account.periods.name(period)
    return replace(old, id="/".join(names), effective=spans[0].start, expires=part.end)


def _rollover_periods(facts: AccountFacts, plan_id: str) -> int:
    """Return for how many periods any version of the plan lets credit go on."""
    key = ("rollover", plan_id)
    found: int | None = facts.memo.get(key)
    if found is None:
        plans = (version.plans.get(plan_id) for version in facts.catalogs.versions)
        rollovers = (grant.rollover for plan in plans if plan is not None for grant in plan.grants)
        found = facts.memo[key] = max((rollover.periods for rollover in rollovers if rollover is not None), default=0)
    return found
