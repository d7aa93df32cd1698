"""Prices: quantities to money (rating.md, section 5)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Final

from meter.catalog.entry import Entry
from meter.catalog.meters import MeterEntry
from meter.catalog.where import path_at, value_at
from meter.model.catalog import Graduated, Holder, Model, PassThrough, PerUnit, Price, Tier
from meter.model.event import Json
from meter.model.money import ZERO

# Which keys belong to which model; the keys of another model are faults.
MODEL_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "per_unit": ("unit_price",),
    "graduated": ("tiers", "flat_at_zero"),
    "volume": ("tiers",),
    "package": ("size", "price", "free"),
    "flat": ("amount",),
    "percentage": ("field", "rate", "fixed", "minimum", "maximum", "free_events", "free_amount"),
    "pass_through": ("markup",),
}
RATED_MODELS: Final = frozenset({"per_unit", "graduated", "pass_through"})
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)", re.ASCII)
_TIERS_MAX: Final = 100


def read_price(entry: Entry, meter: MeterEntry, taxes: Collection[str]) -> tuple[str, Price | None]:
    """Return a price's id and the price; None where this version leaves it out, with a warning."""
    entry.need("id", "charges name their price by it")
    price_id = entry.id("id") or ""
    entry.need("model", f"one of {', '.join(MODEL_KEYS)}")
    name = entry.word("model", tuple(MODEL_KEYS))
    model = _read_model(entry, name)
    match = _read_match(entry, meter)
    per = entry.word("per", ("account", "member"))
    tax = entry.reference("tax", taxes, "tax")
    limited = _read_limits(entry)
    if name is None:
        return price_id, None  # whose keys are faults cannot be told without the model
    entry.done()
    if name not in RATED_MODELS:
        entry.warn("model", f"{name} is not rated by this version: usage that only this price fits is booked at 0")
    if name not in RATED_MODELS or limited or model is None:
        return price_id, None
    holder: Holder = "member" if per == "member" else "account"
    return price_id, Price(id=price_id, model=model, match=match, per=holder, tax=tax)


def _read_model(entry: Entry, name: str | None) -> Model | None:
    if name == "per_unit":
        entry.need("unit_price", "the price of one unit")
        return PerUnit(unit_price=entry.number("unit_price") or ZERO)
    if name in {"graduated", "volume"}:
        tiers = _read_tiers(entry)
        if name == "graduated" and entry.flag("flat_at_zero"):
            entry.warn("flat_at_zero", "is not rated by this version: a period without usage books no first flat")
        return Graduated(tiers=tiers) if name == "graduated" else None
    if name == "pass_through":
        return PassThrough(markup=entry.number("markup", least=Decimal(-1)) or ZERO)
    if name == "package":
        entry.need("size", "the units of one package")
        entry.number("size", above=ZERO)
        entry.need("price", "the price of one package")
    elif name == "flat":
        entry.need("amount", "the amount of each event")
    elif name == "percentage":
        entry.need("field", "the field of the event that the rate applies to")
        path_at(entry, "field")
        entry.integer("free_events", least=0, most=10**9)
    for key in MODEL_KEYS.get(name or "", ()):
        if key not in {"size", "field", "free_events"}:
            entry.number(key)
    return None


def _read_tiers(entry: Entry) -> tuple[Tier, ...]:
    entry.need("tiers", "a list of {up_to, unit_price}, the last one without up_to")
    tiers: list[Tier] = []
    last: Decimal | None = ZERO
    given = entry.entries("tiers")
    if "tiers" in entry and not 0 < len(given) <= _TIERS_MAX:
        entry.fault("tiers", f"must list 1 to {_TIERS_MAX} tiers")
    for tier in given:
        up_to = tier.number("up_to")
        if "unit_price" not in tier and "flat" not in tier:
            tier.need("unit_price", "the price of one unit in this tier")
        price, flat = tier.number("unit_price"), tier.number("flat")
        tier.done()
        if last is None:
            tier.faults.add(tier.place, "follows a tier without up_to, which has no end; put that one last")
        elif up_to is not None and up_to <= last:
            tier.fault("up_to", f"is {up_to}; it must be above {last}, where the tier before ends")
        last = up_to
        tiers.append(Tier(up_to=up_to, unit_price=price or ZERO, flat=flat or ZERO))
    return tuple(tiers)


def _read_match(entry: Entry, meter: MeterEntry) -> dict[str, Json]:
    given = entry.entry("match")
    return {} if given is None else read_dimensions(given, meter.dimensions, meter.meter.id)


def read_dimensions(given: Entry, dimensions: Collection[str], meter: str) -> dict[str, Json]:
    """Return the values that a `match` asks of dimensions; others than the meter's are faults."""
    found: dict[str, Json] = {}
    for name in given.keys():  # noqa: SIM118 -- an Entry is no dict
        if name not in dimensions:
            hint = given.faults.suggestion(name, sorted(dimensions))
            given.fault(name, f"is no dimension of the meter {meter}{hint}; add it to the meter's group_by")
        elif name in given:
            found[name] = value_at(given, name)
        else:
            given.fault(name, "is compared with nothing; give a value")
    return found


def _read_limits(entry: Entry) -> bool:
    """Read what stands around a model; return whether it makes this version leave the price out."""
    cap = entry.entry("cap")
    if cap is not None:
        cap.need("amount", "the most that is billed each day or period")
        cap.number("amount")
        cap.need("every", "day or period")
        cap.word("every", ("day", "period"))
        cap.done()
        entry.warn("cap", "is not applied by this version: usage above it is billed in full")
    minimum = entry.entry("period_minimum")
    if minimum is not None:
        minimum.need("amount", "the least that is billed each period")
        minimum.number("amount")
        minimum.done()
        entry.warn("period_minimum", "is not billed by this version: no line makes up for usage below it")
    window = entry.entry("when")
    if window is None:
        return False
    _check_window(window)
    entry.warn("when", "is not judged by this version: the price is never chosen")
    return True


def _check_window(window: Entry) -> None:
    for text, place in window.texts("days"):
        if text not in DAYS:
            window.faults.add(place, f"is {text[:40]!r}; days are {', '.join(DAYS)}")
    hours = window.text("hours")
    if hours is not None and not _HOURS.fullmatch(hours):
        window.fault("hours", f'is {hours[:40]!r}; write "18:00-24:00"')
    window.dates("holidays")
    window.done()
