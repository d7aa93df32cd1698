"""Prices: quantities to money (rating.md, section 5)."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from meter.catalog.entry import Entry
from meter.catalog.meters import dimensions_of
from meter.catalog.where import path_at, value_at
from meter.model.catalog import (
    Flat,
    Graduated,
    Meter,
    Model,
    Package,
    PassThrough,
    Percentage,
    PerUnit,
    Price,
    Tier,
    Volume,
    Window,
)
from meter.model.event import Json
from meter.model.money import ONE, ZERO

MODELS: Final = ("per_unit", "graduated", "volume", "package", "flat", "percentage", "pass_through")
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|(24):(00))", re.ASCII)
_TIERS_MAX: Final = 100
_COUNT_MAX: Final = 10**9


def read_price(entry: Entry, meter: Meter, taxes: Collection[str]) -> Price | None:
    """Return a price; None where its model cannot be told."""
    entry.need("id", "charges name their price by it")
    price_id = entry.id("id") or ""
    entry.need("model", f"one of {', '.join(MODELS)}")
    name = entry.word("model", MODELS)
    model = None if name is None else _read_model(entry, name)
    match = entry.entry("match")
    caps = _read_caps(entry)
    price = Price(
        id=price_id,
        model=PerUnit(unit_price=ZERO) if model is None else model,
        match={} if match is None else read_dimensions(match, meter),
        when=_read_window(entry),
        per="member" if entry.word("per", ("account", "member")) == "member" else "account",
        tax=entry.reference("tax", taxes, "tax"),
        day_cap=caps.get("day"),
        period_cap=caps.get("period"),
        period_minimum=_read_minimum(entry),
    )
    if model is None:
        return None  # whose keys are faults cannot be told without it
    entry.done()
    return price


def _read_model(entry: Entry, name: str) -> Model:
    if name == "per_unit":
        return PerUnit(unit_price=_needed(entry, "unit_price", "the price of one unit"))
    if name == "graduated":
        return Graduated(tiers=_read_tiers(entry), flat_at_zero=entry.flag("flat_at_zero") or False)
    if name == "volume":
        return Volume(tiers=_read_tiers(entry))
    if name == "package":
        entry.need("size", "the units of one package")
        return Package(
            size=entry.number("size", above=ZERO) or ONE,
            price=_needed(entry, "price", "the price of one package"),
            free=entry.number("free") or ZERO,
        )
    if name == "flat":
        return Flat(amount=_needed(entry, "amount", "the amount of each event"))
    if name == "percentage":
        return _read_percentage(entry)
    return PassThrough(markup=entry.number("markup", least=Decimal(-1)) or ZERO)


def _needed(entry: Entry, key: str, hint: str) -> Decimal:
    entry.need(key, hint)
    return entry.number(key) or ZERO


def _read_percentage(entry: Entry) -> Percentage:
    entry.need("field", "the field of the event that the rate applies to")
    rate, fixed = entry.number("rate"), entry.number("fixed")
    minimum, maximum = entry.number("minimum"), entry.number("maximum")
    if rate is not None and rate > ONE:
        entry.warn("rate", f"is {rate}; rates are fractions: 1.3 % is 0.013")
    if minimum is not None and maximum is not None and maximum < minimum:
        entry.refuse("maximum", f"is {maximum}, below the minimum of {minimum}")
    return Percentage(
        path=path_at(entry, "field") or ("",),
        rate=rate or ZERO,
        fixed=fixed or ZERO,
        minimum=minimum,
        maximum=maximum,
        free_events=entry.integer("free_events", least=0, most=_COUNT_MAX),
        free_amount=entry.number("free_amount"),
    )


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


def read_dimensions(given: Entry, meter: Meter) -> dict[str, Json]:
    """Return the values that a `match` asks of dimensions; others than the meter's are faults."""
    found: dict[str, Json] = {}
    dimensions = dimensions_of(meter)
    for name in given.keys():  # noqa: SIM118 -- an Entry is no dict
        if name not in dimensions:
            hint = given.faults.suggestion(name, sorted(dimensions))
            given.fault(name, f"is no dimension of the meter {meter.id}{hint}; add it to the meter's group_by")
        elif name in given:
            found[name] = value_at(given, name)
        else:
            given.fault(name, "is compared with nothing; give a value")
    return found


def _read_caps(entry: Entry) -> dict[str, Decimal]:
    """Return the caps by `day` and `period`: `cap` holds one, or a list with one of each."""
    caps: dict[str, Decimal] = {}
    single = entry.entry("cap") if entry.is_map("cap") else None
    for cap in entry.entries("cap") if single is None else [single]:
        amount = _needed(cap, "amount", "the most that is billed each day or period")
        cap.need("every", "day or period")
        every = cap.word("every", ("day", "period"))
        cap.done()
        if every in caps:
            cap.fault("every", f"is {every} twice; keep one cap for each {every}")
        if every is not None:
            caps[every] = amount
    return caps


def _read_minimum(entry: Entry) -> Decimal | None:
    minimum = entry.entry("period_minimum")
    if minimum is None:
        return None
    amount = _needed(minimum, "amount", "the least that is billed each period")
    minimum.done()
    return amount


def _read_window(entry: Entry) -> Window | None:
    window = entry.entry("when")
    if window is None:
        return None
    days: set[int] = set()
    for text, place in window.texts("days"):
        if text in DAYS:
            days.add(DAYS.index(text))
        else:
            window.faults.add(place, f"is {text[:40]!r}; days are {', '.join(DAYS)}")
    holidays: set[date] = set()
    for day in window.dates("holidays"):
        if isinstance(day, datetime):
            window.refuse("holidays", f"has the instant {day.isoformat()}; write dates, like 2026-12-25")
        elif day is not None:
            holidays.add(day)
    for key in ("days", "holidays"):
        if window.empty(key):
            window.refuse(key, "lists nothing; leave it out, and every day fits")
    start, end = _read_hours(window)
    window.done()
    return Window(days=frozenset(days), holidays=frozenset(holidays), from_minute=start, to_minute=end)


def _read_hours(window: Entry) -> tuple[int, int]:
    """Return the minutes of the day between which the price applies; an end before the start is the next day's."""
    hours = window.text("hours")
    if hours is None:
        return 0, 1440
    found = _HOURS.fullmatch(hours)
    if found is None:
        window.fault("hours", f'is {hours[:40]!r}; write "18:00-24:00"')
        return 0, 1440
    first, first_minute, last, last_minute = (int(part) for part in found.groups() if part is not None)
    return first * 60 + first_minute, last * 60 + last_minute
