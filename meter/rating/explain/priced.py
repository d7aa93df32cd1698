"""From what credit left to an amount: the price with the terms of its arithmetic, caps, discounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from meter.model.catalog import (
    Flat,
    Graduated,
    Model,
    Package,
    PassThrough,
    Percentage,
    PerUnit,
    Price,
    Volume,
    Window,
)
from meter.model.charge import Line
from meter.model.instant import local_date
from meter.model.money import ZERO, plain
from meter.rating.evidence import Evidence, Reduction
from meter.rating.explain.words import in_units, local_text, percent_text
from meter.rating.price import Step, Tally, cumulative, price_quantity, step_text, steps_between

# As the catalog writes them.
MODEL_WORDS: Final[Mapping[type[Model], str]] = {
    PerUnit: "per_unit",
    Graduated: "graduated",
    Volume: "volume",
    Package: "package",
    Flat: "flat",
    Percentage: "percentage",
    PassThrough: "pass_through",
}
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ALL_DAY: Final = 1440


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """What a price asked on top of what its period had come to: `steps` sum to `amount`.

    Q goes from `before` to `after`, base units, `per` to a unit; P from `paid_before` to `paid_after`, None where
    events are priced one by one. `base`: what a percentage was taken of.
    """

    price: Price
    before: Tally
    after: Tally
    per: Decimal
    base: Decimal | None
    paid_before: Decimal | None
    paid_after: Decimal | None
    steps: Sequence[Step]
    amount: Decimal

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        price = self.price
        return {
            "id": price.id,
            "model": MODEL_WORDS[type(price.model)],
            "note": None,
            "per": price.per,
            "window": None if price.when is None else window_text(price.when),
            "before": {"quantity": self._quantity(self.before), "amount": _plain(self.paid_before)},
            "after": {"quantity": self._quantity(self.after), "amount": _plain(self.paid_after)},
            "events": self._events_json(),
            "steps": [_step_json(step) for step in self.steps],
            "amount": plain(self.amount),
        }

    def _so_far(self, line: Line) -> str:
        """Return what the price has seen in the period before the line, and what with it."""
        whose = " by the member" if self.price.per == "member" else ""
        events = f"{self.before.events} event{'' if self.before.events == 1 else 's'}"
        if self.base is not None:
            seen = f"{events} of {plain(self.before.base)} {line.currency} so far{whose}"
            return f"{seen}, this one is of {plain(self.base)}"
        if self.paid_before is None:
            return f"{events} so far{whose}"
        return f"{self._quantity(self.before)} {line.unit} so far{whose}, then {self._quantity(self.after)}"

    def _events_json(self) -> dict[str, Any] | None:
        """Return what a percentage has seen in the period and what it is taken of."""
        if self.base is None:
            return None
        return {"before": self.before.events, "amount_before": plain(self.before.base), "amount": plain(self.base)}

    def _quantity(self, tally: Tally) -> str:
        return plain(in_units(tally.quantity, self.per))

    def text(self, line: Line, zone_name: str) -> list[str]:
        """Return it as lines of text; the zone is that of the usage's site."""
        price = self.price
        head = f"Price: {price.id} of plan {line.plan}"
        out = [f"{head}; in this period {self._so_far(line)}"]
        if price.when is not None:
            out.append(f"  applies {window_text(price.when)}; it was {_weekday(line.key.time, zone_name)}")
        out += [f"  {step_text(step, unit=line.unit, currency=line.currency)}" for step in self.steps]
        if self.paid_before is not None and self.paid_after is not None:
            out.append(f"  {plain(self.paid_after)} - {plain(self.paid_before)} = {plain(self.amount)} {line.currency}")
        elif len(self.steps) != 1:
            out.append(f"  together {plain(self.amount)} {line.currency}")
        return out


