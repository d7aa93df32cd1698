"""What follows from the events of one Wi-Fi session: whose it is, where it ended, where it began.

    weak ── a MAC address, or nobody ──▶ the same for the person whom another event of the session names
    reading ── its NAS restarted ──────▶ stop, there, `estimated`
    RADIUS' reading, no start ─────────▶ start, by the seconds that the NAS has counted

It is a function of the set of events and never of their order of arrival: what a later event makes wrong is taken back
(`event.voided`), and what it makes right is added. So nothing here waits, and nothing is settled.

- The person is the one in the earliest event that names one. Events that name somebody stay as they are.
- A session is over at the last reading before a restart of its NAS where nothing, or a start, comes after. What goes on
  behind it was not ended by it.
- A start without a clock of its own that seems to come after the stop was only heard late: it opens nothing.
- A void by anybody else is final for what it means: an event that was taken back is no fact, and neither is one whose
  copy was. An amendment is copied with the event.

Derived events hold `derived_from`: the id of the event that they come from. Their ids are that with `~` and a digest of
what they say and of which events said so: they stand where it stands in the order, and what more events made wrong and
still more make right again is another event.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from meter.model.event import VOIDED, WIFI_SESSION, Json, UsageEvent
from meter.model.wire import Parsed
from meter.sources.make import digest, event_of
from meter.sources.wifi.accounting import PROTOCOL

_FROM: Final = "derived_from"
# The members of `data` by which a session hangs together: all that is looked at here, or named in `wifi_readings`.
READ: Final = frozenset({_FROM, "session", "status", "nas", "seconds", "protocol", "estimated"})
_WEAK: Final = frozenset({"mac"})
# Ids are bounded; a longer one keeps its beginning, by which it is ordered.
_STEM_CHARS_MAX: Final = 180
# More than a NAS can have counted; a start before this is no date.
_SECONDS_MAX: Final = 10 * 366 * 86_400


def is_person(subject: str | None) -> bool:
    """Tell whether an identity names somebody, and not a device of nobody in particular."""
    return subject is not None and subject.partition(":")[0] not in _WEAK


def void_id(event_id: str) -> str:
    """Return the id of our void of an event."""
    return f"{_stem(event_id)}~x"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is stored of one session.

    `facts`: events that count and were not made here, amended, in their order. `derived`: those that were made here.
    `ours`: the ids of events of either kind that were taken back here; `others`: of derived ones, by somebody else.
    `start_taken`: somebody took back a start, told or derived, so none is made up for it. `thinned`: the ids of events
    that hold no more than a bill needs: what followed from them keeps its id, which was made of more.
    """

    source: str
    facts: Sequence[UsageEvent]
    derived: Sequence[UsageEvent]
    ours: Collection[str]
    others: Collection[str]
    start_taken: bool = False
    thinned: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An event that ought to stand."""

    id: str
    time: datetime
    subject: str | None
    data: Mapping[str, Json]


def missing(known: Known, restarts: Mapping[str, Sequence[datetime]]) -> list[Parsed]:
    """Return the events to store so that all that follows stands, and nothing else; none where that is so already.

    `restarts`: when each NAS restarted.
    """
    killed = {str(event.data.get(_FROM)) for event in known.derived if event.id in known.others and _is_copy(event)}
    facts = [event for event in known.facts if event.id not in killed]
    wanted, taken = _follows(facts, restarts, known)
    stored = {event.id: event for event in known.derived}
    made: list[Parsed] = []
    keep: set[str] = set()
    for event in wanted:
        if standing := _standing(event, known):
            keep.add(standing)
            continue
        number, name = 0, event.id
        # What was taken back can not stand again under its id.
        while name in stored and name in known.ours:
            number += 1
            name = f"{event.id}.{number}"
        keep.add(name)
        if name not in stored:
            made.append(
                event_of(
                    known.source, id=name, type=WIFI_SESSION, time=event.time, subject=event.subject, data=event.data
                )
            )
    times = {event.id: event.time for event in (*known.facts, *known.derived)}
    for name in sorted({*taken, *stored} - keep - set(known.ours) - set(known.others)):
        reason = "told again for whom it was" if name in taken else "more is known of its session"
        data = {"source": known.source, "id": name, "reason": reason}
        made.append(event_of(known.source, id=void_id(name), type=VOIDED, time=times[name], data=data))
    return made


def _follows(
    facts: Sequence[UsageEvent], restarts: Mapping[str, Sequence[datetime]], known: Known
) -> tuple[list[Wanted], set[str]]:
    """Return the events that ought to stand beside the facts, and the ids of facts that must not stand themselves."""
    naming = next((event for event in facts if is_person(event.subject)), None)

    def whose(event: UsageEvent) -> UsageEvent:
        """Return the event that says whose `event` is."""
        return event if is_person(event.subject) or naming is None else naming

    parts, late = _parts(facts)
    wanted = []
    taken = {event.id for event in late}
    for event in facts:
        if event.id not in taken and (whose(event) is not event or event.id in known.ours):
            taken.add(event.id)
            wanted.append(_wanted(event, "~", whose(event)))
    if not parts:
        return wanted, taken
    first = parts[0][0]
    begun = None if _starts(first) or known.start_taken else _begun(first, late=bool(late))
    if begun is not None:
        data = {"status": "start", "seconds": 0, "bytes_in": 0, "bytes_out": 0, "cause": None}
        wanted.append(_wanted(first, "0~", whose(first), time=begun, changes=data))
    for part, after in zip(parts, [*(part[0] for part in parts[1:]), None], strict=True):
        last = part[-1]
        opened = _starts(part[0]) or begun is not None
        if opened and not _stops(last) and _was_cut(last, after, restarts):
            around = (part[0].id, None if after is None else after.id)
            data = {"status": "stop", "estimated": True}
            wanted.append(_wanted(last, "~~", whose(last), changes=data, because=around))
    return wanted, taken


def _parts(facts: Iterable[UsageEvent]) -> tuple[list[list[UsageEvent]], list[UsageEvent]]:
    """Return the events from each start on, for a NAS may use a session's name again; and starts that came late."""
    parts: list[list[UsageEvent]] = []
    late = []
    for event in facts:
        if not parts or not _starts(event):
            parts = parts or [[]]
            parts[-1].append(event)
        elif (
            event.data.get("protocol") == PROTOCOL
            and not event.timed
            and not _starts(parts[-1][0])
            and _stops(parts[-1][-1])
        ):
            late.append(event)
        else:
            parts.append([event])
    return parts, late


