"""What prices ask for without usage: first flats when a period begins, minimums when it is closed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from meter.model.catalog import Catalog, Graduated, Holder, Plan, Price
from meter.model.directory import Subscription
from meter.model.money import ZERO
from meter.model.period import Period
from meter.rating.calendar.beat import Beat, BeatKind, Days
from meter.rating.calendar.holders import only_site, parts_of, subscriptions_of, tax_of, under
from meter.rating.facts import AccountFacts
from meter.rating.values import segment


class _Held(NamedTuple):
    """A part of a period in which a plan was held by a subscription."""

    subscription: Subscription
    part: Period


class _Priced(NamedTuple):
    """A price of a plan, in one version of the catalog."""

    catalog: Catalog
    plan: Plan
    meter: str
    price: Price


def asks_without_usage(price: Price) -> bool:
    """Tell whether the price asks for something where nothing was used."""
    return price.period_minimum is not None or _flat_at_zero(price)


def _flat_at_zero(price: Price) -> bool:
    return isinstance(price.model, Graduated) and price.model.flat_at_zero


def first_flats(facts: AccountFacts, subscription: Subscription, period: Period, part: Period) -> Iterator[Beat]:
    """What the first tiers cost without usage: for the account, or for each member whose usage falls under the plan.

    By the prices that are in force at that instant, as the usage that follows is.
    """
    for per, member, time in _holders(facts, subscription, part):
        for priced in _prices(facts, subscription.plan, time):
            if priced.price.per == per and _flat_at_zero(priced.price):
                yield _beat(
                    facts,
                    priced,
                    f"{segment(subscription.id)}/zero/{priced.meter}/{priced.price.id}/{time.isoformat()}",
                    kind="zero",
                    time=time,
                    period=period,
                    subscription=subscription,
                    member=member,
                )


def _prices(facts: AccountFacts, name: str, at: datetime) -> Iterator[_Priced]:
    """Give every price of the plan in the version in force at `at`."""
    catalog = facts.catalogs.at(at)
    plan = catalog.plans.get(name)
    if plan is None:
        return
    for meter, prices in plan.prices.items():
        for price in prices:
            yield _Priced(catalog, plan, meter, price)


def _beat(
    facts: AccountFacts,
    priced: _Priced,
    id: str,
    *,
    kind: BeatKind,
    time: datetime,
    period: Period,
    subscription: Subscription,
    member: str | None,
) -> Beat:
    """Return what the price asks for without usage, of `member` or (None) of the account."""
    catalog, plan, meter, price = priced
    return Beat(
        time=time,
        id=id if member is None else f"{id}/{segment(member)}",
        kind=kind,
        period=period,
        meter=meter,
        unit=catalog.meters[meter].unit if meter in catalog.meters else "",
        quantity=ZERO,
        amount=ZERO,
        site=only_site(catalog),
        tax=tax_of(catalog, price.tax),
        member=member,
        plan=plan,
        price=price,
        subscription=subscription,
        currency=facts.currency_at(period.start),
        asked=catalog.currency,
        shares=catalog.shares_of(meter, only_site(catalog)),
    )


def _holders(
    facts: AccountFacts, subscription: Subscription, part: Period
) -> Iterator[tuple[Holder, str | None, datetime]]:
    """Give whose quantities add up in the part, each with the instant at which that begins."""
    start = part.start
    # Of a member's own subscription it is hers, credit and all, also where the quantities of all add up.
    yield "account", subscription.member, start
    if subscription.member is not None:
        yield "member", subscription.member, start
        return
    for member in facts.directory.members_of(facts.account.id):
        for span in under(facts, member, part):
            yield "member", member, span.start


def minimums(facts: AccountFacts, period: Period) -> Iterator[Beat]:
    """What is missing to the minimums of a closed period, by plan: its days under any of its subscriptions count."""
    if period.start not in facts.closed:
        return
    by_plan: dict[str, list[_Held]] = {}
    for subscription in subscriptions_of(facts):
        for part in parts_of(facts, subscription, period):
            by_plan.setdefault(subscription.plan, []).append(_Held(subscription, part))
    for name in sorted(by_plan):
        held = sorted(by_plan[name], key=lambda one: (one.part.start, one.subscription.id))
        for priced in _prices(facts, name, held[0].part.start):
            least = priced.price.period_minimum
            if least is None:
                continue
            for member, parts in _by_holder(facts, held, priced.price).items():
                last = max(parts, key=_until)
                beat = _beat(
                    facts,
                    priced,
                    f"{segment(name)}/minimum/{priced.meter}/{priced.price.id}",
                    kind="minimum",
                    time=period.end,
                    period=period,
                    subscription=last.subscription,
                    member=member,
                )
                yield beat._replace(
                    # Nobody fills the gap later than in the last instant that counts.
                    discounts_at=last.part.end - datetime.resolution,
                    days=_days(facts, [part for _, part in parts], period),
                    each=least,
                )


def _by_holder(facts: AccountFacts, held: list[_Held], price: Price) -> dict[str | None, list[_Held]]:
    found: dict[str | None, list[_Held]] = {}
    for one in held:
        subscription, part = one
        if price.per == "account":
            found.setdefault(None, []).append(one)
        elif subscription.member is not None:
            found.setdefault(subscription.member, []).append(one)
        else:
            for member in facts.directory.members_of(facts.account.id):
                for span in under(facts, member, part):
                    found.setdefault(member, []).append(_Held(subscription, span))
    return found


def _until(held: _Held) -> tuple[datetime, bool, datetime, str]:
    """Return a key that is greatest for what holds last: of several the account's own, then what began last."""
    subscription, part = held
    return part.end, subscription.member is None, part.start, subscription.id


def _days(facts: AccountFacts, spans: list[Period], period: Period) -> Days:
    """Return on how many days of the period any of `spans` holds."""
    days = facts.account.periods.days(period)
    seen: set[int] = set()
    for span in spans:
        begin, end = (days.between(period.start, instant) for instant in (span.start, span.end))
        seen.update(range(begin, end))
    return Days(len(seen), days.month)
