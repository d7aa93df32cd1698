"""Meters: events to quantities (rating.md, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, get_args

from meter.catalog.entry import Entry
from meter.catalog.where import conditions_at, length_at, path_at, path_of, steps_at
from meter.model.catalog import Increment, Meter, MissingEnd, Pairing, Site
from meter.model.event import REPORTED
from meter.model.money import ONE, TIME_UNITS, ZERO
from meter.rating.calendar import CREDIT_SALE, DEPOSIT, MEMBERSHIP

AGGREGATES: Final = ("count", "sum", "max", "latest", "unique", "unique_days", "counter", "duration")
_VALUE_NEEDED: Final = frozenset({"sum", "max", "latest", "unique", "counter"})
_SCALED: Final = _VALUE_NEEDED - {"unique"}
# Those that ask whether something happened. Where a value is added or compared, to leave out an event would lose it.
_DEBOUNCED: Final = frozenset({"count", "unique", "unique_days"})
_MISSING_ENDS: Final = get_args(MissingEnd)
# What is booked without a meter has these names instead.
_OWN_NAMES: Final = {MEMBERSHIP: "fees", DEPOSIT: "deposits", CREDIT_SALE: "purchases of credit"}
# Runs and sessions are a member's own already.
_KEY_OF_MEMBER: Final = "member"


def dimensions_of(meter: Meter) -> frozenset[str]:
    """Return the names of a meter's dimensions, as `match` uses them."""
    return frozenset(".".join(path) for path in meter.group_by)


def read_meters(section: Entry | None, sites: Mapping[str, Site]) -> Mapping[str, Meter]:
    """Return the meters by id."""
    return {} if section is None else {name: _read_meter(name, entry, sites) for name, entry in section.names()}


def _read_meter(name: str, entry: Entry, sites: Mapping[str, Site]) -> Meter:
    entry.need("event", "the type of the events that it counts, like print.job")
    event = entry.text("event") or ""
    aggregate = entry.word("aggregate", AGGREGATES)
    if aggregate is None:
        if event == REPORTED:
            aggregate = "sum"
        elif "aggregate" not in entry:
            entry.need("aggregate", f"one of {', '.join(AGGREGATES)}")
    if name in _OWN_NAMES:
        entry.faults.refuse(entry.place, f"is what {_OWN_NAMES[name]} are booked under; give the meter another name")
    meter = Meter(
        id=name,
        event=event,
        aggregate=aggregate or "count",
        unit=_unit(entry, aggregate),
        where=conditions_at(entry, "where"),
        value=_value(entry, aggregate, event),
        group_by=tuple(path_of(text, place, entry.faults) for text, place in entry.texts("group_by")),
        scale=_scale(entry, aggregate),
        key=_key(entry) if aggregate in {"counter", "duration"} or "debounce" in entry else None,
        per="member" if aggregate in {"max", "latest"} and _per_member(entry) else "account",
        pairing=_pairing(entry, sites) if aggregate == "duration" else None,
        from_zero=aggregate == "counter" and bool(entry.flag("from_zero")),
        reset_below=aggregate == "counter" and entry.word("reset", ("none", "below")) == "below",
        forget_s=length_at(entry, "forget", least_s=1) if aggregate == "counter" else None,
        debounce_s=_debounce(entry, aggregate),
    )
    entry.done()
    return meter


def _unit(entry: Entry, aggregate: str | None) -> str:
    entry.need("unit", "what it counts in, like page, day or a currency")
    unit = entry.text("unit") or ""
    if unit == "credit":
        entry.fault("unit", "is `credit`, which grants are counted in; name what the meter counts")
    elif unit and aggregate == "duration" and unit not in TIME_UNITS:
        hint = entry.faults.suggestion(unit, tuple(TIME_UNITS))
        entry.refuse("unit", f"is {unit[:40]!r}{hint}; a duration counts in one of {', '.join(TIME_UNITS)}")
    return unit


def _value(entry: Entry, aggregate: str | None, event: str) -> tuple[str, ...] | None:
    if aggregate not in _VALUE_NEEDED:
        return None
    path = path_at(entry, "value")
    if path is None and event == REPORTED:
        return ("quantity",)
    if path is None and "value" not in entry:
        entry.need("value", f"the field that {aggregate} reads, like impressions")
    return path


def _scale(entry: Entry, aggregate: str | None) -> Decimal:
    scale = entry.number("scale", least=None, above=ZERO) if aggregate in _SCALED else None
    return ONE if scale is None else scale


def _key(entry: Entry) -> tuple[str, ...] | None:
    path = path_at(entry, "key")
    return None if path == (_KEY_OF_MEMBER,) else path


def _debounce(entry: Entry, aggregate: str | None) -> int | None:
    if aggregate in _DEBOUNCED:
        return length_at(entry, "debounce", least_s=1)
    if aggregate is not None and "debounce" in entry:
        entry.fault("debounce", f"is for {', '.join(sorted(_DEBOUNCED))}: {aggregate} would lose what an event says")
    return None


def _per_member(entry: Entry) -> bool:
    return entry.word("per", ("account", "member")) == "member"


def _pairing(entry: Entry, sites: Mapping[str, Site]) -> Pairing:
    for key in ("start", "end"):
        entry.need(key, "the condition that tells this event from the other, like {direction: in}")
    policy = entry.word("missing_end", _MISSING_ENDS) or "none"
    missing_end: MissingEnd = next(known for known in _MISSING_ENDS if known == policy)
    longest, idle = length_at(entry, "max", least_s=1), length_at(entry, "idle", least_s=1)
    if idle is not None and missing_end != "last_seen":
        entry.warn("idle", "is waited for by `missing_end: last_seen` only")
    if missing_end == "close_at":
        _check_closing(entry, sites)
    usual = Pairing(start=(), end=())
    return Pairing(
        start=conditions_at(entry, "start"),
        end=conditions_at(entry, "end"),
        max_s=usual.max_s if longest is None else longest,
        missing_end=missing_end,
        idle_s=usual.idle_s if idle is None else idle,
        minimum_s=length_at(entry, "minimum") or 0,
        increment=steps_at(entry, "increment") or Increment(first_s=1, step_s=1),
    )


def _check_closing(entry: Entry, sites: Mapping[str, Site]) -> None:
    without = [name for name, site in sites.items() if site.closes is None]
    if without or not sites:
        where = f"the site {without[0]} has" if len(without) == 1 else f"{len(without) or 'all'} sites have"
        entry.warn("missing_end", f"asks for the closing time, but {where} no `closes`: there it acts like `cap`")
