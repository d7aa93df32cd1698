"""Events to quantities: `where` filters, aggregations, dimensions (rating.md, section 3).

An aggregation is one function in `AGGREGATES`. It sees the events of its meter in order, and of the past only what the
memory keeps for it.

    event ──where──▶ ──debounce──▶ readings ──aggregation──▶ contributions, at their places
                        │  ▲                      │  ▲
                        ▼  │                      ▼  │
                        memory                   memory
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from meter.model.catalog import Meter
from meter.model.event import UsageEvent
from meter.rating.measure.acts import same_act
from meter.rating.measure.contribution import Contribution, Measured, Orphan, SameAct, Scene, Unread
from meter.rating.measure.counting import count, total, unique, unique_days
from meter.rating.measure.duration import duration, open_sessions
from meter.rating.measure.memory import Memory
from meter.rating.measure.running import counter, latest, maximum
from meter.rating.measure.sessions import Session
from meter.rating.measure.where import fits

__all__ = [
    "AGGREGATES",
    "CAN_FALL",
    "Contribution",
    "Measured",
    "Memory",
    "Orphan",
    "SameAct",
    "Scene",
    "Session",
    "Unread",
    "fits",
    "measure",
    "open_sessions",
]

Aggregate: TypeAlias = Callable[[Meter, UsageEvent, Scene, Memory], Measured]

AGGREGATES: Final[Mapping[str, Aggregate]] = {
    "count": count,
    "sum": total,
    "max": maximum,
    "latest": latest,
    "unique_days": unique_days,
    "unique": unique,
    "counter": counter,
    "duration": duration,
}

# Aggregations whose contributions can be negative and then give credit back: a counter's where its first reading is.
CAN_FALL: Final = frozenset({"sum", "latest", "counter"})


def measure(meter: Meter, event: UsageEvent, scene: Scene, memory: Memory) -> Measured:
    """Return what `event` adds to `meter`, in the order of its elements, and what could not be read.

    Changes the meter's part of `memory`. The caller has looked up the meter by the event's type, and comes with the
    events of an account in their order.
    """
    if meter.where and not fits(meter.where, event.data):
        return []
    if meter.debounce_s is not None:
        told = same_act(meter, event, scene, memory, meter.debounce_s)
        if told is not None:
            return [told]
    return AGGREGATES[meter.aggregate](meter, event, scene, memory)
