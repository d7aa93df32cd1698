"""Aggregations that follow a value: `max` and `latest` of a period, and `counter` for readings that only grow."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from meter.model.catalog import Meter
from meter.model.event import UsageEvent
from meter.model.money import ZERO, unit_scale
from meter.rating.measure.contribution import Contribution, Measured, Scene
from meter.rating.measure.memory import Memory, Run, Standing
from meter.rating.measure.reading import dimensions, readings, run_key, unread, value_path, without_key
from meter.rating.values import number


def maximum(meter: Meter, event: UsageEvent, scene: Scene, memory: Memory) -> Measured:
    """What the reading adds to the highest of the period and account (or member), which is 0 before the first."""
    return _standing(meter, event, scene, memory, highest=True)


def latest(meter: Meter, event: UsageEvent, scene: Scene, memory: Memory) -> Measured:
    """What the reading differs from the one before, in the period and account (or member)."""
    return _standing(meter, event, scene, memory, highest=False)


def _standing(meter: Meter, event: UsageEvent, scene: Scene, memory: Memory, *, highest: bool) -> Measured:
    path, start = value_path(meter, event), scene.period.start
    factor = meter.scale * unit_scale(meter.unit)
    key = (meter.id, (scene.member or "") if meter.per == "member" else "")
    measured: Measured = []
    for element, (value, item, inner) in enumerate(readings(event.data, path)):
        read = number(value)
        if read is None:
            measured.append(unread(meter, event, element, path, value))
            continue
        # The quantity stands, not the reading: what a period has counted telescopes even where `scale` changes.
        quantity, before = read * factor, memory.standing.get(key)
        base = before.quantity if before is not None and before.period_start == start else ZERO
        if highest and quantity <= base:
            continue
        memory.standing[key] = Standing(start, quantity)
        if quantity != base:
            found = dimensions(meter, event.data, item, path[:inner])
            measured.append(
                Contribution(meter, event, scene.member, element, quantity - base, found, item, (event.key,))
            )
    return measured


def counter(meter: Meter, event: UsageEvent, scene: Scene, memory: Memory) -> Measured:
    """What the reading lies above the highest of its run."""
    path = value_path(meter, event)
    factor = meter.scale * unit_scale(meter.unit)
    until = None if meter.forget_s is None else event.time + timedelta(seconds=meter.forget_s)
    measured: Measured = []
    for element, (value, item, inner) in enumerate(readings(event.data, path)):
        read, key = number(value), run_key(meter, event, scene.member, item, path[:inner])
        if read is None:
            measured.append(unread(meter, event, element, path, value))
            continue
        if key is None:
            measured.append(without_key(meter, event, element))
            continue
        run = memory.runs.get(key)
        if run is not None and run.until is not None and event.time > run.until:
            run = None
        base, highest = _step(meter, read, run)
        memory.runs[key] = Run(highest, until)
        if read != base:
            found = dimensions(meter, event.data, item, path[:inner])
            quantity = (read - base) * factor
            measured.append(Contribution(meter, event, scene.member, element, quantity, found, item, (event.key,)))
    return measured


def _step(meter: Meter, read: Decimal, run: Run | None) -> tuple[Decimal, Decimal]:
    """Return what the reading counts from, and the highest of its run after it."""
    if run is None:
        return (ZERO if meter.from_zero else read), read
    if read >= run.highest:
        return run.highest, read
    if meter.reset_below:
        return ZERO, read
    return read, run.highest
