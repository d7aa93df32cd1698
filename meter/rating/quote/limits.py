"""Limits of a plan: which of them an ask meets, over which span they count, and what is left of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from meter.model.catalog import Plan, UsageLimit
from meter.model.charge import Line
from meter.model.instant import local_date, local_midnight
from meter.model.money import ZERO
from meter.model.period import Period
from meter.rating.facts import AccountFacts
from meter.rating.quote.ask import Ask
from meter.rating.resolve import subscription_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A limit with the span over which it counts, and the member whose usage does (None: everybody's)."""

    limit: UsageLimit
    span: Period
    member: str | None

    def counts(self, line: Line) -> bool:
        """Tell whether a line adds to what the limit is held against: its meter's usage, and what refunds take off.

        Neither what falls due by itself nor what was paid at the till.
        """
        return (
            line.meter == self.limit.meter
            and bool(line.events)
            and line.settlement == "account"
            and line.key.time in self.span
            and self.member in {None, line.member}
        )

    def of(self, line: Line) -> Decimal:
        """Return what a line adds."""
        return line.amount if self.limit.of == "money" else line.quantity

    def total(self, lines: Iterable[Line]) -> Decimal:
        """Return what lines add up to."""
        return sum((self.of(line) for line in lines if self.counts(line)), ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUse:
    """What a limit has seen before the ask, reservations included, and what the ask would add."""

    window: Window
    used: Decimal
    asked: Decimal

    @property
    def left(self) -> Decimal | None:
        """Return what was left for the ask; None where the limit only warns."""
        hard = self.window.limit.hard
        return None if hard is None else max(hard - self.used, ZERO)

    @property
    def exceeded(self) -> bool:
        """Tell whether the ask goes beyond what is allowed."""
        return self._beyond(self.window.limit.hard)

    @property
    def warned(self) -> bool:
        """Tell whether the ask goes beyond where the limit warns."""
        return self._beyond(self.window.limit.soft)

    def _beyond(self, bound: Decimal | None) -> bool:
        # What adds nothing is never too much, wherever a lowered limit stands by now.
        return bound is not None and self.asked > ZERO and self.used + self.asked > bound


def plan_at(facts: AccountFacts, member: str, at: datetime) -> Plan | None:
    """Return the plan that the member's usage at `at` falls under."""
    catalog = facts.catalogs.at(at)
    held = subscription_at(account=facts.account.id, member=member, instant=at, directory=facts.directory)
    return catalog.plans.get(catalog.default_plan or "" if held is None else held.plan)


def limits_on(facts: AccountFacts, ask: Ask, at: datetime) -> tuple[Window, ...]:
    """Return the limits of the ask's plan that are of its meter, each with its span at `at`.

    A day is that of the site's clock, from midnight to midnight, however long it is.
    """
    plan = plan_at(facts, ask.member, at)
    day = _day(at, facts.catalogs.at(at).site(ask.site).timezone)
    return tuple(
        Window(
            limit=limit,
            span=day if limit.every == "day" else facts.account.periods.at(at),
            member=ask.member if limit.per == "member" else None,
        )
        for limit in (() if plan is None else plan.limits)
        if limit.meter == ask.meter
    )


def _day(at: datetime, timezone: str) -> Period:
    today = local_date(at, timezone)
    return Period(local_midnight(today, timezone), local_midnight(today + timedelta(days=1), timezone))
