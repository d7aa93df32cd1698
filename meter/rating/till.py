"""Sales and their refunds within a fold: which sales to keep, and what a refund gives back (rating.md, section 8).

A sale is kept only if some refund speaks of it. A state from which a sale's refund was not yet known cannot be gone on
from: the fold asks for one before the sale (decision 0009).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from meter.model.charge import Draw, Line, LineKey, changed
from meter.model.event import REFUND, SALE, EventKey, Position, UsageEvent
from meter.model.money import ONE, ZERO, round_amount, unit_scale
from meter.model.period import Period
from meter.rating import grants
from meter.rating.evidence import Evidence, GivenBack
from meter.rating.facts import AccountFacts
from meter.rating.measure import Contribution, Scene, Unread
from meter.rating.placed import PlacedEvent
from meter.rating.refund import Billed, Refunded, Sold, refund, sold
from meter.rating.sale import POS, paid_line, tip_line
from meter.rating.sold import sold_lines
from meter.rating.state import AccountState, DrawStep, Returned, SaleKey


def sale_of(event: UsageEvent) -> SaleKey | None:
    """Return the sale that a refund speaks of, or that a sale is; None where it names none."""
    if event.type == SALE:
        return None if event.thing is None else SaleKey(event.source, event.thing)
    named = event.data.get("sale")
    if not isinstance(named, dict):
        return None
    source, order = named.get("source"), named.get("order")
    # Some vendors number their orders.
    return None if source is None or order is None else SaleKey(str(source), str(order))


@dataclass(slots=True, kw_only=True)
class Till:
    """The sales and refunds of one call of the fold; changes `state`, the fold's own copy, and fills `evidence`."""

    facts: AccountFacts
    state: AccountState
    evidence: dict[LineKey, Evidence] | None = None
    unread: list[Unread] = field(default_factory=list)
    _refunds: list[PlacedEvent] = field(default_factory=list)
    _wanted: set[SaleKey] = field(default_factory=set)
    _sale: EventKey | None = None

    def expect(self, events: Sequence[PlacedEvent]) -> None:
        """Look which sales the events and the refunds that wait in the state speak of."""
        self._refunds = [placed for placed in events if placed.event.type == REFUND]
        spoken_of = (sale_of(placed.event) for placed in [*self._refunds, *self.state.waiting.values()])
        self._wanted = {key for key in spoken_of if key is not None}

    def waiting(self) -> Iterable[PlacedEvent]:
        """Return the refunds that came before the state's place, and whose sales come after it, in order."""
        return sorted(self.state.waiting.values(), key=lambda placed: placed.event.position)

    def unknown(self, base: Position) -> list[Position]:
        """Return the places, up to `base`, of sales that refunds speak of and that the state has not kept."""
        return [
            placed.sale
            for placed in self._refunds
            if placed.sale is not None and placed.sale <= base and sale_of(placed.event) not in self.state.sold
        ]

    def wanted(self, event: UsageEvent) -> SaleKey | None:
        """Return what refunds call a sale that some refund speaks of; None for another."""
        key = sale_of(event) if self._wanted else None
        return key if key in self._wanted else None

    def sell(self, event: UsageEvent, member: str | None, billed: Billed | None) -> None:
        """Keep a line of a sale that some refund speaks of; None: of one that has perhaps no line at all."""
        key = self.wanted(event)
        if key is None:
            return
        sales, found = self.state.sold, [] if billed is None else [billed]
        if self._sale == event.key:
            sales[key] = replace(sales[key], lines=(*sales[key].lines, *sold_lines(event, found)))
        else:
            self._sale = event.key
            sales[key] = sold(event, found, member=member, currency=self.facts.currency_at(event.time))

    def paid(self, placed: PlacedEvent, period: Period) -> tuple[Line, list[Unread]]:
        """Return the line of a sale paid at the till, and what of it could not be read."""
        event, facts = placed.event, self.facts
        catalog = facts.catalogs.at(event.time)
        line, unread = paid_line(
            event,
            account=facts.account.id,
            currency=facts.currency_at(period.start),
            scene=Scene(placed.member, catalog.site(event.site), period),
            catalog=catalog,
            period=period,
        )
        self.sell(event, placed.member, billed(None, line, ()))
        return line, unread

    def tip(self, event: UsageEvent, member: str | None, period: Period, *, plan: str | None) -> Line | None:
        """Return the line of the tip of a sale on account, if it has one; its other lines are complete then."""
        facts, catalog = self.facts, self.facts.catalogs.at(event.time)
        line = tip_line(
            event,
            account=facts.account.id,
            currency=facts.currency_at(period.start),
            scene=Scene(member, catalog.site(event.site), period),
            catalog=catalog,
            period=period,
            plan=plan,
        )
        self.sell(event, member, None if line is None else billed(None, line, ()))
        return line

    def refund(self, placed: PlacedEvent, period: Period, place: Position) -> list[Line]:
        """Return the lines of a refund that stands at `place`; none while its sale is unknown or left nothing."""
        event, state, at = placed.event, self.state, place.time
        state.waiting.pop(event.key, None)
        key = sale_of(event)
        sale = None if key is None else state.sold.get(key)
        if key is None or sale is None:
            return []
        expired: dict[str, str] = {}

        def instance_for(name: str) -> str:
            if not self._is_over(name, at):
                return name
            expired[(new := grants.returned_id(name, event.source, event.id))] = name
            return new

        found = refund(event, sale, account=self.facts.account.id, period=period, instance_for=instance_for)
        state.sold[key] = found.sold
        if found.notes:
            reason = "; ".join(found.notes)
            self.unread.append(Unread(event=event.key, meter=POS, element=0, reason=reason, place=place, code="refund"))
        used = {name: state.used.get(name, ZERO) for name, _ in found.returns}
        lines = [_in_units(line, used) for line in found.lines]
        if self.evidence is not None:
            self._explain(found, sale, {name: amount for name, amount in found.returns if name in expired})
        for name, amount in found.returns:
            if name in expired:
                state.returned[name] = Returned(expired[name], at, period.end, amount)
            else:
                state.used[name] -= amount
        if sale.position.time in period:
            self._unpay(lines)
        return lines

    def _unpay(self, lines: Sequence[Line]) -> None:
        """Take what lines of the period give back off what was paid: a negative amount does not give it back again."""
        paid = self.state.paid
        for line in lines:
            if line.meter in paid and line.settlement == "account" and not line.key.of_tip:
                paid[line.meter] += line.amount

    def _explain(self, found: Refunded, sale: Sold, renewed: Mapping[str, Decimal]) -> None:
        """Keep how the lines of a refund came about; `renewed`: the credit that became instances of its own."""
        state, given = self.state, dict.fromkeys(renewed, ZERO)
        for line in found.lines:
            steps = []
            for draw in line.draws:
                name, known = draw.grant, state.returned.get(draw.grant)
                instance = grants.find(self.facts, name)
                granted = ZERO if instance is None else instance.granted(state.used)
                granted = known.amount if known is not None else renewed.get(name, granted)
                balance = given.get(name, ZERO)
                if name not in renewed:
                    balance += granted - state.used.get(name, ZERO)
                steps.append(DrawStep(name, draw.unit, draw.amount, draw.amount, balance, granted))
                given[name] = given.get(name, ZERO) - draw.amount
            if self.evidence is not None:
                self.evidence[line.key] = Evidence(
                    draws=tuple(steps),
                    price=None,
                    per=unit_scale(line.unit),
                    note="; ".join(found.notes) or None,
                    refund=GivenBack(sale, found.sold),
                )

    def _is_over(self, name: str, at: datetime) -> bool:
        known = self.state.returned.get(name)
        if known is not None:
            return known.expires <= at
        instance = grants.find(self.facts, name)
        return instance is None or (instance.expires is not None and instance.expires <= at)

    def keep(self, state: AccountState, position: Position) -> None:
        """Complete a state kept at `position`: refunds from before it whose sales come after it wait in it."""
        waiting = [*self.state.waiting.values(), *self._refunds]
        state.waiting = {
            placed.event.key: placed
            for placed in waiting
            if placed.sale is not None and placed.event.position <= position < placed.sale
        }


def billed(part: Contribution | None, line: Line, steps: Sequence[DrawStep]) -> Billed:
    """Return a line of a sale as a refund will want to know it."""
    return Billed(line, steps, None if part is None else part.item)


def _in_units(line: Line, used: dict[str, Decimal]) -> Line:
    """Return the line with draws in their grants' units: running differences of what is `used`, which it changes."""
    if all(unit_scale(draw.unit) == ONE for draw in line.draws):
        return line
    draws = []
    for draw in line.draws:
        scale, before = unit_scale(draw.unit), used[draw.grant]
        used[draw.grant] = after = before + draw.amount
        amount = draw.amount if scale == ONE else round_amount(after / scale) - round_amount(before / scale)
        draws.append(Draw(grant=draw.grant, unit=draw.unit, amount=amount))
    return changed(line, draws=tuple(draws))
