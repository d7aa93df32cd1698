"""Credit: which instances of grants there are, in which order they are drawn, and what a draw leaves (rating.md, 4).

    plan grant x subscription x billing period [x member] ──▶ instance  acme-flex/pages/2026-11[/ada]
    what is left of one that rolls over                   ──▶ instance  acme-flex/pages/2026-11[/ada]/rolled
    given or bought grant                                 ──▶ instance  pack-1
    credit that a refund gives back too late              ──▶ instance  pack-1/returned/berlin%2Ftill/r-1

Instances are derived from the facts, never stored; what is kept is how much of each was used. The catalog in force when
the subscription's part of the period begins decides what the plan gives in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from meter.model.catalog import CreditRate, Meter, PlanGrant
from meter.model.directory import FOR_EVER, SINCE_ALWAYS, GivenGrant, Span, Subscription
from meter.model.errors import BadInput
from meter.model.instant import local_date
from meter.model.money import (
    EXACT,
    ONE,
    ZERO,
    covers_quantity,
    cut_quantity,
    is_currency,
    round_amount,
    round_quantity,
    unit_scale,
)
from meter.model.period import Period, period_at, period_name, period_named
from meter.rating.facts import AccountFacts
from meter.rating.resolve import link_at, membership
from meter.rating.state import AccountState, DrawStep, Returned
from meter.rating.values import MISSING, same

# Orders of one account that are kept: members x meters of two periods for a large account, then begun anew.
_MEMO_ENTRIES_MAX: Final = 16_384
CREDIT: Final = "credit"
_MOMENT: Final = timedelta(microseconds=1)
_ROLLED: Final = "rolled"
_RETURNED: Final = "returned"
_RETURNED_PARTS: Final = 3  # the word, the source and the id of the refund

Origin: TypeAlias = Literal["plan", "given", "bought", "rollover", "refund"]


@dataclass(frozen=True, kw_only=True)
class Instance:
    """An amount of credit in force in [effective, expires) (None: always, never), in seconds for a unit of time.

    `member` None: the account's pool. `meters` None: any meter that it can cover. `subscription` None: given. `rolls`:
    what is left of it, at most that, goes on until `lasts`. `rolled_from`: it is itself what was left of that instance,
    at most `amount`, of which the other had `rolled_amount`. `rank` is its place in the order of draws.
    """

    id: str
    origin: Origin
    subscription: str | None
    member: str | None
    unit: str
    amount: Decimal
    meters: tuple[str, ...] | None
    effective: datetime | None
    expires: datetime | None
    priority: int
    rolls: Decimal | None = None
    lasts: datetime = FOR_EVER
    rolled_from: str | None = None
    rolled_amount: Decimal = ZERO
    rank_as: Instance | None = None
    age: int = 0

    @cached_property
    def rank(self) -> tuple[Any, ...]:
        """Return priority, sooner expiry, the member's own before the pool, earlier effective, id.

        What rolled over stands just before the period's own, the oldest first.
        """
        own = self.rank_as or self
        return (
            own.priority,
            own.expires or FOR_EVER,
            own.member is None,
            own.effective or SINCE_ALWAYS,
            own.id,
            self.age == 0,
            -self.age,
        )

    def in_force(self, instant: datetime) -> bool:
        """Tell whether `instant` lies in [effective, expires)."""
        return (self.effective is None or self.effective <= instant) and (
            self.expires is None or instant < self.expires
        )

    def granted(self, used: Mapping[str, Decimal]) -> Decimal:
        """Return how much it holds in all, given what was used of every instance."""
        if self.rolled_from is None:
            return self.amount
        return max(ZERO, min(self.amount, self.rolled_amount - used.get(self.rolled_from, ZERO)))


class Orders(NamedTuple):
    """What usage may draw, the first to burn first: before pricing (units and credits), and after it (money)."""

    quantity: tuple[Instance, ...]
    money: tuple[Instance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantBalance:
    """An instance and what is left of it, in its unit. `scope` lists its meters; None: any that it can cover."""

    id: str
    origin: Origin
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


def orders(
    facts: AccountFacts, *, meter: Meter, member: str | None, subscription: Subscription | None, period: Period
) -> Orders:
    """Return the instances that usage of `meter` by `member` under `subscription` may draw, the first to burn first.

    Whether one is in force at an instant and has something left is for the caller to see.
    """
    instances = [] if subscription is None else plan_instances(facts, subscription, period, member)
    if subscription is not None:
        instances += rolled_instances(facts, subscription, period, member)
    instances += given_instances(facts, member)
    eligible = sorted((i for i in instances if in_scope(i, meter)), key=lambda i: i.rank)
    currency = facts.account.currency
    return Orders(
        tuple(i for i in eligible if not is_currency(i.unit)), tuple(i for i in eligible if i.unit == currency)
    )


def in_scope(instance: Instance, meter: Meter) -> bool:
    """Tell whether the instance is for usage of `meter`: it names the meter or any, and can cover its unit."""
    if instance.meters is not None and meter.id not in instance.meters:
        return False
    return instance.unit == meter.unit or not covers_quantity(instance.unit)


def given_instances(facts: AccountFacts, member: str | None) -> list[Instance]:
    """Return the credit given outside plans that `member` (None: nobody in particular) may draw."""
    given = facts.directory.grants.get(facts.account.id, ())
    return [_given(grant) for grant in given if grant.member in {None, member}]


def _given(grant: GivenGrant) -> Instance:
    return Instance(
        id=_part(grant.id),
        origin="given" if grant.bought is None else "bought",
        subscription=None,
        member=grant.member,
        unit=grant.unit,
        amount=grant.amount * unit_scale(grant.unit),
        meters=grant.meters,
        effective=grant.span.start,
        expires=grant.span.end,
        priority=grant.priority,
        lasts=grant.span.end or FOR_EVER,
    )


def plan_instances(
    facts: AccountFacts, subscription: Subscription, period: Period, member: str | None
) -> list[Instance]:
    """Return the credit that a subscription's plan gives in `period` to the account, and to `member` alone.

    A member's own subscription gives to that member, whatever the grant's holder, for the days of belonging to the
    account.
    """
    part = overlap(Span(start=period.start, end=period.end), subscription.span)
    if part is None or part.start is None:
        return []
    plan = facts.catalogs.at(part.start).plans.get(subscription.plan)
    found = []
    for grant in () if plan is None else plan.grants:
        if (
            grant.holder == "member"
            and subscription.member is None
            and (member is None or not _seated(facts, subscription, part, member))
        ):
            continue
        holder = _holder(grant, subscription, member)
        spans = [part] if holder is None else member_spans(facts, holder, part)
        amount = _amount(facts, grant, subscription, period, spans)
        if amount > ZERO:
            found.append(_planned(facts, grant, subscription, period, holder, amount, spans, part))
    return found


def rolled_instances(
    facts: AccountFacts, subscription: Subscription, period: Period, member: str | None
) -> list[Instance]:
    """Return what earlier periods of the same subscription left over to `period`, whatever is left of it."""
    part = overlap(Span(start=period.start, end=period.end), subscription.span)
    if part is None or part.start != period.start:
        return []  # it begins in this period, or is over: nothing was before
    found: list[Instance] = []
    account, before = facts.account, period
    for age in range(1, _rollover_periods(facts, subscription.plan) + 1):
        before = period_at(before.start - _MOMENT, zone_name=account.timezone, anchor_day=account.anchor_day)
        if subscription.span.start is not None and subscription.span.start >= before.end:
            break
        for old in plan_instances(facts, subscription, before, member):
            if old.rolls is not None and old.lasts > period.start:
                now = _as_if_now(facts, old, subscription, period, part)
                if now is not None:
                    found.append(_rolled(old, now, age, subscription))
    return found


def _rolled(old: Instance, now: Instance, age: int, subscription: Subscription) -> Instance:
    return replace(
        old,
        id=f"{old.id}/{_ROLLED}",
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


def _as_if_now(
    facts: AccountFacts, old: Instance, subscription: Subscription, period: Period, part: Span
) -> Instance | None:
    """Return the instance of `period` beside which what is left of `old` is drawn, whether it exists or not."""
    spans = [part] if old.member is None else member_spans(facts, old.member, part)
    if not spans:
        return None
    names = old.id.split("/")
    names[2] = period_name(period, zone_name=facts.account.timezone)
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


def _holder(grant: PlanGrant, subscription: Subscription, member: str | None) -> str | None:
    if subscription.member is not None:
        return subscription.member
    return member if grant.holder == "member" else None


def _planned(
    facts: AccountFacts,
    grant: PlanGrant,
    subscription: Subscription,
    period: Period,
    holder: str | None,
    amount: Decimal,
    spans: Sequence[Span],
    part: Span,
) -> Instance:
    account = facts.account
    name = period_name(period, zone_name=account.timezone)
    tail = "" if holder is None else f"/{_part(account.id if subscription.member is not None else holder)}"
    rollover, scale = grant.rollover, unit_scale(grant.unit)
    lasts = part.end or FOR_EVER
    if rollover is not None and part.end == period.end:
        for _ in range(rollover.periods):
            lasts = period_at(lasts, zone_name=account.timezone, anchor_day=account.anchor_day).end
    return Instance(
        id=f"{_part(subscription.id)}/{_part(grant.id)}/{name}{tail}",
        origin="plan",
        subscription=subscription.id,
        member=holder,
        unit=grant.unit,
        amount=amount * scale,
        meters=grant.meters,
        effective=spans[0].start,
        expires=part.end,
        priority=grant.priority,
        rolls=None if rollover is None or part.end != period.end else rollover.most * scale,
        lasts=lasts,
    )


def find(facts: AccountFacts, identifier: str) -> Instance | None:
    """Return the instance of that id as the facts give it today; None where they give none.

    One that a refund gave back has the scope of its origin, no amount, and its origin's span.
    """
    names = identifier.split("/")
    if len(names) == 1:
        grants = facts.directory.grants.get(facts.account.id, ())
        return next((_given(grant) for grant in grants if _part(grant.id) == identifier), None)
    found = _find_planned(facts, names)
    if found is None and len(names) > _RETURNED_PARTS and names[-_RETURNED_PARTS] == _RETURNED:
        origin = find(facts, "/".join(names[:-_RETURNED_PARTS]))
        found = origin and replace(origin, id=identifier, origin="refund", amount=ZERO, rolls=None)
    return found


def _find_planned(facts: AccountFacts, names: Sequence[str]) -> Instance | None:
    rolled = names[-1] == _ROLLED
    base = "/".join(names[:-1]) if rolled else "/".join(names)
    try:
        period = period_named(names[2], zone_name=facts.account.timezone, anchor_day=facts.account.anchor_day)
    except (BadInput, IndexError):
        return None
    members = facts.directory.members_of(facts.account.id)
    for subscription in _subscriptions(facts, names[0]):
        for member in [None, *members] if subscription.member is None else [subscription.member]:
            for instance in plan_instances(facts, subscription, period, member):
                if instance.id == base:
                    return _rolled(instance, instance, 1, subscription) if rolled else instance
    return None


def _subscriptions(facts: AccountFacts, name: str) -> list[Subscription]:
    directory = facts.directory
    holders = [("account", facts.account.id), *(("member", m) for m in directory.members_of(facts.account.id))]
    return [s for holder in holders for s in directory.subscriptions.get(holder, ()) if _part(s.id) == name]


def returned_id(origin: str, source: str, refund: str) -> str:
    """Return the id of the credit that a refund gives back to `origin` after its expiry."""
    return f"{origin}/{_RETURNED}/{_part(source)}/{_part(refund)}"


def returned_instance(facts: AccountFacts, identifier: str, returned: Returned) -> Instance | None:
    """Return the instance that a refund's credit has become; None where its origin is no more."""
    origin = find(facts, returned.origin)
    if origin is None:
        return None
    return replace(
        origin,
        id=identifier,
        origin="refund",
        amount=returned.amount,
        rolls=None,
        rolled_from=None,
        effective=returned.effective,
        expires=returned.expires,
        lasts=returned.expires,
        rank_as=None,
        age=0,
    )