def _starts(event: UsageEvent) -> bool:
    return bool(event.data.get("status") == "start")


def _stops(event: UsageEvent) -> bool:
    return bool(event.data.get("status") == "stop")


def _begun(first: UsageEvent, *, late: bool) -> datetime | None:
    """Return when a session began whose start is missing, or was heard late; None where nothing tells."""
    seconds = first.data.get("seconds")
    if first.data.get("protocol") != PROTOCOL:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | Decimal) or not 0 < seconds <= _SECONDS_MAX:
        return first.time if late else None
    return first.time - timedelta(seconds=int(seconds))


def _was_cut(last: UsageEvent, after: UsageEvent | None, restarts: Mapping[str, Sequence[datetime]]) -> bool:
    """Tell whether the NAS restarted behind the last reading, and before the session's name was used again.

    Clocks show whole seconds: a start in the second of a restart came after it, a reading before.
    """
    nas = last.data.get("nas")
    times = () if nas is None else restarts.get(str(nas), ())
    return any(
        (last.time < time or (last.time == time and not _starts(last))) and (after is None or time <= after.time)
        for time in times
    )


def _wanted(
    event: UsageEvent,
    mark: str,
    naming: UsageEvent,
    *,
    time: datetime | None = None,
    changes: Mapping[str, Json] | None = None,
    because: Sequence[Json] = (),
) -> Wanted:
    """Return what follows from `event`, at its time unless another is given, for whom `naming` names."""
    time = time or event.time
    data = {**event.data, _FROM: event.id, **(changes or {})}
    data = {name: value for name, value in data.items() if value is not None}
    told = digest(event.id, str(time), naming.subject, naming.id, data, *because)
    stem = mark if mark == "0~" else _stem(event.id) + mark
    return Wanted(id=stem + told, time=time, subject=naming.subject, data=data)


def _standing(wanted: Wanted, known: Known) -> str | None:
    """Return the id under which what follows from a thinned event stands already, if it does."""
    origin = wanted.data[_FROM]
    if origin not in known.thinned:
        return None
    return next(
        (
            event.id
            for event in known.derived
            if event.data.get(_FROM) == origin
            and (event.subject, event.time) == (wanted.subject, wanted.time)
            and event.id not in known.ours
            and _mark(event.id, origin) == _mark(wanted.id, origin)
        ),
        None,
    )


def _mark(name: str, origin: str) -> str:
    """Return what tells a copy, a start that was made up and an end that was cut off from one another."""
    return "0~" if name.startswith("0~") else "~~" if name.startswith(f"{_stem(origin)}~~") else "~"


def _is_copy(event: UsageEvent) -> bool:
    stem = _stem(str(event.data.get(_FROM)))
    return event.id.startswith(f"{stem}~") and not event.id.startswith(f"{stem}~~")


def _stem(event_id: str) -> str:
    if len(event_id) <= _STEM_CHARS_MAX:
        return event_id
    return f"{event_id[: _STEM_CHARS_MAX - 17]}~{digest(event_id)}"
