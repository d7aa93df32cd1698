"""Each draw of credit with the balance around it, in its grant's unit."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from meter.model.charge import Line
from meter.model.money import ZERO, is_currency, plain, unit_scale
from meter.rating import grants
from meter.rating.evidence import Evidence
from meter.rating.explain.words import in_units
from meter.rating.facts import AccountFacts
from meter.rating.grants import CREDIT

_ORIGINS: Final = {"rollover": " (rolled over)", "refund": " (returned)", "bought": " (bought)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A draw of `amount` (negative: given back) of a grant in `unit`: `before` - `amount` = `after`, of `granted`.

    `covered` is what it paid for: a quantity in `meter_unit`, money of a money grant; None of a refund. `rate`: credits
    for a unit.
    """

    grant: str
    origin: str | None
    unit: str
    granted: Decimal
    before: Decimal
    amount: Decimal
    covered: Decimal | None
    meter_unit: str
    rate: Decimal | None

    @property
    def money(self) -> bool:
        """Tell whether it lowered the amount instead of the quantity."""
        return is_currency(self.unit)

    @property
    def after(self) -> Decimal:
        """Return what it left."""
        return self.before - self.amount

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "grant": self.grant,
            "origin": self.origin,
            "unit": self.unit,
            "granted": plain(self.granted),
            "before": plain(self.before),
            "amount": plain(self.amount),
            "after": plain(self.after),
            "covered": None if self.covered is None else plain(self.covered),
            "rate": None if self.rate is None else plain(self.rate),
        }

    def text(self) -> str:
        """Return it as a line of text."""
        kind = "Money" if self.money else "Credit"
        had = f"had {plain(self.before)} of {plain(self.granted)} {self.unit}"
        origin = _ORIGINS.get(self.origin or "", "")
        return f"{kind}: {self.grant}{origin} {had}, {self._verb()}, has {plain(self.after)} left"

    def _verb(self) -> str:
        if self.amount < ZERO:
            return f"is given back {plain(-self.amount)}"
        if self.money:
            return f"pays {plain(self.amount)}"
        if self.rate is None or self.covered is None:
            return f"covers {plain(self.amount)}"
        return f"gives {plain(self.amount)} for {plain(self.covered)} {self.meter_unit} at {plain(self.rate)} each"


def draws_of(evidence: Evidence, line: Line, facts: AccountFacts | None) -> list[Drawn]:
    """Return the draws of `line`, in their order, as its evidence has them."""
    found, covered = [], ZERO
    # The line says each amount as it was rounded.
    for step, draw in zip(evidence.draws, line.draws, strict=True):
        scale = unit_scale(step.unit)
        granted = in_units(step.granted, scale)
        paid: Decimal | None = step.covered
        if evidence.refund is not None:
            paid = None
        elif not is_currency(step.unit):
            # Running differences, as the line's own figure is rounded.
            reached = in_units(covered + step.covered, evidence.per)
            paid, covered = reached - in_units(covered, evidence.per), covered + step.covered
        instance = None if facts is None else grants.find(facts, step.instance)
        found.append(
            Drawn(
                grant=step.instance,
                origin=None if instance is None else instance.origin,
                unit=step.unit,
                granted=granted,
                before=granted - in_units(step.granted - step.balance, scale),
                amount=draw.amount,
                covered=paid,
                meter_unit=line.unit,
                rate=evidence.credit_rate if step.unit == CREDIT and evidence.refund is None else None,
            )
        )
    return found
