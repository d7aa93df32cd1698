"""What falls due without an event: fees, deposits, purchases of credit, first flats, minimums (rating.md, 5 and 7).

    ├── fee in advance, first flat     ├── a change: unused days back, remaining days due    fee in arrears, minimum ──┤
    period.start                       subscription.span.end / .start                                     period.end

Beats are computed from the facts for each billing period. Their places have an empty source, so at one instant they
come before every event (decision 0009).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

from meter.model.catalog import Catalog, Fee, Graduated, Holder, Plan, Price
from meter.model.charge import LineTax
from meter.model.directory import FOR_EVER, SINCE_ALWAYS, GivenGrant, Span, Subscription
from meter.model.event import Position
from meter.model.money import ONE, ZERO, round_amount, round_quantity
from meter.model.period import Period, period_at
from meter.rating.facts import AccountFacts
from meter.rating.grants import days_between, member_spans, name_part, overlap
from meter.rating.resolve import link_at

# Meters of what no meter counts; a catalog cannot define them.
MEMBERSHIP: Final = "membership"
DEPOSIT: Final = "deposit"
CREDIT_SALE: Final = "credit"

BeatKind: TypeAlias = Literal["fee", "zero", "minimum"]
_MOMENT: Final = timedelta(microseconds=1)
# The place behind every beat of an instant and before every event.
_LAST: Final = "\U0010ffff"


class Days(NamedTuple):
    """Active days of days in all."""

    active: int
    days: int


class Beat(NamedTuple):
    """Something due at `time`, in the service period `period`. Of `fee`, `amount` is what is due before discounts.

    `price` is there for first flats and minimums, `subscription` where its discounts apply.
    """

    time: datetime
    id: str
    kind: BeatKind
    period: Period
    meter: str
    unit: str
    quantity: Decimal
    amount: Decimal
    site: str
    tax: LineTax | None
    member: str | None = None
    plan: Plan | None = None
    price: Price | None = None
    subscription: Subscription | None = None
    days: Days | None = None
    each: Decimal = ZERO

    @property
    def position(self) -> Position:
        """Return the beat's place in the order of events."""
        return Position(self.time, "", self.id)


def end_of(time: datetime) -> Position:
    """Return the place behind every beat at `time`."""
    return Position(time, "", _LAST)


def starts(facts: AccountFacts) -> datetime | None:
    """Return the earliest dated instant at which the calendar has something due; None where nothing ever is."""
    if "calendar" not in facts.memo:
        instants = [grant.span.start for grant in _purchases(facts) if grant.span.start is not None]
        for subscription in _subscriptions(facts):
            if subscription.span.start is not None and _charges(facts, subscription):
                instants += _first_charges(facts, subscription)
        facts.memo["calendar"] = min(instants, default=None)
    found: datetime | None = facts.memo["calendar"]
    return found


def _first_charges(facts: AccountFacts, subscription: Subscription) -> Iterator[datetime]:
    """Give an instant at which each part of a dated subscription begins to charge: as it begins, or by a later version.

    So a version of the catalog changes nothing that lies before it.
    """
    account = facts.account
    for part in _parts(facts, subscription, Span(start=subscription.span.start, end=FOR_EVER)):
        if part.start is None or part.end is None:
            continue
        instants = [part.start]
        for version in facts.catalogs.versions:
            if version.effective is not None and version.effective > part.start:
                before = period_at(
                    version.effective - _MOMENT, zone_name=account.timezone, anchor_day=account.anchor_day
                )
                instants.append(before.end)
        for instant in sorted(instants):
            plan = facts.catalogs.at(instant).plans.get(subscription.plan)
            if instant < part.end and (subscription.deposit is not None or (plan is not None and _is_due(plan))):
                yield instant
                break


def is_empty(facts: AccountFacts) -> bool:
    """Tell whether nothing is ever due without an event: then no period needs to be entered for its own sake."""
    if "no calendar" not in facts.memo:
        charging = any(_charges(facts, subscription) for subscription in _subscriptions(facts))
        facts.memo["no calendar"] = not charging and not any(_purchases(facts))
    found: bool = facts.memo["no calendar"]
    return found


def beats(facts: AccountFacts, period: Period) -> tuple[Beat, ...]:
    """Return what falls due in `period`, its end included, in order."""
    if is_empty(facts):
        return ()
    key = ("beats", period.start)
    found: tuple[Beat, ...] | None = facts.memo.get(key)
    if found is None:
        every = [*_subscribed(facts, period), *_bought(facts, period), *_minimums(facts, period)]
        found = facts.memo[key] = tuple(sorted(every, key=lambda beat: beat[:2]))
    return found


def _subscriptions(facts: AccountFacts) -> list[Subscription]:
    directory, account = facts.directory, facts.account.id
    holders = [("account", account), *(("member", member) for member in directory.members_of(account))]
    return [subscription for holder in holders for subscription in directory.subscriptions.get(holder, ())]


def _purchases(facts: AccountFacts) -> list[GivenGrant]:
    return [grant for grant in facts.directory.grants.get(facts.account.id, ()) if grant.bought is not None]


