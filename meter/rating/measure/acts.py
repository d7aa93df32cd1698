"""`debounce`: an act that is told in many events counts once, like a door that is held open and reads the badge again.

    p1 ──< gap──▶ p2 ──< gap──▶ p3 ──────── gap or more ────────▶ p4
    counts        the same act  the same act                      counts

Each event makes the act go on, however long it lasts by then. The gap is that of the meter at the event before.
"""

from __future__ import annotations

from datetime import timedelta

from meter.model.catalog import Meter
from meter.model.event import UsageEvent
from meter.rating.measure.contribution import SameAct, Scene, Unread
from meter.rating.measure.memory import Act, Memory
from meter.rating.measure.reading import run_key, without_key


def same_act(meter: Meter, event: UsageEvent, scene: Scene, memory: Memory, gap_s: int) -> SameAct | Unread | None:
    """Return the act that the event goes on with; None where it begins one, and counts. Remembers the event."""
    key = run_key(meter, event, scene.member)
    if key is None:
        return without_key(meter, event)
    act = memory.acts.get(key)
    if act is None or event.time >= act.until:
        memory.acts[key] = Act(event.key, event.key, event.time + timedelta(seconds=gap_s), gap_s)
        return None
    memory.acts[key] = Act(act.first, event.key, event.time + timedelta(seconds=gap_s), gap_s)
    return SameAct(event.key, meter.id, act.gap_s, act.last, act.first)
