"""Stage two: a contribution or a beat becomes a line, with what it draws and what it costs (decision 0009).

quantity ──unit and credit grants──▶ billable ──price──▶ ──caps──▶ ──discounts──▶ ──money grants──▶ amount of the line
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from meter.model.catalog import Catalog, Meter, Percentage, Price
from meter.model.charge import EXPIRY_PART, Draw, Kind, Line, LineKey
from meter.model.errors import Broken
from meter.model.event import Json
from meter.model.money import ONE, ZERO, is_currency, round_amount, unit_scale
from meter.model.period import Period
from meter.rating import grants
from meter.rating.calendar import Beat, BeatKind
from meter.rating.credit import Credit
from meter.rating.evidence import Evidence
from meter.rating.facts import AccountFacts
from meter.rating.lane import FEES, Lane, discounts_on, lane_of
from meter.rating.measure import Contribution
from meter.rating.payable import Due, Payable, Payables
from meter.rating.price import Tally, choose, true_up
from meter.rating.resolve import subscription_at, subscription_span
from meter.rating.sale import sale_currency
from meter.rating.state import AccountState, DrawStep, SaleKey, SoldPart, TotalKey
from meter.rating.values import MISSING, number, read

_NOTHING: Final = Payable(ZERO)
_KINDS: Final[Mapping[BeatKind, Kind]] = {"fee": "fee", "zero": "usage", "minimum": "minimum", "expiry": "fee"}


class _Kept(NamedTuple):
    """The lane that was looked up last for a meter and member, and the span in which it is the one."""

    start: datetime
    end: datetime
    period: Period
    lane: Lane


@dataclass(slots=True, kw_only=True)
class Rater:
    """Changes `state`, the fold's own copy, and returns lines; keeps `evidence` if it is asked for."""

    facts: AccountFacts
    state: AccountState
    evidence: dict[LineKey, Evidence] | None = None
    # Draws of the line made last, in the order of draws: what a refund of a sale must know.
    steps: Sequence[DrawStep] = ()
    _kept: dict[tuple[str, str | None], _Kept] = field(default_factory=dict)
    _credit: Credit = field(init=False)
    _payables: Payables = field(init=False)

    def __post_init__(self) -> None:
        """Share the state with what draws credit and what lowers amounts."""
        self._credit = Credit(self.facts, self.state)
        self._payables = Payables(self.state, self._credit)

    def lane(self, time: datetime, member: str | None, meter: Meter, period: Period, catalog: Catalog) -> Lane:
        """Return the terms that apply at `time`."""
        kept = self._kept.get((meter.id, member))
        if (
            kept is not None
            and kept.start <= time < kept.end
            and kept.lane.catalog is catalog
            and (kept.period is period or kept.period == period)
        ):
            return kept.lane
        subscription, start, end = subscription_span(
            account=self.facts.account.id, member=member, instant=time, directory=self.facts.directory
        )
        lane = lane_of(
            self.facts, catalog=catalog, meter=meter, member=member, subscription=subscription, period=period
        )
        self._kept[meter.id, member] = _Kept(start, end, period, lane)
        return lane

    def plan(self, time: datetime, member: str | None, catalog: Catalog) -> str | None:
        """Return the plan that usage at `time` falls under."""
        subscription = subscription_at(
            account=self.facts.account.id, member=member, instant=time, directory=self.facts.directory
        )
        name = catalog.default_plan if subscription is None else subscription.plan
        return name if name in catalog.plans else None

    def usage(
        self, part: Contribution, key: LineKey, period: Period, catalog: Catalog, sale: SaleKey | None = None
    ) -> Line | None:
        """Return the line of a contribution: credit first, then the price. None: there is nothing to book.

        `sale`: the contribution is a part of that, and some refund speaks of it.
        """
        event, member, quantity, state = part.event, part.member, part.quantity, self.state
        # A session may have ended under a later version of its meter; the one of its start prices it.
        meter = part.meter if part.meter.pairing is None else catalog.meters.get(part.meter.id, part.meter)
        lane = self.lane(event.time, member, meter, period, catalog)
        if not quantity or not lane.billed:
            return None
        price, note = _price(lane, part)
        base = fault = None
        if price is not None and isinstance(price.model, Percentage):
            base = _base(price.model, part)
            fault = f"{'.'.join(price.model.path)} is missing or not a number" if base is None else None
        total = lane.total_key(None if fault else price, member)
        before = state.tallies.get(total) or Tally()
        credit, sold = self._credit, None if sale is None else SoldPart(sale, part.element)
        steps = credit.cover(lane, part, sold) if quantity > ZERO else credit.uncover(lane, quantity, before.quantity)
        covered = sum([step.covered for step in steps], ZERO) if steps else ZERO
        billable = quantity - covered
        if base is not None and covered:
            base = base * billable / quantity
        if fault and billable:
            price, note = None, fault
        left = _NOTHING
        if not billable:
            pass
        elif price is None:
            state.tallies[total] = before._replace(quantity=before.quantity + billable)
        else:
            first = lane.tariffs[price.id].charge(before, billable, base)
            state.tallies[total] = first.tally
            if price.id in lane.plain and first.amount >= ZERO and not state.returned:
                left = self._payables.in_full(lane, first.amount)
            else:
                left = self._payables.of(lane, price, total, first.amount, Due(event.time, event.site, member, sold))
        line = self._line(
            part, key, lane, period, price=price, steps=steps, covered=covered, billable=billable, left=left
        )
        self.steps = (*steps, *left.money) if left.money else steps
        if self.evidence is not None:
            self.evidence[line.key] = Evidence(
                draws=tuple(self.steps),
                price=price,
                before=before,
                billable=billable,
                per=lane.per,
                base=base,
                reductions=tuple(left.reductions),
                note=note,
                credit_rate=grants.rate_of(lane.rates, part.dimensions),
                part=part,
            )
        return line

    def beat(self, beat: Beat) -> Line | None:
        """Return the line of something due without an event; None if it comes to nothing."""
        left: Payable
        quantity, part = beat.quantity, ""
        # Nothing is converted: what a catalog asks for in another currency than the account's is booked at 0.
        foreign = beat.asked not in {None, beat.currency}
        if foreign:
            left = _NOTHING
        elif beat.instance is not None:
            left, part = _NOTHING, EXPIRY_PART
            used, scale = self.state.used.get(beat.instance, ZERO), unit_scale(beat.unit)
            quantity -= used if scale == ONE else round_amount(used / scale)
        elif beat.kind == "fee":
            left = self._discounted_beat(beat, beat.amount, FEES)
        elif beat.kind == "zero":
            flat = self._first_flat(beat)
            if flat is None:
                return None
            left = flat
        else:
            if beat.price is None or beat.plan is None or beat.days is None:
                raise Broken(f"the beat {beat.id} has no price", code="bad_beat")
            reached = self.state.capped.get((beat.plan.id, beat.price.id, beat.member or ""), ZERO)
            missing = true_up(beat.each, reached, beat.days.active, beat.days.days)
            left = self._discounted_beat(beat, missing, beat.meter)
        if not left.amount and not quantity and not left.money:
            return None
        named = beat.price or beat.plan
        line = Line(
            key=LineKey(beat.time, "", beat.id, beat.meter, 0, part),
            account=self.facts.account.id,
            member=beat.member,
            site=beat.site,
            meter=beat.meter,
            plan=beat.plan.id if beat.plan is not None else None,
            kind=_KINDS[beat.kind],
            event_type="",
            events=(),
            period=beat.period,
            quantity=quantity,
            unit=beat.unit,
            covered=ZERO,
            billable=quantity,
            dimensions={},
            price=named.id if named is not None else None,
            amount=left.amount,
            currency=beat.currency,
            tax=beat.tax,
            draws=_draws(left.money),
            unpriced=foreign,
            shares=beat.shares,
            earned_until=beat.earned_until,
        )
        if self.evidence is not None:
            self.evidence[line.key] = Evidence(
                draws=tuple(left.money), price=beat.price, reductions=tuple(left.reductions), beat=beat
            )
        return line

    def _discounted_beat(self, beat: Beat, amount: Decimal, what: str) -> Payable:
        """Lower an amount due without an event as usage of the meter `what` would be, or a fee."""
        found, time = discounts_on(beat.subscription, what), beat.discounts_at or beat.time
        return self._payables.discounted(found, amount, time, beat.subscription)

    def _first_flat(self, beat: Beat) -> Payable | None:
        """Price nothing at all, which the first tier's flat is due for, unless usage came first."""
        plan, price = beat.plan, beat.price
        if plan is None or price is None:
            raise Broken(f"the beat {beat.id} has no price", code="bad_beat")
        key = TotalKey(plan.id, price.id, price.content, "", (beat.member or "") if price.per == "member" else "")
        before = self.state.tallies.get(key) or Tally()
        if before.begun:
            return None
        catalog = self.facts.catalogs.at(beat.time)
        meter = catalog.meters.get(beat.meter)
        if meter is None:
            return None
        lane = lane_of(
            self.facts,
            catalog=catalog,
            meter=meter,
            member=beat.member,
            subscription=beat.subscription,
            period=beat.period,
        )
        first = lane.tariffs[price.id].charge(before, ZERO, None)
        self.state.tallies[key] = first.tally
        return self._payables.of(lane, price, key, first.amount, Due(beat.time, beat.site, beat.member))

    def _line(
        self,
        part: Contribution,
        key: LineKey,
        lane: Lane,
        period: Period,
        *,
        price: Price | None,
        steps: Sequence[DrawStep],
        covered: Decimal,
        billable: Decimal,
        left: Payable,
    ) -> Line:
        event, quantity = part.event, part.quantity
        if lane.per != ONE:
            quantity, covered = round_amount(quantity / lane.per), round_amount(covered / lane.per)
            billable = quantity - covered
        return Line(
            key=key,
            account=self.facts.account.id,
            member=part.member,
            site=event.site,
            meter=lane.meter.id,
            plan=lane.plan.id if lane.plan is not None else None,
            kind="usage",
            event_type=event.type,
            events=part.events,
            period=period,
            quantity=quantity,
            unit=lane.meter.unit,
            covered=covered,
            billable=billable,
            dimensions=part.dimensions,
            price=price.id if price is not None else None,
            amount=left.amount,
            currency=lane.currency,
            tax=lane.tax(event.site, price, part.item),
            draws=_draws([*steps, *left.money]) if steps or left.money else (),
            estimated=part.estimated,
            unpriced=price is None and bool(billable),
            shares=lane.catalog.shares_of(lane.meter.id, event.site),
        )


