"""`duration`: starts and ends become sessions.

What an event of the meter means, by what it meets and whether a session of its key is open that began within `max`:

| meets | open | over, or none |
| --- | --- | --- |
| `start` only | ends it by the policy, begins one | ends what is over by the policy, begins one |
| `end` only | ends it; one that is an estimate waits for another | orphan |
| both | ends it | ends what is over by the policy, begins one |
| neither | a reading between | nothing |

Any later event of its key settles a session that is over: no reading can change any more what the policy makes of it.
An end that says of itself that it is an estimate (`data.estimated`) leaves the session open: it stands for the end
before any policy, until another end comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from meter.model.catalog import Meter
from meter.model.event import UsageEvent
from meter.rating.measure.contribution import Measured, Orphan, Scene
from meter.rating.measure.memory import Memory
from meter.rating.measure.reading import run_key, without_key
from meter.rating.measure.sessions import SaidEnd, Session, opened, pairing_of
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
        if event.data.get("estimated") is True:
            memory.sessions[key] = session._replace(said=SaidEnd(event.key, event.time))
            return []
        del memory.sessions[key]
        return [session.ended(meter, event)]
    if fits(pairing.start, event.data):
        memory.sessions[key] = opened(meter, event, key, scene.site)
        return [] if session is None else [session.missed(meter, latest=event.time)]
    if session is not None and within:
        if session.terms.missing_end == "last_seen":
            memory.sessions[key] = session._replace(last=event.time)
        return []
    measured: Measured = []
    if session is not None:
        del memory.sessions[key]
        measured.append(session.missed(meter))
    if ends:
        reason = f"an end, but no session is open that began at most {timedelta(seconds=pairing.max_s)} before"
        measured.append(Orphan(event=event.key, meter=meter.id, reason=reason, place=event.position))
    return measured


def open_sessions(memory: Memory) -> Iterable[Session]:
    """Return the sessions that have not ended, in no order: the clock may have settled them."""
    return memory.sessions.values()
