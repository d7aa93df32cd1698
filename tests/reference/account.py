"""One account's usage, line by line in the order of places: credit, price, caps, discounts, money grants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any

from tests.reference.counting import Contribution, Placed, beside
from tests.reference.credit import Credit, Drawn, scope
from tests.reference.dates import Period, day_of
from tests.reference.dues import Due
from tests.reference.facts import Facts
from tests.reference.lines import Key, Line, Share, Tax
from tests.reference.pricing import PER_EVENT, Events, caps, chosen, content, total_price
from tests.reference.values import CURRENCIES, SECONDS, ZERO, Doc, exact, number, rounded

Shown = dict[str, Fraction]


def sums() -> dict[Any, Fraction]:
    return defaultdict(Fraction)


@dataclass
class Memory:
    """Everything that adds up. The period is part of each key where it ends with the period."""

    quantity: dict[Any, Fraction] = field(default_factory=sums)
    booked: dict[Any, Fraction] = field(default_factory=sums)
    events: dict[Any, Events] = field(default_factory=lambda: defaultdict(Events))
    by_day: dict[Any, Fraction] = field(default_factory=sums)
    by_period: dict[Any, Fraction] = field(default_factory=sums)
    capped: dict[Any, Fraction] = field(default_factory=sums)
    discounted: dict[Any, Fraction] = field(default_factory=sums)
    paid: dict[Any, Fraction] = field(default_factory=sums)
    covers: dict[Any, list[Drawn]] = field(default_factory=lambda: defaultdict(list))
    payments: dict[Any, list[Drawn]] = field(default_factory=lambda: defaultdict(list))


@dataclass(kw_only=True)
class Booked:
    """A usage line with its draws, for a sale that may be refunded."""

    line: Line
    item: Doc | None
    covers: list[Drawn]
    payments: list[Drawn]
    # Of what is covered, in one unit of the line: seconds for units of time.
    factor: int


class Account:
    """Rates what it is given, in the order in which it is given."""

    def __init__(self, facts: Facts, name: str) -> None:
        self.facts = facts
        self.name = name
        self.credit = Credit(facts, name)
        self.memory = Memory()
        self.lines: list[Line] = []

    def prices_in(self, at: datetime, period: Period) -> bool:
        """Whether the catalog prices in the currency of the period."""
        return bool(self.facts.catalog(at)["currency"] == period.terms.currency)

    def showing(self, draw: Callable[[], list[Drawn]]) -> tuple[list[Drawn], Shown]:
        """What is drawn, and how it is told: differences of each instance's use in its unit, rounded to 12 places."""
        credit = self.credit
        before = {name: credit.drawn(name) for name in {*credit.used, *credit.begun}}
        found = draw()
        shown: Shown = {}
        for one in found:
            name, factor = one.instance.id, one.instance.factor
            shown[name] = rounded(credit.drawn(name) / factor, 12) - rounded(before.get(name, ZERO) / factor, 12)
        return found, shown

    # --- usage --------------------------------------------------------------------------------------------------------

    def use(self, one: Contribution, sub: Doc | None, plan_name: str | None, plan: Doc | None) -> Booked | None:
        at, meter = one.at, one.at.catalog["meters"][one.meter]
        if plan is not None and one.meter not in priced_or_granted(plan, at.catalog):
            return None
        zone = self.facts.zone_of_site(at.site, at.time)
        price = chosen((plan or {}).get("prices", {}).get(one.meter, []), one.dimensions, at.time, zone)
        if price is not None and (not self.prices_in(at.time, at.period) or self._foreign(price, meter, at)):
            price = None
        key = (at.period.start, *price_key(plan_name, one.meter, price, at.member))
        before = self.memory.quantity[key]
        covers, shown = self.showing(lambda: self._cover(one, sub, meter["unit"], before))
        covered = sum((draw.covered for draw in covers), ZERO)
        billable = one.quantity - covered
        self.memory.quantity[key] = before + billable
        factor = SECONDS.get(meter["unit"], 1)
        amount: Fraction | None = ZERO
        # What credit covers wholly costs nothing, not even a first flat.
        if price is not None and billable:
            amount = self._amount(price, key, billable, one, factor)
            price = None if amount is None else price
        payments: list[Drawn] = []
        if price is not None and amount is not None:
            day = day_of(at.time, zone)
            amount = self._capped(price, key, day, amount)
            amount = self._discounted(sub, one.meter, at.time, at.period, amount)
            payments, paid = self.showing(lambda: self._pay(one.meter, at, sub, amount or ZERO))
            amount -= sum((draw.amount for draw in payments), ZERO)
            self.memory.paid[at.period.start, one.meter] += amount
            shown |= paid
        line = Line(
            account=self.name,
            member=at.member,
            site=at.site,
            key=(at.time, at.event["source"], at.event["id"], one.meter, one.element, ""),
            plan=plan_name if plan else None,
            price=price["id"] if price else None,
            quantity=rounded(one.quantity / factor, 12) if factor > 1 else one.quantity,
            covered=rounded(covered / factor, 12) if factor > 1 else covered,
            amount=amount or ZERO,
            unpriced=amount is None or (price is None and billable != 0),
            estimated=one.estimated,
            currency=at.period.terms.currency,
            tax=self._tax(at, price, one.item),
            period=at.period,
            draws=shown,
            events=[(at.event["source"], at.event["id"]), *one.ends],
            granted=sum((draw.amount for draw in payments), ZERO),
            shares=self.facts.shares(one.meter, at.site, at.time),
        )
        self.lines.append(line)
        return Booked(line=line, item=one.item, covers=covers, payments=payments, factor=factor)

    def _foreign(self, price: Doc, meter: Doc, at: Placed) -> bool:
        """Money of another currency than the account's is never priced."""
        money = at.event["data"]["currency"] if at.event["type"] == "pos.sale" else meter["unit"]
        reads_money = price["model"] == "pass_through" or (
            price["model"] == "percentage" and at.event["type"] == "pos.sale"
        )
        reads_money = reads_money or meter["unit"] in CURRENCIES
        return reads_money and money in CURRENCIES and money != at.period.terms.currency

    def _cover(self, one: Contribution, sub: Doc | None, unit: str, before: Fraction) -> list[Drawn]:
        """Draw credit for the quantity; a negative one first lowers what was priced, then gives credit back."""
        at = one.at
        drawn = self.memory.covers[at.period.start, one.meter]
        if one.quantity < 0:
            return self.credit.give_back_quantity(drawn, -one.quantity - max(before, ZERO))
        instances = self.credit.eligible(at.member, sub, at.period, one.meter, at.time)
        rate = self.credit.rate(one.meter, one.dimensions, at.time)
        found = self.credit.cover(instances, unit, rate, one.quantity)
        drawn += found
        return found

    def _amount(self, price: Doc, key: Any, billable: Fraction, one: Contribution, factor: int) -> Fraction | None:
        """The amount before caps; None where the field of a percentage cannot be read."""
        if price["model"] not in PER_EVENT:
            total = rounded(total_price(price, self.memory.quantity[key] / factor), 12)
            amount = total - self.memory.booked[key]
            self.memory.booked[key] = total
            return amount
        base: Fraction | None = ZERO
        if price["model"] == "percentage":
            meter = one.at.catalog["meters"][one.meter]
            base = number(beside(price["field"], meter.get("value", ""), one.at.event["data"], one.item)[1])
        if base is None or billable <= 0:
            return None if base is None else ZERO
        if price["model"] == "flat":
            return rounded(exact(price["amount"]), 12)
        return rounded(self.memory.events[key].fee(price, base * billable / one.quantity), 12)

    def _capped(self, price: Doc, key: Any, day: Any, amount: Fraction) -> Fraction:
        """What the caps leave of the amount: by local date, then by period."""
        cap = caps(price, "day")
        if cap is not None:
            amount = _step(self.memory.by_day, (*key[1:], day), amount, cap)
        cap = caps(price, "period")
        if cap is not None:
            amount = _step(self.memory.by_period, key, amount, cap)
        holder = key[-1]
        self.memory.capped[key[0], key[1], price["id"], holder] += amount
        return amount

    def _discounted(self, sub: Doc | None, meter: str, at: datetime, period: Period, amount: Fraction) -> Fraction:
        """What the subscription's discounts leave of it, in the order of their list."""
        if sub is None:
            return amount
        calendar = self.facts.calendar_of(sub)
        for discount in sub.get("discounts", []):
            on = discount.get("on")
            start, end = self.facts.span(discount, calendar)
            if on is not None and ("fees" if meter == "membership" else meter) not in ([on] if on == "fees" else on):
                continue
            if not start <= at < end:
                continue
            key = (period.start, sub["id"], discount["id"])
            before = self.memory.discounted[key]
            self.memory.discounted[key] += amount
            amount = _left(discount, self.memory.discounted[key]) - _left(discount, before)
        return amount

    def _pay(self, meter: str, at: Placed, sub: Doc | None, amount: Fraction) -> list[Drawn]:
        """Draw money; a negative amount first lowers what was paid, then gives money back to its grants."""
        return self._pay_at(meter, at.member, at.time, at.period, sub, amount)

    def _pay_at(  # noqa: PLR0917 -- as the rules name them
        self, meter: str, member: str | None, at: datetime, period: Period, sub: Doc | None, amount: Fraction
    ) -> list[Drawn]:
        drawn = self.memory.payments[period.start, meter]
        if amount < 0:
            paid = max(self.memory.paid[period.start, meter], ZERO)
            return self.credit.give_back_money(drawn, -amount - paid)
        instances = self.credit.eligible(member, sub, period, meter, at)
        found = self.credit.pay(instances, period.terms.currency, amount)
        drawn += found
        return found

    def _tax(self, at: Placed, price: Doc | None, item: Doc | None) -> Tax | None:
        net = item is not None and price is not None and price["model"] == "pass_through"
        name = None
        if item is not None:
            name = item.get("tax_name")
            if name not in at.catalog.get("taxes", {}):
                tax, amount = number(item.get("tax")), number(item.get("amount"))
                if tax is not None and amount:
                    return name or "sale", rounded(tax / amount, 6), False
                name = None
        name = name or (price or {}).get("tax") or self.facts.tax_of_site(at.site, at.time)
        return self.tax(name, at.time, net=net)

    def tax(self, name: str | None, at: datetime, *, net: bool = False) -> Tax | None:
        found = self.facts.tax(name, at, net=net)
        return None if found is None else (found[0], exact(found[1]), found[2])

    # --- without an event ---------------------------------------------------------------------------------------------

    def due(self, due: Due) -> None:
        """A fee, a deposit, a purchase or its end, a first flat or a minimum."""
        amount, payments, shown = due.amount, list[Drawn](), Shown()
        at, quantity = due.time, self._left_of(due)
        if due.kind == "expired" and not quantity:
            return
        # Deposits and purchases are agreed with the account, in its currency; the rest is priced by the catalog.
        priced = due.kind in {"deposit", "bought", "expired"} or self.prices_in(due.by, due.period)
        if due.kind == "flat":
            assert due.price is not None
            key = (due.period.start, *price_key(due.plan, due.meter, due.price, due.member))
            amount = rounded(total_price(due.price, ZERO), 12) - self.memory.booked[key]
            if not priced or not amount or self.memory.booked[key] or self.memory.quantity[key]:
                return
            self.memory.booked[key] += amount
            zone = self.facts.zone_of_site(self.facts.only_site(at), at)
            amount = self._capped(due.price, key, day_of(at, zone), amount)
        elif due.kind == "minimum":
            assert due.price is not None
            holder = due.member if due.price.get("per") == "member" else None
            amount -= self.memory.capped[due.period.start, due.plan, due.price["id"], holder]
            if amount <= 0 or not priced:
                return
        # What is in no currency of the account's uses no discount up.
        if due.kind in {"fee", "flat", "minimum"} and priced:
            amount = self._discounted(due.sub, due.meter, due.discounted, due.period, amount)
            if due.kind == "minimum" and not amount:
                return
        if due.kind == "flat":
            # Nobody's own line; but what pays it is the credit of the subscription that owes it.
            sub, member = due.sub, due.member or (due.sub or {}).get("member")
            payments, shown = self.showing(lambda: self._pay_at(due.meter, member, at, due.period, sub, amount))
            amount -= sum((draw.amount for draw in payments), ZERO)
            self.memory.paid[due.period.start, due.meter] += amount
            if not amount and not shown:
                return
        self.lines.append(
            Line(
                account=self.name,
                member=due.member,
                site=self.facts.only_site(due.by),
                key=(at, "", due.id, due.meter, 0, due.part),
                kind={"flat": "usage", "minimum": "minimum"}.get(due.kind, "fee"),
                plan=due.plan,
                price=due.price["id"] if due.price else due.plan if due.kind == "fee" else None,
                quantity=quantity,
                amount=amount if priced else ZERO,
                unpriced=not priced,
                currency=due.currency,
                tax=self.tax(due.tax, due.by),
                period=due.period,
                draws=shown,
                granted=sum((draw.amount for draw in payments), ZERO),
                shares=self._shares_of(due),
                earned_until=due.until,
            )
        )

    def _left_of(self, due: Due) -> Fraction:
        """Its quantity; of credit that ends, less what was drawn until then."""
        if due.kind != "expired":
            return due.quantity
        return due.quantity - rounded(self.credit.used[due.id] / SECONDS.get(due.unit, 1), 12)

    def _shares_of(self, due: Due) -> list[Share]:
        """By the catalog that settles it; what is only kept for the member is nobody's revenue."""
        if due.kind in {"deposit", "bought", "expired"}:
            return []
        return self.facts.shares(due.meter, self.facts.only_site(due.by), due.by)

    def book(self, line: Line) -> None:
        self.lines.append(line)

    def key(self, event: Doc, meter: str, element: int, part: str) -> Key:
        return (event["at"], event["source"], event["id"], meter, element, part)


def _step(running: dict[Any, Fraction], key: Any, amount: Fraction, cap: Fraction) -> Fraction:
    """The difference that `amount` makes to min(S, cap)."""
    before = running[key]
    running[key] = before + amount
    return min(running[key], cap) - min(before, cap)


def _left(discount: Doc, total: Fraction) -> Fraction:
    """What a discount leaves of a sum."""
    if discount.get("rate") is not None:
        return rounded(total * (1 - exact(discount["rate"])), 12)
    return max(ZERO, total - exact(discount["amount"]))


def price_key(plan: str | None, meter: str, price: Doc | None, member: str | None) -> tuple[Any, ...]:
    """What adds up: plan, price id, content, and whose."""
    if price is None:
        return plan, meter, None, None
    return plan, price["id"], content(price), member if price.get("per") == "member" else None


def priced_or_granted(plan: Doc, catalog: Doc) -> set[str]:
    """The meters that the plan names."""
    granted = {meter for grant in plan.get("grants", []) for meter in scope(grant, plan, catalog)}
    return set(plan.get("prices", {})) | granted
