"""Prices of the second rater: which one fits, P(Q), percentages and caps. Quantities are in the meter's unit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from tests.reference.values import ZERO, Doc, equal, exact

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
PER_EVENT = {"flat", "percentage"}


def matches(match: Doc, dimensions: Doc) -> bool:
    return all(name in dimensions and equal(dimensions[name], value) for name, value in match.items())


def is_when(when: Doc | None, at: datetime, zone: str) -> bool:
    """Whether a price applies at the site's time."""
    if not when:
        return True
    local = at.astimezone(ZoneInfo(zone))
    days, holidays = when.get("days"), [str(day) for day in when.get("holidays") or []]
    if (days or holidays) and DAYS[local.weekday()] not in (days or []) and local.date().isoformat() not in holidays:
        return False
    if not when.get("hours"):
        return True
    start, end = (int(text[:2]) * 60 + int(text[3:5]) for text in when["hours"].split("-"))
    minute = local.hour * 60 + local.minute
    return start <= minute < end if start < end else minute >= start or minute < end


def chosen(prices: list[Doc], dimensions: Doc, at: datetime, zone: str) -> Doc | None:
    """The first price of the list that fits."""
    for price in prices:
        if matches(price.get("match", {}), dimensions) and is_when(price.get("when"), at, zone):
            return price
    return None


def content(price: Doc) -> str:
    """Equal for prices that say the same."""
    return repr(_sorted({name: value for name, value in price.items() if name != "id"}))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((name, _sorted(one)) for name, one in value.items())
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def caps(price: Doc, every: str) -> Fraction | None:
    """The cap by day or by period."""
    cap = price.get("cap")
    for one in cap if isinstance(cap, list) else [cap] if cap else []:
        if one["every"] == every:
            return exact(one["amount"])
    return None


def total_price(price: Doc, quantity: Fraction) -> Fraction:
    """P(Q)."""
    model = price["model"]
    if model == "per_unit":
        return quantity * exact(price["unit_price"])
    if model == "pass_through":
        return quantity * (1 + exact(price.get("markup", "0")))
    if model == "package":
        above = quantity - exact(price.get("free", "0"))
        return ZERO if above <= 0 else exact(price["price"]) * -(-above // exact(price["size"]))
    tiers = price["tiers"]
    if quantity < 0 or (quantity == 0 and not price.get("flat_at_zero")):
        return quantity * exact(tiers[0].get("unit_price", "0"))
    return _graduated(tiers, quantity) if model == "graduated" else _volume(tiers, quantity)


def _graduated(tiers: list[Doc], quantity: Fraction) -> Fraction:
    amount, above = ZERO, ZERO
    for n, tier in enumerate(tiers):
        if quantity > above or n == 0:
            top = quantity if n == len(tiers) - 1 else min(quantity, exact(tier["up_to"]))
            amount += (top - above) * exact(tier.get("unit_price", "0")) + exact(tier.get("flat", "0"))
            above = top
    return amount


def _volume(tiers: list[Doc], quantity: Fraction) -> Fraction:
    for n, tier in enumerate(tiers):
        if n == len(tiers) - 1 or quantity <= exact(tier["up_to"]):
            return quantity * exact(tier.get("unit_price", "0")) + exact(tier.get("flat", "0"))
    return ZERO


@dataclass
class Events:
    """How far the free events of a percentage have come in a period."""

    count: int = 0
    amount: Fraction = ZERO
    paid: bool = False

    def fee(self, price: Doc, base: Fraction) -> Fraction:
        """What the next event pays."""
        events, amount = price.get("free_events"), price.get("free_amount")
        limit = None if amount is None else exact(amount)
        before = self.amount
        self.count += 1
        self.amount += base
        part = base
        if not self.paid and (events is not None or limit is not None) and (events is None or self.count <= events):
            if limit is None or self.amount <= limit:
                return ZERO
            if before <= limit:
                part = self.amount - limit
        self.paid = True
        fee = part * exact(price.get("rate", "0")) + exact(price.get("fixed", "0"))
        if price.get("minimum") is not None:
            fee = max(fee, exact(price["minimum"]))
        if price.get("maximum") is not None:
            fee = min(fee, exact(price["maximum"]))
        return fee