def overlap(first: Span, second: Span) -> Span | None:
    """Return the span in which both hold, its ends always set; None where there is none."""
    start = max(first.start or SINCE_ALWAYS, second.start or SINCE_ALWAYS)
    end = min(first.end or FOR_EVER, second.end or FOR_EVER)
    return Span(start=start, end=end) if start < end else None


def member_spans(facts: AccountFacts, member: str, part: Span) -> list[Span]:
    """Return the spans within `part` in which the member's usage is the account's."""
    spans = (overlap(part, span) for span in membership(member, facts.account.id, facts.directory))
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
            held = next((span for span in spans if overlap(part, span) is not None), None)
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
    active = sum(days_between(span.start, span.end, zone_name) for span in spans)
    return round_quantity(amount * active / days_between(period.start, period.end, zone_name))


def days_between(start: datetime | None, end: datetime | None, zone_name: str) -> int:
    """Return the days in [start, end): the one on which it begins counts, the one on which it ends does not."""
    return (local_date(end or FOR_EVER, zone_name) - local_date(start or SINCE_ALWAYS, zone_name)).days


def rate_of(rates: Sequence[CreditRate], dimensions: Mapping[str, Any]) -> Decimal | None:
    """Return the credits that a unit costs: the first rate whose `match` fits; None where none does."""
    for rate in rates:
        if all(same(dimensions.get(name, MISSING), wanted) for name, wanted in rate.match.items()):
            return rate.rate
    return None