def _charges(facts: AccountFacts, subscription: Subscription) -> bool:
    """Tell whether any version of its plan has something due without usage."""
    plans = [version.plans.get(subscription.plan) for version in facts.catalogs.versions]
    return subscription.deposit is not None or any(plan is not None and _is_due(plan) for plan in plans)


def _is_due(plan: Plan) -> bool:
    return plan.fee is not None or any(_without_usage(price) for prices in plan.prices.values() for price in prices)


def _without_usage(price: Price) -> bool:
    return price.period_minimum is not None or (isinstance(price.model, Graduated) and price.model.flat_at_zero)


def _parts(facts: AccountFacts, subscription: Subscription, within: Span) -> list[Span]:
    """Return the parts of `within` in which the account has the subscription, or the member who has it."""
    part = overlap(within, subscription.span)
    if part is None:
        return []
    return [part] if subscription.member is None else member_spans(facts, subscription.member, part)


def _only_site(catalog: Catalog) -> str:
    """Return the site of what happens at none: the catalog's only one, else ""."""
    return next(iter(catalog.sites)) if len(catalog.sites) == 1 else ""


def _tax(catalog: Catalog, name: str | None) -> LineTax | None:
    """Return the tax by name, else that of the catalog's only site."""
    name = name or catalog.site(_only_site(catalog)).tax
    tax = None if name is None else catalog.taxes.get(name)
    return None if tax is None else LineTax(name=tax.name, rate=tax.rate, inclusive=tax.inclusive)


def _subscribed(facts: AccountFacts, period: Period) -> Iterator[Beat]:
    for subscription in _subscriptions(facts):
        yield from _deposits(facts, subscription, period)
        for part in _parts(facts, subscription, Span(start=period.start, end=period.end)):
            catalog = facts.catalogs.at(part.start or SINCE_ALWAYS)
            plan = catalog.plans.get(subscription.plan)
            if plan is not None and plan.fee is not None:
                yield from _fees(facts, Terms(catalog, plan, plan.fee), subscription, period, part)
            yield from _first_flats(facts, subscription, period, part)


class Terms(NamedTuple):
    """A plan with a fee, in the version that was in force when a part of the period began."""

    catalog: Catalog
    plan: Plan
    fee: Fee


def _fees(facts: AccountFacts, terms: Terms, subscription: Subscription, period: Period, part: Span) -> Iterator[Beat]:
    """In advance: from the part's start to the period's end, and what was too much back; in arrears: at its end."""
    if part.start is None or part.end is None:
        return
    (catalog, plan, fee), zone_name = terms, facts.account.timezone
    days = days_between(period.start, period.end, zone_name)

    def line(time: datetime, name: str, active: int) -> Beat:
        seats = Decimal(subscription.seats or 1)
        return Beat(
            time=time,
            id=f"{name_part(subscription.id)}/fee/{name}",
            kind="fee",
            period=period,
            meter=MEMBERSHIP,
            unit="month",
            quantity=round_quantity(seats * active / days),
            amount=round_amount(fee.amount * seats * active / days),
            site=_only_site(catalog),
            tax=_tax(catalog, fee.tax),
            member=subscription.member,
            plan=plan,
            subscription=subscription,
            days=Days(active, days),
            each=fee.amount,
        )

    begun = part.start.isoformat()
    if fee.timing == "arrears":
        yield line(part.end, f"{begun}/arrears", days_between(part.start, part.end, zone_name))
        return
    yield line(part.start, begun, days_between(part.start, period.end, zone_name))
    if part.end < period.end:
        yield line(part.end, f"{begun}/unused", -days_between(part.end, period.end, zone_name))


def _first_flats(facts: AccountFacts, subscription: Subscription, period: Period, part: Span) -> Iterator[Beat]:
    """What the first tiers cost without usage: for the account, or for each member whose usage falls under the plan.

    By the prices that are in force at that instant, as the usage that follows is.
    """
    for per, member, time in _holders(facts, subscription, part):
        catalog = facts.catalogs.at(time)
        plan = catalog.plans.get(subscription.plan)
        for meter, prices in () if plan is None else plan.prices.items():
            for price in prices:
                if price.per != per or not isinstance(price.model, Graduated) or not price.model.flat_at_zero:
                    continue
                holder = "" if member is None else f"/{name_part(member)}"
                yield Beat(
                    time=time,
                    id=f"{name_part(subscription.id)}/zero/{meter}/{price.id}/{time.isoformat()}{holder}",
                    kind="zero",
                    period=period,
                    meter=meter,
                    unit=catalog.meters[meter].unit if meter in catalog.meters else "",
                    quantity=ZERO,
                    amount=ZERO,
                    site=_only_site(catalog),
                    tax=_tax(catalog, price.tax),
                    member=member,
                    plan=plan,
                    price=price,
                    subscription=subscription,
                )


def _holders(
    facts: AccountFacts, subscription: Subscription, part: Span
) -> Iterator[tuple[Holder, str | None, datetime]]:
    """Give whose quantities add up in the part, each with the instant at which that begins."""
    start = part.start or SINCE_ALWAYS
    yield "account", None, start
    if subscription.member is not None:
        yield "member", subscription.member, start
        return
    for member in facts.directory.members_of(facts.account.id):
        for span in _under(facts, member, part):
            yield "member", member, span.start or start


