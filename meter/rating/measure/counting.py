"""Aggregations that add up: `count`, `sum`, `unique_days`, `unique`."""

from __future__ import annotations

from meter.model.catalog import Meter, by_value
from meter.model.event import UsageEvent
from meter.model.instant import local_date
from meter.model.money import unit_scale
from meter.rating.measure.contribution import Contribution, Measured, Scene
from meter.rating.measure.memory import Memory
from meter.rating.measure.reading import dimensions, readings, unread, value_path
from meter.rating.values import MISSING, number


def count(meter: Meter, event: UsageEvent, scene: Scene, _memory: Memory) -> Measured:
    """1 for each event."""
    found = dimensions(meter, event.data) if meter.group_by else {}
    return [Contribution(meter, event, scene.member, 0, unit_scale(meter.unit), found, None, (event.key,))]


def total(meter: Meter, event: UsageEvent, scene: Scene, _memory: Memory) -> Measured:
    """The numeric value times the scale, for each element where the path leads through an array."""
    path, data, events = value_path(meter, event), event.data, (event.key,)
    factor = meter.scale * unit_scale(meter.unit)
    measured: Measured = []
    for element, (value, item, inner) in enumerate(readings(data, path)):
        quantity = number(value)
        if quantity is None:
            measured.append(unread(meter, event, element, path, value))
            continue
        found = dimensions(meter, data, item, path[:inner]) if meter.group_by else {}
        measured.append(
            Contribution(meter, event, scene.member, element, quantity * factor, found, item, events),
        )
    return measured


def unique_days(meter: Meter, event: UsageEvent, scene: Scene, memory: Memory) -> Measured:
    """1 for the member's earliest event of each date of the site, one date once whatever the sites and periods."""
    day = local_date(event.time, scene.site.timezone)
    if not memory.first_of_day(meter.id, scene.member, day, event.time):
        return []
    return count(meter, event, scene, memory)


def unique(meter: Meter, event: UsageEvent, scene: Scene, memory: Memory) -> Measured:
    """1 for the member's earliest reading of each value in the period, whatever kind of value it is; null is none."""
    path = value_path(meter, event)
    measured: Measured = []
    for element, (value, item, inner) in enumerate(readings(event.data, path)):
        if value is MISSING or value is None:
            measured.append(unread(meter, event, element, path, MISSING))
        elif memory.first_in_period(meter.id, scene.member, by_value(value), scene.period):
            found = dimensions(meter, event.data, item, path[:inner])
            one = unit_scale(meter.unit)
            measured.append(Contribution(meter, event, scene.member, element, one, found, item, (event.key,)))
    return measured
