"""Credit: which instances of grants there are, in which order they are drawn, and what a draw leaves (rating.md, 4).

    plan grant x subscription x billing period [x member] ──▶ instance  acme-flex/pages/2026-11[/ada]
    given grant                                           ──▶ instance  pack-1

Instances are derived from the facts, never stored; what is kept is how much of each was used. The catalog in force when
the subscription's part of the period begins decides what the plan gives in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Final, Literal

from meter.model.catalog import Meter, PlanGrant
from meter.model.directory import FOR_EVER, SINCE_ALWAYS, GivenGrant, Span, Subscription
from meter.model.instant import local_date
from meter.model.money import EXACT, ZERO, covers_quantity, round_quantity
from meter.model.period import Period, period_at, period_name
from meter.rating.facts import AccountFacts
from meter.rating.resolve import link_at, membership
from meter.rating.state import AccountState, DrawStep

# Burn orders of one account that are kept: members x meters of two periods for a large account, then begun anew.
_MEMO_ENTRIES_MAX: Final = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An amount of credit in force in [effective, expires) (None: always, never).

    `member` None: the account's pool. `meters` None: any meter of the unit. `subscription` None: given.
    """

    id: str
    origin: Literal["plan", "given"]
    subscription: str | None
    member: str | None
    unit: str
    amount: Decimal
    meters: tuple[str, ...] | None
    effective: datetime | None
    expires: datetime | None
    priority: int

    def in_force(self, instant: datetime) -> bool:
        """Tell whether `instant` lies in [effective, expires)."""
        return (self.effective is None or self.effective <= instant) and (
            self.expires is None or instant < self.expires
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantBalance:
    """An instance and what is left of it. `scope` lists its meters; None: any of the unit."""

    id: str
    origin: Literal["plan", "given"]
    scope: tuple[str, ...] | None
    member: str | None
    unit: str
    amount: Decimal
    used: Decimal
    remaining: Decimal
    effective: datetime | None
    expires: datetime | None
    priority: int


def _part(text: str) -> str:
    """Return `text` fit to stand between slashes, so that joined names cannot collide."""
    return text.replace("%", "%25").replace("/", "%2F")


def burn_order(
    facts: AccountFacts, *, meter: Meter, member: str | None, subscription: Subscription | None, period: Period
) -> tuple[Instance, ...]:
    """Return the instances that usage of `meter` by `member` under `subscription` may draw, the first to burn first.

    Whether one is in force at an instant and has something left is for the caller to see.
    """
    key = (meter.id, meter.unit, member, subscription and subscription.id, period.start)
    found: tuple[Instance, ...] | None = facts.memo.get(key)
    if found is None:
        if len(facts.memo) >= _MEMO_ENTRIES_MAX:
            facts.memo.clear()
        instances = [] if subscription is None else plan_instances(facts, subscription, period, member)
        instances += given_instances(facts, member)
        eligible = [i for i in instances if i.unit == meter.unit and (i.meters is None or meter.id in i.meters)]
        found = facts.memo[key] = tuple(sorted(eligible, key=_burn_rank))
    return found


def _burn_rank(instance: Instance) -> tuple[int, datetime, bool, datetime, str]:
    """Priority, sooner expiry, the member's own before the pool, earlier effective, id."""
    return (
        instance.priority,
        instance.expires or FOR_EVER,
        instance.member is None,
        instance.effective or SINCE_ALWAYS,
        instance.id,
    )


def given_instances(facts: AccountFacts, member: str | None) -> list[Instance]:
    """Return the credit given outside plans that `member` (None: nobody in particular) may draw."""
    given = facts.directory.grants.get(facts.account.id, ())
    return [_given(grant) for grant in given if covers_quantity(grant.unit) and grant.member in {None, member}]


def given_id(grant: GivenGrant) -> str:
    """Return the instance id of a given grant."""
    return _part(grant.id)


def _given(grant: GivenGrant) -> Instance:
    return Instance(
        id=given_id(grant),
        origin="given",
        subscription=None,
        member=grant.member,
        unit=grant.unit,
        amount=grant.amount,
        meters=grant.meters,
        effective=grant.span.start,
        expires=grant.span.end,
        priority=grant.priority,
    )


def plan_instances(
    facts: AccountFacts, subscription: Subscription, period: Period, member: str | None
) -> list[Instance]:
    """Return the credit that a subscription's plan gives in `period` to the account, and to `member` alone.

    A member's own subscription gives to that member, whatever the grant's holder, for the days of belonging to the
    account.
    """
    account = facts.account
    part = _overlap(Span(start=period.start, end=period.end), subscription.span)
    if part is None or part.start is None:
        return []
    plan = facts.catalogs.at(part.start).plans.get(subscription.plan)
    if plan is None:
        return []
    name = period_name(period, zone_name=account.timezone)
    found = []
    for grant in plan.grants:
        if not covers_quantity(grant.unit):
            continue
        holder, spans, tail = None, [part], ""
        if subscription.member is not None:
            holder, tail = subscription.member, f"/{_part(account.id)}"
            spans = _member_spans(facts, holder, part)
        elif grant.holder == "member":
            if member is None or not _seated(facts, subscription, part, member):
                continue
            holder, tail = member, f"/{_part(member)}"
            spans = _member_spans(facts, member, part)
        amount = _amount(facts, grant, subscription, period, spans)
        if amount > ZERO:
            identifier = f"{_part(subscription.id)}/{_part(grant.id)}/{name}{tail}"
            span = Span(start=spans[0].start, end=part.end)
            found.append(
                _planned(
                    grant,
                    identifier=identifier,
                    subscription=subscription,
                    member=holder,
                    amount=amount,
                    span=span,
                )
            )
    return found


def _planned(
    grant: PlanGrant, *, identifier: str, subscription: Subscription, member: str | None, amount: Decimal, span: Span
) -> Instance:
    return Instance(
        id=identifier,
        origin="plan",
        subscription=subscription.id,
        member=member,
        unit=grant.unit,
        amount=amount,
        meters=grant.meters,
        effective=span.start,
        expires=span.end,
        priority=grant.priority,
    )


def _overlap(first: Span, second: Span) -> Span | None:
    start = max(first.start or SINCE_ALWAYS, second.start or SINCE_ALWAYS)
    end = min(first.end or FOR_EVER, second.end or FOR_EVER)
    return Span(start=start, end=end) if start < end else None


def _member_spans(facts: AccountFacts, member: str, part: Span) -> list[Span]:
    spans = (_overlap(part, span) for span in membership(member, facts.account.id, facts.directory))
    return [span for span in spans if span is not None]


def _seated(facts: AccountFacts, subscription: Subscription, part: Span, member: str) -> bool:
    """Tell whether `member` has one of the subscription's seats: the first by start of the link and id.

    Who has a seat is settled for the whole part: somebody who leaves takes the seat along until it ends.
    """
    if subscription.seats is None:
        return True
    key = ("seats", subscription.id, part.start, part.end)
    seated: frozenset[str] | None = facts.memo.get(key)
    if seated is None:
        ranked = []
        for name in facts.directory.members_of(facts.account.id):
            spans = membership(name, facts.account.id, facts.directory)
            held = next((span for span in spans if _overlap(part, span) is not None), None)
            if held is not None:
                ranked.append((held.start or SINCE_ALWAYS, name))
        seated = facts.memo[key] = frozenset(name for _, name in sorted(ranked)[: subscription.seats])
    return member in seated


def _amount(
    facts: AccountFacts, grant: PlanGrant, subscription: Subscription, period: Period, spans: Sequence[Span]
) -> Decimal:
    """Return the instance's amount: times seats with `per_seat`; for a part of the period active days / days of it."""
    amount = grant.amount
    if grant.per_seat and subscription.seats is not None:
        amount *= subscription.seats
    if len(spans) == 1 and spans[0] == Span(start=period.start, end=period.end):
        return amount
    zone_name = facts.account.timezone
    active = sum(_days(span.start, span.end, zone_name) for span in spans)
    return round_quantity(amount * active / _days(period.start, period.end, zone_name))


def _days(start: datetime | None, end: datetime | None, zone_name: str) -> int:
    """Return the days in [start, end): the one on which it begins counts, the one on which it ends does not."""
    return (local_date(end or FOR_EVER, zone_name) - local_date(start or SINCE_ALWAYS, zone_name)).days


def draw(order: Sequence[Instance], state: AccountState, quantity: Decimal, instant: datetime) -> list[DrawStep]:
    """Use as much of `quantity` as there is credit for at `instant`, in `order`; return the draws."""
    found: list[DrawStep] = []
    for instance in order:
        if not instance.in_force(instant):
            continue
        balance = instance.amount - state.used.get(instance.id, ZERO)
        if balance <= ZERO:
            continue
        step = DrawStep(instance.id, min(balance, quantity), balance, instance.amount)
        state.use(step)
        found.append(step)
        quantity -= step.amount
        if not quantity:
            break
    return found


def balances(facts: AccountFacts, at: datetime, used: Mapping[str, Decimal]) -> list[GrantBalance]:
    """Return every instance in force at `at` in burn order, with what `used` (by instance id) leaves of it."""
    directory, account = facts.directory, facts.account
    period = period_at(at, zone_name=account.timezone, anchor_day=account.anchor_day)
    members = [m for m in directory.members_of(account.id) if _belongs(facts, m, at)]
    with localcontext(EXACT):
        found = {i.id: i for member in [None, *members] for i in given_instances(facts, member)}
        for subscription in directory.subscriptions.get(("account", account.id), ()):
            for member in [None, *members]:
                found.update((i.id, i) for i in plan_instances(facts, subscription, period, member))
        for member in members:
            for subscription in directory.subscriptions.get(("member", member), ()):
                found.update((i.id, i) for i in plan_instances(facts, subscription, period, member))
        in_force = sorted((i for i in found.values() if i.in_force(at)), key=_burn_rank)
        return [_balance(instance, used.get(instance.id, ZERO)) for instance in in_force]


def _belongs(facts: AccountFacts, member: str, at: datetime) -> bool:
    link = link_at(member, at, facts.directory)
    return link is not None and link.account == facts.account.id


def _balance(instance: Instance, used: Decimal) -> GrantBalance:
    return GrantBalance(
        id=instance.id,
        origin=instance.origin,
        scope=instance.meters,
        member=instance.member,
        unit=instance.unit,
        amount=instance.amount,
        used=used,
        remaining=instance.amount - used,
        effective=instance.effective,
        expires=instance.expires,
        priority=instance.priority,
    )