def draw(
    order: Sequence[Instance],
    state: AccountState,
    quantity: Decimal,
    instant: datetime,
    *,
    rate: Decimal | None = None,
    per: Decimal = ONE,
) -> list[DrawStep]:
    """Use as much of `quantity` as there is credit for at `instant`, in `order`; return the draws.

    `rate` is what a unit (of `per` base units) costs in credits; without it credits cover nothing.
    """
    found: list[DrawStep] = []
    for instance in order:
        if not instance.in_force(instant):
            continue
        granted = instance.granted(state.used)
        balance = granted - state.used.get(instance.id, ZERO)
        if balance <= ZERO:
            continue
        if instance.unit != CREDIT:
            amount = covered = min(balance, quantity)
        elif rate is None:
            continue
        elif quantity * rate <= balance * per:
            covered, amount = quantity, round_amount(quantity * rate / per)
        else:
            covered, amount = cut_quantity(balance / rate) * per, balance
        step = DrawStep(instance.id, instance.unit, amount, covered, balance, granted)
        state.use(step, instance.lasts)
        found.append(step)
        quantity -= covered
        if not quantity:
            break
    return found


def balances(facts: AccountFacts, at: datetime, used: Mapping[str, Decimal]) -> list[GrantBalance]:
    """Return every instance in force at `at` in burn order, with what `used` leaves of it.

    `used` is by instance id, in the instance's unit, credit given back taken off.
    """
    directory, account = facts.directory, facts.account
    period = period_at(at, zone_name=account.timezone, anchor_day=account.anchor_day)
    members = [m for m in directory.members_of(account.id) if _belongs(facts, m, at)]
    found: dict[str, Instance] = {}

    def add(subscription: Subscription, member: str | None) -> None:
        found.update((i.id, i) for i in plan_instances(facts, subscription, period, member))
        found.update((i.id, i) for i in rolled_instances(facts, subscription, period, member))

    with localcontext(EXACT):
        found.update((i.id, i) for member in [None, *members] for i in given_instances(facts, member))
        for subscription in directory.subscriptions.get(("account", account.id), ()):
            for member in [None, *members]:
                add(subscription, member)
        for member in members:
            for subscription in directory.subscriptions.get(("member", member), ()):
                add(subscription, member)
        in_force = sorted((i for i in found.values() if i.in_force(at)), key=lambda i: i.rank)
        return [_balance(instance, used) for instance in in_force]


def _belongs(facts: AccountFacts, member: str, at: datetime) -> bool:
    link = link_at(member, at, facts.directory)
    return link is not None and link.account == facts.account.id


def _balance(instance: Instance, used: Mapping[str, Decimal]) -> GrantBalance:
    scale = unit_scale(instance.unit)
    spent = {name: used[name] * scale for name in {instance.id, instance.rolled_from} if name in used}
    amount = round_amount(instance.granted(spent) / scale)
    drawn = used.get(instance.id, ZERO)
    return GrantBalance(
        id=instance.id,
        origin=instance.origin,
        scope=instance.meters,
        member=instance.member,
        unit=instance.unit,
        amount=amount,
        used=drawn,
        remaining=amount - drawn,
        effective=instance.effective,
        expires=instance.expires,
        priority=instance.priority,
    )
