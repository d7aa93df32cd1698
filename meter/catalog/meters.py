"""Meters: events to quantities (rating.md, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from meter.catalog.entry import Entry
from meter.catalog.where import conditions_at, length_at, path_at, path_of, steps_at
from meter.model.catalog import Meter
from meter.model.event import REPORTED
from meter.model.money import ONE, ZERO

_VALUE_NEEDED: Final = frozenset({"sum", "max", "latest", "unique", "counter"})
AGGREGATES: Final = ("count", "sum", "max", "latest", "unique", "unique_days", "counter", "duration")
RATED_AGGREGATES: Final = frozenset({"count", "sum", "unique_days"})
_MISSING_ENDS: Final = ("cap", "close_at", "last_seen", "none")


@dataclass(frozen=True, slots=True)
class MeterEntry:
    """A meter as read. `rated` is False where this version cannot measure it yet."""

    meter: Meter
    rated: bool

    @property
    def dimensions(self) -> frozenset[str]:
        """Return the names of its dimensions, as `match` uses them."""
        return frozenset(".".join(path) for path in self.meter.group_by)


def read_meters(section: Entry | None) -> Mapping[str, MeterEntry]:
    """Return the meters by id."""
    return {} if section is None else {name: _read_meter(name, entry) for name, entry in section.names()}


def _read_meter(name: str, entry: Entry) -> MeterEntry:
    entry.need("event", "the type of the events that it counts, like print.job")
    event = entry.text("event") or ""
    aggregate = entry.word("aggregate", AGGREGATES)
    if aggregate is None:
        if event == REPORTED:
            aggregate = "sum"
        elif "aggregate" not in entry:
            entry.need("aggregate", f"one of {', '.join(AGGREGATES)}")
    entry.need("unit", "what it counts in, like page, day or a currency")
    unit = entry.text("unit") or ""
    if unit == "credit":
        entry.fault("unit", "is `credit`, which grants are counted in; name what the meter counts")
    meter = Meter(
        id=name,
        event=event,
        aggregate=aggregate or "count",
        unit=unit,
        where=conditions_at(entry, "where"),
        value=_value(entry, aggregate, event),
        group_by=tuple(path_of(text, place, entry.faults) for text, place in entry.texts("group_by")),
        scale=_scale(entry, aggregate),
    )
    if aggregate == "duration":
        _check_duration(entry)
    if aggregate in {"duration", "counter"}:
        path_at(entry, "key")
    if aggregate == "counter":
        entry.flag("from_zero")
        entry.word("reset", ("none", "below"))
    if aggregate in {"max", "latest"}:
        entry.word("per", ("account", "member"))
    entry.done()
    rated = aggregate in RATED_AGGREGATES
    if aggregate is not None and not rated:
        entry.warn("aggregate", f"{aggregate} is not measured by this version: the meter {name} books nothing")
    return MeterEntry(meter, rated)


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
    if aggregate not in _VALUE_NEEDED or aggregate == "unique":
        return ONE
    scale = entry.number("scale", least=None, above=ZERO)
    return ONE if scale is None else scale


def _check_duration(entry: Entry) -> None:
    for key in ("start", "end"):
        entry.need(key, "the condition that tells this event from the other, like {direction: in}")
        conditions_at(entry, key)
    for key in ("minimum", "max", "idle"):
        length_at(entry, key)
    steps_at(entry, "increment")
    entry.word("missing_end", _MISSING_ENDS)