def _under(facts: AccountFacts, member: str, part: Span) -> list[Span]:
    """Return when in the part the member's usage falls under the account's plan: not while there is an own one."""
    spans = member_spans(facts, member, part)
    for own in facts.directory.subscriptions.get(("member", member), ()):
        start, end = own.span.start, own.span.end
        before = [] if start is None else [overlap(span, Span(end=start)) for span in spans]
        after = [] if end is None else [overlap(span, Span(start=end)) for span in spans]
        spans = [span for span in [*before, *after] if span is not None]
    return sorted(spans, key=lambda span: span.start or SINCE_ALWAYS)


def _deposits(facts: AccountFacts, subscription: Subscription, period: Period) -> Iterator[Beat]:
    """Taken when the subscription begins and given back when it ends, where both are dated."""
    deposit, span = subscription.deposit, subscription.span
    if deposit is None or span.start is None:
        return
    for time, sign, name in ((span.start, ONE, "deposit"), (span.end, -ONE, "returned")):
        if time is None or time not in period or not _pays(facts, subscription, span.start):
            continue
        yield Beat(
            time=time,
            id=f"{name_part(subscription.id)}/{name}",
            kind="fee",
            period=period,
            meter=DEPOSIT,
            unit="deposit",
            quantity=sign,
            amount=sign * deposit,
            site=_only_site(facts.catalogs.at(time)),
            tax=None,
            member=subscription.member,
            each=deposit,
        )


def _pays(facts: AccountFacts, subscription: Subscription, instant: datetime) -> bool:
    """Tell whether the account is the one that pays for the subscription at `instant`."""
    if subscription.member is None:
        return True
    link = link_at(subscription.member, instant, facts.directory)
    return link is not None and link.account == facts.account.id


def _bought(facts: AccountFacts, period: Period) -> Iterator[Beat]:
    for grant in _purchases(facts):
        time = grant.span.start
        if grant.bought is None or time is None or time not in period:
            continue
        catalog = facts.catalogs.at(time)
        yield Beat(
            time=time,
            id=f"{name_part(grant.id)}/bought",
            kind="fee",
            period=period,
            meter=CREDIT_SALE,
            unit=grant.unit,
            quantity=grant.amount,
            amount=grant.bought.price,
            site=_only_site(catalog),
            tax=_tax(catalog, grant.bought.tax),
            member=grant.member,
            each=grant.bought.price,
        )


def _minimums(facts: AccountFacts, period: Period) -> Iterator[Beat]:
    """What is missing to the minimums of a closed period, by plan: its days under any of its subscriptions count."""
    if period.start not in facts.closed:
        return
    whole = Span(start=period.start, end=period.end)
    by_plan: dict[str, list[tuple[Subscription, Span]]] = {}
    for subscription in _subscriptions(facts):
        for part in _parts(facts, subscription, whole):
            by_plan.setdefault(subscription.plan, []).append((subscription, part))
    for name in sorted(by_plan):
        held = sorted(by_plan[name], key=lambda one: (one[1].start or SINCE_ALWAYS, one[0].id))
        catalog = facts.catalogs.at(held[0][1].start or SINCE_ALWAYS)
        plan = catalog.plans.get(name)
        for meter, prices in () if plan is None else plan.prices.items():
            for price in prices:
                if price.period_minimum is None:
                    continue
                for member, spans in _spans_by_holder(facts, held, price).items():
                    days = _days(facts, spans, period)
                    holder = "" if member is None else f"/{name_part(member)}"
                    yield Beat(
                        time=period.end,
                        id=f"{name_part(name)}/minimum/{meter}/{price.id}{holder}",
                        kind="minimum",
                        period=period,
                        meter=meter,
                        unit=catalog.meters[meter].unit if meter in catalog.meters else "",
                        quantity=ZERO,
                        amount=ZERO,
                        site=_only_site(catalog),
                        tax=_tax(catalog, price.tax),
                        member=member,
                        plan=plan,
                        price=price,
                        days=days,
                        each=price.period_minimum,
                    )


def _spans_by_holder(
    facts: AccountFacts, held: list[tuple[Subscription, Span]], price: Price
) -> dict[str | None, list[Span]]:
    found: dict[str | None, list[Span]] = {}
    for subscription, part in held:
        if price.per == "account":
            found.setdefault(None, []).append(part)
        elif subscription.member is not None:
            found.setdefault(subscription.member, []).append(part)
        else:
            for member in facts.directory.members_of(facts.account.id):
                for span in _under(facts, member, part):
                    found.setdefault(member, []).append(span)
    return found


def _days(facts: AccountFacts, spans: list[Span], period: Period) -> Days:
    """Return on how many days of the period any of `spans` holds."""
    zone_name = facts.account.timezone
    first = period.start
    seen: set[int] = set()
    for span in spans:
        begin, end = (days_between(first, instant, zone_name) for instant in (span.start, span.end))
        seen.update(range(begin, end))
    return Days(len(seen), days_between(first, period.end, zone_name))
