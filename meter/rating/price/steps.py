"""The arithmetic of an amount, term by term, for explanations.

A model names the terms of P(Q). The steps of a line are what its terms differ in, and are rounded as running
differences, as lines are: each is within 10^-12 of what it says, and they sum to the line's amount to the last place.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

from meter.model.money import EXACT, ONE, ZERO, plain, round_amount

Label: TypeAlias = Literal[
    "units",  # units at one price
    "tier",  # units of a tier at its price; `flat` where it is entered
    "volume",  # all of Q at the price of its tier; negative: what another tier had asked for it
    "free",  # units of a package price that cost nothing
    "package",  # whole packages of `size`
    "passed",  # a quantity that is money already
    "markup",  # and what comes on top of it
    "event",  # an event at a fixed amount
    "free_amount",  # the part of an event's amount that its percentage leaves free
    "rate",  # the rate on the rest
    "fixed",  # and what each paying event pays besides
    "minimum",  # what is missing to the least that an event pays
    "maximum",  # what lies above the most (negative)
]

_WORDS: Final[dict[str, str]] = {
    "free": "{units} {unit} free",
    "package": "{units} package of {size} {unit} x {price}",
    "passed": "{units} {unit}",
    "markup": "{units} {unit} x {price} markup",
    "event": "{units} event x {price}",
    "free_amount": "{units} {currency} free",
    "rate": "{units} {currency} x {price}",
    "fixed": "fixed",
    "minimum": "raised to the minimum",
    "maximum": "lowered to the maximum",
}


class Term(NamedTuple):
    """A term of P(Q): `units` x `unit_price` / per + `flat`. `units` are base units, the other figures the price's."""

    label: Label
    units: Decimal
    unit_price: Decimal = ZERO
    flat: Decimal = ZERO
    above: Decimal = ZERO
    up_to: Decimal | None = None
    size: Decimal | None = None

    def scaled(self, per: Decimal) -> Decimal:
        """Return what the term comes to, times `per`: exact, because nothing is divided."""
        return EXACT.fma(self.units, self.unit_price, EXACT.multiply(self.flat, per))


class Step(NamedTuple):
    """A term of a line's amount: `units` x `unit_price` + `flat` = `amount`, in the tier from `above` to `up_to`.

    `units` are units of the price, rounded to 12 places: events for `event`, packages of `size` for `package`, an
    amount of money for `rate` and `free_amount`. `up_to` None: no end.
    """

    label: Label
    units: Decimal
    unit_price: Decimal
    flat: Decimal
    amount: Decimal
    above: Decimal = ZERO
    up_to: Decimal | None = None
    size: Decimal | None = None


def steps_from(before: Sequence[Term], after: Sequence[Term], per: Decimal = ONE) -> list[Step]:
    """Return how the sum of `after` differs from that of `before`, term by term.

    The amounts of the steps sum to round(sum of `after`) - round(sum of `before`), exactly. Terms that do not differ
    are left out; if none does, the last one stands for the answer, with 0 units.
    """
    was = {(term.label, term.above): term for term in before}
    now = {(term.label, term.above): term for term in after}
    differing: list[Term] = []
    for place, term in (was | now).items():
        old, new = was.get(place), now.get(place)
        units = (new.units if new else ZERO) - (old.units if old else ZERO)
        flat = (new.flat if new else ZERO) - (old.flat if old else ZERO)
        differing.append(term._replace(units=units, flat=flat))
    telling = [term for term in differing if term.units or term.flat] or differing[-1:]
    scaled = sum((term.scaled(per) for term in before), ZERO)
    paid = over(scaled, per)
    found: list[Step] = []
    for term in telling:
        scaled += term.scaled(per)
        owed = over(scaled, per)
        units = round_amount(EXACT.divide(term.units, per))
        found.append(
            Step(term.label, units, term.unit_price, term.flat, owed - paid, term.above, term.up_to, term.size)
        )
        paid = owed
    return found


def over(scaled: Decimal, per: Decimal) -> Decimal:
    """Return `scaled` / `per`, divided and rounded once, to 12 places."""
    return round_amount(EXACT.divide(scaled, per))


def step_text(step: Step, *, unit: str, currency: str) -> str:
    """Return the step as a member reads it: `5 hour x 2 + 10 flat = 20 (above 5 up to 10)`."""
    size = "" if step.size is None else plain(step.size)
    words = _WORDS.get(step.label, "{units} {unit} x {price}").format(
        units=plain(step.units), unit=unit, currency=currency, price=plain(step.unit_price), size=size
    )
    flat = f" + {plain(step.flat)} flat" if step.flat and step.label in {"tier", "volume"} else ""
    upper = "" if step.up_to is None else f" up to {plain(step.up_to)}"
    tier = f" (above {plain(step.above)}{upper})" if step.above or upper else ""
    return f"{words}{flat} = {plain(step.amount)}{tier}"