def _price(lane: Lane, part: Contribution) -> tuple[Price | None, str | None]:
    """Return the price that applies, or None and why."""
    if lane.note is not None:
        return None, lane.note
    event, price = part.event, lane.sole
    if price is None:
        zone_name = lane.catalog.site(event.site).timezone
        price = choose(lane.prices, part.dimensions, instant=event.time, zone_name=zone_name)
    if price is None:
        return None, f"no price of plan {lane.plan.id if lane.plan is not None else None} fits"
    if price.id in lane.in_money:
        unit, currency = sale_currency(event) or lane.meter.unit, lane.currency
        if unit != currency and is_currency(unit):
            return None, f"the usage is in {unit}, the account pays in {currency}"
    return price, None


def _draws(steps: Sequence[DrawStep]) -> tuple[Draw, ...]:
    """Return draws in their grants' units: a running difference where that must be rounded, so that they telescope."""
    found = []
    for step in steps:
        amount, scale = step.amount, unit_scale(step.unit)
        if scale != ONE:
            used = step.granted - step.balance
            amount = round_amount((used + amount) / scale) - round_amount(used / scale)
        found.append(Draw(grant=step.instance, unit=step.unit, amount=amount))
    return tuple(found)


def _base(model: Percentage, part: Contribution) -> Decimal | None:
    """Return what a percentage applies to: read from the array's element first, then from the event."""
    value: Json = MISSING
    if part.item is not None:
        value = read(part.item, model.path)
        if value is MISSING and len(model.path) > 1:
            value = read(part.item, model.path[1:])
    if value is MISSING:
        value = read(part.event.data, model.path)
    return number(value)