def priced_of(evidence: Evidence) -> Priced | None:
    """Return what the price of a line asked; None where nothing was priced."""
    price, beat = evidence.price, evidence.beat
    if price is None or (beat is not None and beat.kind != "zero"):
        return None
    model, before, per = price.model, evidence.before, evidence.per
    by_event = isinstance(model, Flat | Percentage)
    asked = bool(evidence.billable) or beat is not None
    charged = price_quantity(model, before, evidence.billable, per=per, base=evidence.base) if asked else None
    after = before if charged is None else charged.tally
    return Priced(
        price=price,
        before=before,
        after=after,
        per=per,
        base=evidence.base,
        paid_before=None if by_event else _paid(model, before, per),
        paid_after=None if by_event else _paid(model, after, per),
        steps=steps_between(model, before, evidence.billable, per, evidence.base) if asked else (),
        amount=ZERO if charged is None else charged.amount,
    )


def _paid(model: Any, tally: Tally, per: Decimal) -> Decimal:
    """Return P(Q), 0 as long as nothing was priced."""
    return cumulative(model, tally.quantity, per) if tally.begun else ZERO


def unpriced_json(evidence: Evidence) -> dict[str, Any]:
    """Return the place of a price where none applied, with the reason."""
    nothing = {"quantity": plain(in_units(evidence.before.quantity, evidence.per)), "amount": "0"}
    after = {"quantity": plain(in_units(evidence.before.quantity + evidence.billable, evidence.per)), "amount": "0"}
    return {
        "id": None,
        "model": None,
        "note": evidence.note,
        "per": None,
        "window": None,
        "before": nothing,
        "after": after,
        "events": None,
        "steps": [],
        "amount": "0",
    }


def window_text(window: Window) -> str:
    """Return when a price applies: `Mon, Tue 18:00-22:00`, `daily 08:00-24:00`."""
    dates = [_WEEKDAYS[day] for day in sorted(window.days)] + [day.isoformat() for day in sorted(window.holidays)]
    hours = f"{_clock(window.from_minute)}-{_clock(window.to_minute)}"
    whole = not window.from_minute and window.to_minute == _ALL_DAY
    return " ".join([", ".join(dates) or "daily"] + ([] if whole else [hours]))


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _weekday(instant: datetime, zone_name: str) -> str:
    return f"{_WEEKDAYS[local_date(instant, zone_name).weekday()]} {local_text(instant, zone_name)}"


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "label": step.label,
        "above": plain(step.above),
        "up_to": _plain(step.up_to),
        "units": plain(step.units),
        "unit_price": plain(step.unit_price),
        "flat": plain(step.flat),
        "size": _plain(step.size),
        "amount": plain(step.amount),
    }


def _plain(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


# --- caps and discounts -----------------------------------------------------------------------------------------------


def reduction_json(reduction: Reduction) -> dict[str, Any]:
    """Return a cap or a discount as JSON values: what it left of what came to it."""
    return {
        "kind": reduction.kind,
        "id": reduction.id,
        "running": plain(reduction.running),
        "most": _plain(reduction.most),
        "rate": _plain(reduction.rate),
        "before": plain(reduction.before),
        "after": plain(reduction.after),
    }


def reduction_text(reduction: Reduction, line: Line, zone_name: str) -> str:
    """Return a cap or a discount as a line of text."""
    before, after = plain(reduction.before), f"{plain(reduction.after)} {line.currency}"
    if reduction.kind != "discount":
        what = str(local_date(line.key.time, zone_name)) if reduction.kind == "day_cap" else "the period"
        would_be = plain(reduction.running + reduction.before)
        return f"Cap: {what} would be {would_be}, capped at {_plain(reduction.most)}: {after} instead of {before}"
    if reduction.rate is not None:
        return f"Discount: {reduction.id}, {percent_text(reduction.rate)} off {before}: {after}"
    used = plain(min(max(reduction.running, ZERO), reduction.most or ZERO))
    most = f"{_plain(reduction.most)} a period, {used} of it used before"
    return f"Discount: {reduction.id}, {most}: {after} instead of {before}"
