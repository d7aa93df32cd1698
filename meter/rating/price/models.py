"""The cumulative models: one function each, from what the catalog says to a curve (rating.md, section 5).

P is computed without its terms, because it runs for each event and terms only for explanations; that both say the same
is a law of the tests. Quantities are in base units: seconds for units of time, of which a price of an hour has `per` =
3600. Thresholds are scaled up to base units and P is divided once at the end, so nothing is lost before the rounding.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple, TypeAlias, assert_never

from meter.model.catalog import Cumulative, Graduated, Model, Package, PassThrough, PerUnit, Tier, Volume
from meter.model.money import EXACT, ONE, ZERO, round_amount
from meter.rating.price.rule import Rule
from meter.rating.price.steps import Label, Step, Term, over, steps_from
from meter.rating.price.tally import Priced, Tally

Curved: TypeAlias = Cumulative | PassThrough


class Curve(NamedTuple):
    """A cumulative model: `at(Q)` is P(Q) rounded to 12 places, and `terms(Q)` sum to it."""

    at: Callable[[Decimal], Decimal]
    terms: Callable[[Decimal], list[Term]]


def curve(model: Curved, per: Decimal) -> Curve:
    match model:
        case PerUnit():
            return _straight([("units", model.unit_price)], per)
        case PassThrough():
            markup: list[tuple[Label, Decimal]] = [("markup", model.markup)] if model.markup else []
            return _straight([("passed", ONE), *markup], per)
        case Graduated():
            return _graduated(model, per)
        case Volume():
            return _volume(model, per)
        case Package():
            return _package(model, per)
        case _:
            assert_never(model)


def by_curve(curve: Curve, per: Decimal) -> Rule:
    """P(Q after) - P(Q before), the first one from 0: amounts telescope, so a period's sum is P at its Q."""
    at, terms = curve

    def charge(tally: Tally, quantity: Decimal, _base: Decimal | None = None, /) -> Priced:
        before, begun, events, base, day_capped = tally
        after = before + quantity
        amount = at(after) - at(before) if begun else at(after)
        return Priced(amount, Tally(after, True, events, base, day_capped))

    def steps(tally: Tally, quantity: Decimal, _base: Decimal | None = None, /) -> list[Step]:
        return steps_from(terms(tally.quantity) if tally.begun else [], terms(tally.quantity + quantity), per)

    return Rule(charge, steps, at)


def _straight(rates: Sequence[tuple[Label, Decimal]], per: Decimal) -> Curve:
    """P(Q) = the sum of the rates x Q."""
    slope = sum((rate for _, rate in rates), ZERO)
    money = _money(per)

    def at(quantity: Decimal) -> Decimal:
        return money(EXACT.multiply(quantity, slope))

    def terms(quantity: Decimal) -> list[Term]:
        return [Term(label, quantity, rate) for label, rate in rates]

    return Curve(at, terms)


def _graduated(model: Graduated, per: Decimal) -> Curve:
    """Each unit at the price of its own tier, a tier's flat once it is entered; past the last its price goes on.

    Within a tier P is a straight line; where it would meet Q = 0 is what the tiers before make of it.
    """
    lines: list[tuple[Decimal, Decimal]] = []
    paid = ZERO
    for tier, above, up_to in _bounded(model.tiers):
        paid += tier.flat * per
        lines.append((tier.unit_price, paid - above * per * tier.unit_price))
        if up_to is not None:
            paid += (up_to - above) * per * tier.unit_price
    at = _piecewise(model.tiers, lines, per, at_zero=first_flat(model))

    def terms(quantity: Decimal) -> list[Term]:
        entered = quantity > ZERO or (model.flat_at_zero and not quantity)
        found: list[Term] = []
        for tier, above, up_to in _bounded(model.tiers):
            if found and quantity <= above * per:
                break
            reached = quantity if up_to is None else min(quantity, up_to * per)
            flat = tier.flat if entered else ZERO
            found.append(Term("tier", reached - above * per, tier.unit_price, flat, above, up_to))
        return found

    return Curve(at, terms)


def first_flat(model: Model) -> Decimal:
    """Return P(0): the first tier's flat where it is due at zero."""
    return round_amount(model.tiers[0].flat) if isinstance(model, Graduated) and model.flat_at_zero else ZERO


def _volume(model: Volume, per: Decimal) -> Curve:
    """All of Q at the price of the tier that holds it, and that tier's flat."""
    at = _piecewise(model.tiers, [(tier.unit_price, tier.flat * per) for tier in model.tiers], per, at_zero=ZERO)

    def terms(quantity: Decimal) -> list[Term]:
        tier, above, up_to = next(t for t in _bounded(model.tiers) if t.up_to is None or quantity <= t.up_to * per)
        return [Term("volume", quantity, tier.unit_price, tier.flat if quantity > ZERO else ZERO, above, up_to)]

    return Curve(at, terms)


def _package(model: Package, per: Decimal) -> Curve:
    """ceil((Q - free) / size) packages, and none for nothing."""
    size, free = model.size * per, model.free * per

    def packages(quantity: Decimal) -> Decimal:
        if quantity <= free:
            return ZERO
        whole, rest = EXACT.divmod(EXACT.subtract(quantity, free), size)
        return whole + ONE if rest else whole

    def at(quantity: Decimal) -> Decimal:
        return round_amount(EXACT.multiply(packages(quantity), model.price))

    def terms(quantity: Decimal) -> list[Term]:
        found = [Term("package", packages(quantity) * per, model.price, size=model.size)]
        return [Term("free", max(min(quantity, free), ZERO)), *found] if free else found

    return Curve(at, terms)


def _piecewise(
    tiers: Sequence[Tier], lines: Sequence[tuple[Decimal, Decimal]], per: Decimal, *, at_zero: Decimal
) -> Callable[[Decimal], Decimal]:
    """Return P that is (slope x Q + offset) / per in each tier, `at_zero` at 0, and the first slope alone below it."""
    ends = [up_to * per for _, _, up_to in _bounded(tiers) if up_to is not None]
    first = tiers[0].unit_price
    money = _money(per)

    def at(quantity: Decimal) -> Decimal:
        if quantity > ZERO:
            slope, offset = lines[bisect_left(ends, quantity)]
            return money(EXACT.fma(quantity, slope, offset))
        return money(EXACT.multiply(quantity, first)) if quantity else at_zero

    return at


class _Bounded(NamedTuple):
    tier: Tier
    above: Decimal
    up_to: Decimal | None


def _bounded(tiers: Sequence[Tier]) -> list[_Bounded]:
    """Return each tier with its bounds; the last one has no end, whatever it says."""
    ends = [tier.up_to for tier in tiers[:-1]]
    return [_Bounded(*tier) for tier in zip(tiers, [ZERO, *(end or ZERO for end in ends)], [*ends, None], strict=True)]


def _money(per: Decimal) -> Callable[[Decimal], Decimal]:
    """Return the function that divides by `per` and rounds, which is rounding alone for 1."""
    return round_amount if per == ONE else lambda scaled: over(scaled, per)
