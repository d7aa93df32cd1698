"""The fold: an account's events in their order become the lines of its bill (decision 0001). All control flow is here.

event ──measure──▶ contributions ──burn──▶ covered + billable ──price──▶ line
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext

from meter.model.catalog import Catalog, PassThrough, Plan, Price
from meter.model.charge import Draw, Line, LineKey
from meter.model.directory import Subscription
from meter.model.errors import Broken
from meter.model.event import REFUND, SALE, UsageEvent
from meter.model.money import EXACT, ZERO, is_currency
from meter.model.period import Period, period_at
from meter.rating import grants
from meter.rating.evidence import Evidence
from meter.rating.facts import AccountFacts
from meter.rating.measure import CAN_FALL, Contribution, Scene, Unread, measure
from meter.rating.price import amount_between, choose, cumulative, steps_between
from meter.rating.resolve import subscription_at
from meter.rating.sale import is_paid, line_tax, paid_line, sale_currency, tip_line
from meter.rating.state import AccountState, DrawStep, TotalKey

__all__ = ["AccountFacts", "Evidence", "Folded", "PlacedEvent", "fold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedEvent:
    """An event that counts, with the member it is counted for (None: a paid sale of an unknown guest)."""

    event: UsageEvent
    member: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """What ought to be booked for the events, the state after them, and what no meter could read.

    `evidence` is there for each line if it was asked for.
    """

    lines: tuple[Line, ...]
    state: AccountState
    unread: tuple[Unread, ...] = ()
    evidence: Mapping[LineKey, Evidence] | None = None


def fold(facts: AccountFacts, state: AccountState, events: Sequence[PlacedEvent], *, trace: bool = False) -> Folded:
    """Return the lines of `events`, which come in order after `state.position`; `state` itself stays as it is.

    The same events give the same lines however they are divided among calls. Raises Broken (`fold_order`) for events
    out of order.
    """
    run = _Run(facts=facts, state=state.copy(), evidence={} if trace else None)
    with localcontext(EXACT):
        for placed in events:
            run.take(placed)
    return Folded(lines=tuple(run.lines), state=run.state, unread=tuple(run.unread), evidence=run.evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Usage:
    """An event on the way to its lines: who, when, under which plan of which catalog."""

    event: UsageEvent
    member: str | None
    period: Period
    catalog: Catalog
    subscription: Subscription | None
    plan: Plan | None


@dataclass(slots=True, kw_only=True)
class _Run:
    """One call of the fold: it changes `state`, its own copy, and collects lines."""

    facts: AccountFacts
    state: AccountState
    evidence: dict[LineKey, Evidence] | None
    lines: list[Line] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    period: Period | None = None

    def take(self, placed: PlacedEvent) -> None:
        event, state = placed.event, self.state
        position = event.position
        if state.position is not None and position <= state.position:
            raise Broken(
                f"event {event.source} {event.id} of account {self.facts.account.id} is folded out of order; "
                "fold again from a checkpoint before it",
                code="fold_order",
            )
        state.position = position
        period = self._period(event)
        catalog = self.facts.catalogs.at(event.time)
        if event.type == SALE and is_paid(event.data):
            self._paid(placed, period, catalog)
        elif event.type != REFUND:  # refunds book nothing in this version
            self._usage(placed, period, catalog)

    def _period(self, event: UsageEvent) -> Period:
        """Return the billing period of the event; the state enters it if it is a new one."""
        period = self.period
        if period is None or event.time not in period:
            account = self.facts.account
            period = self.period = period_at(event.time, zone_name=account.timezone, anchor_day=account.anchor_day)
            if period != self.state.period:
                given = self.facts.directory.grants.get(account.id, ())
                lasting = (g for g in given if g.span.end is None or g.span.end > period.start)
                self.state.enter(period, {grants.given_id(grant) for grant in lasting})
        return period

    def _paid(self, placed: PlacedEvent, period: Period, catalog: Catalog) -> None:
        account, event = self.facts.account, placed.event
        scene = Scene(member=placed.member, zone_name=catalog.site(event.site).timezone)
        line, unread = paid_line(
            event, account=account.id, currency=account.currency, scene=scene, catalog=catalog, period=period
        )
        self.lines.append(line)
        self.unread += unread

    def _usage(self, placed: PlacedEvent, period: Period, catalog: Catalog) -> None:
        event, account = placed.event, self.facts.account
        meters = catalog.meters_of(event.type, event.data)
        if not meters and event.type != SALE:
            return
        scene = Scene(member=placed.member, zone_name=catalog.site(event.site).timezone)
        subscription = subscription_at(
            account=account.id, member=placed.member, instant=event.time, directory=self.facts.directory
        )
        plan = subscription.plan if subscription is not None else catalog.default_plan
        usage = _Usage(
            event=event,
            member=placed.member,
            period=period,
            catalog=catalog,
            subscription=subscription,
            plan=None if plan is None else catalog.plans.get(plan),
        )
        for meter in meters:
            for part in measure(meter, event, scene, self.state):
                if isinstance(part, Unread):
                    self.unread.append(part)
                elif part.quantity and (usage.plan is None or meter.id in usage.plan.meters):
                    self._rate(usage, part)
        if event.type == SALE:
            tip = tip_line(
                event,
                account=account.id,
                currency=account.currency,
                scene=scene,
                catalog=catalog,
                period=period,
                plan=usage.plan.id if usage.plan is not None else None,
            )
            if tip is not None:
                self.lines.append(tip)

    def _rate(self, usage: _Usage, part: Contribution) -> None:
        """Burn credit for the contribution, price what is left, and keep the line."""
        event, meter, plan = usage.event, part.meter, usage.plan
        price, note = self._price(usage, part)
        total_key = TotalKey(
            plan.id if plan is not None else "",
            price.id if price is not None else "",
            price.content if price is not None else "",
            meter.id if price is None else "",
            (usage.member or "") if price is not None and price.per == "member" else "",
        )
        before = self.state.totals.get(total_key, ZERO)
        steps = self._burn(usage, part) if part.quantity > ZERO else self._give_back(part, before)
        covered = sum((step.amount for step in steps), ZERO)
        billable = part.quantity - covered
        after = before + billable
        if billable:
            self.state.totals[total_key] = after
        line = Line(
            key=LineKey(event.time, event.source, event.id, meter.id, part.element),
            account=self.facts.account.id,
            member=usage.member,
            site=event.site,
            meter=meter.id,
            plan=plan.id if plan is not None else None,
            kind="usage",
            event_type=event.type,
            events=(event.key,),
            period=usage.period,
            quantity=part.quantity,
            unit=meter.unit,
            covered=covered,
            billable=billable,
            dimensions=part.dimensions,
            price=price.id if price is not None else None,
            amount=amount_between(price.model, before, after) if price is not None and billable else ZERO,
            currency=self.facts.account.currency,
            tax=line_tax(usage.catalog, event.site, price, part.item),
            draws=tuple(Draw(grant=step.instance, unit=meter.unit, amount=step.amount) for step in steps),
            unpriced=price is None and bool(billable),
        )
        self.lines.append(line)
        if self.evidence is not None:
            self.evidence[line.key] = _evidence(line, steps, price, before, note)

    def _price(self, usage: _Usage, part: Contribution) -> tuple[Price | None, str | None]:
        """Return the price that applies, or None and why."""
        plan, meter, currency = usage.plan, part.meter, self.facts.account.currency
        if plan is None:
            return None, "the account has no plan at this time"
        price = choose(plan.prices.get(meter.id, ()), part.dimensions)
        if price is None:
            return None, f"no price of plan {plan.id} fits"
        if usage.catalog.currency != currency:
            return None, f"the prices are in {usage.catalog.currency}, the account pays in {currency}"
        if isinstance(price.model, PassThrough):
            unit = sale_currency(usage.event) or meter.unit
            if is_currency(unit) and unit != currency:
                return None, f"the usage is in {unit}, the account pays in {currency}"
        return price, None

    def _burn(self, usage: _Usage, part: Contribution) -> list[DrawStep]:
        """Draw credit for a positive quantity."""
        order = grants.burn_order(
            self.facts, meter=part.meter, member=usage.member, subscription=usage.subscription, period=usage.period
        )
        steps = grants.draw(order, self.state, part.quantity, usage.event.time)
        if part.meter.aggregate in CAN_FALL:
            for step in steps:
                self.state.remember(part.meter.id, step)
        return steps

    def _give_back(self, part: Contribution, total: Decimal) -> list[DrawStep]:
        """A negative quantity first lowers what was priced (`total`), then returns draws, the last drawn first."""
        owed = -part.quantity - max(total, ZERO)
        return self.state.give_back(part.meter.id, owed) if owed > ZERO else []


def _evidence(line: Line, steps: list[DrawStep], price: Price | None, before: Decimal, note: str | None) -> Evidence:
    after = before + line.billable
    return Evidence(
        draws=tuple(steps),
        price=price,
        before=before,
        after=after,
        paid_before=ZERO if price is None else cumulative(price.model, before),
        paid_after=ZERO if price is None else cumulative(price.model, after),
        steps=() if price is None else tuple(steps_between(price.model, before, after)),
        note=note if line.unpriced else None,
    )
