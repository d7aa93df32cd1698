"""`duration`: starts and ends become sessions.

What an event of the meter means, by what it meets and whether a session of its key is open that began within `max`:

| meets | open | over, or none |
| --- | --- | --- |
| `start` only | ends it by the policy, begins one | ends what is over by the policy, begins one |
| `end` only | ends it | orphan |
| both | ends it | ends what is over by the policy, begins one |
| neither | a reading between | nothing |

A session that is over and whose deadline the event has reached is settled by any event of its key.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from meter.model.catalog import Meter, Pairing
from meter.model.event import UsageEvent
from meter.rating.measure.contribution import Measured, Orphan, Scene
from meter.rating.measure.memory import Memory
from meter.rating.measure.reading import RunKey, run_key, without_key
from meter.rating.measure.sessions import Session, pairing_of
from meter.rating.measure.where import fits


def duration(meter: Meter, event: UsageEvent, scene: Scene, memory: Memory) -> Measured:
    """The session that the event ends, at the place of its start; nothing of the one that it begins."""
    pairing = pairing_of(meter)
    key = run_key(meter, event, scene.member)
    if key is None:
        return [without_key(meter, event)]
    session = memory.sessions.get(key)
    within = session is not None and event.time <= session.until
    ends = fits(pairing.end, event.data)
    if session is not None and within and ends:
        del memory.sessions[key]
        return [session.ended(meter, event)]
    if fits(pairing.start, event.data):
        memory.sessions[key] = _opened(key, event, pairing)
        return [] if session is None else [session.missed(meter, scene.site, latest=event.time)]
    if session is not None and within:
        if session.missing_end == "last_seen":
            memory.sessions[key] = session._replace(last=event.time)
        return []
    measured: Measured = [] if session is None else _settled(session, meter, event, scene, memory)
    if ends:
        measured.append(_orphan(meter, event, session))
    return measured


def open_sessions(memory: Memory) -> Iterable[Session]:
    """Return the sessions that have not ended, in no order: the clock may have settled them."""
    return memory.sessions.values()


def _opened(key: RunKey, event: UsageEvent, pairing: Pairing) -> Session:
    return Session(key, event, event.time + timedelta(seconds=pairing.max_s), pairing.missing_end)


def _settled(session: Session, meter: Meter, event: UsageEvent, scene: Scene, memory: Memory) -> Measured:
    """Return what a session that is over counts, and forget it, unless its deadline is still to come."""
    deadline = session.deadline(meter, scene.site)
    if deadline is not None and deadline > event.time:
        return []
    del memory.sessions[session.key]
    return [session.missed(meter, scene.site)]


def _orphan(meter: Meter, event: UsageEvent, session: Session | None) -> Orphan:
    if session is None:
        reason = "an end, but no session is open"
    else:
        start, most = session.event, session.until - session.event.time
        reason = f"an end more than {most} after the start {start.source} {start.id}"
    return Orphan(event=event.key, meter=meter.id, reason=reason)
