"""Which events count, and with which data: voids, amendments and things (rating.md, section 2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from operator import attrgetter
from typing import Final

from meter.model.event import AMENDED, HEARTBEAT, REFUND, VOIDED, EventKey, Revision, UsageEvent

_NEVER_USAGE: Final = frozenset({VOIDED, AMENDED, HEARTBEAT})


def effective(events: Iterable[UsageEvent], revisions: Iterable[Revision]) -> list[UsageEvent]:
    """Return the events that count, with the data that counts, in their order.

    A void removes an event or an amendment, for ever; the latest amendment not voided replaces an event's data; of
    several events of one type on one thing from one source the latest counts. Order and repetition do not matter, but
    nothing may be missing: every event on the things concerned, every revision of these and of their amendments.
    An amendment does not change which thing an event speaks of, nor which sale a refund gives back. A refund that came
    as pending and then as completed is the completed one; whether a status counts is for the fold to see.
    """
    voided: set[EventKey] = set()
    amendments: dict[EventKey, list[Revision]] = {}
    for revision in revisions:
        if revision.data is None:
            voided.add(revision.target)
        else:
            amendments.setdefault(revision.target, []).append(revision)
    standing: dict[EventKey, UsageEvent] = {}
    latest: dict[tuple[str, str, str], UsageEvent] = {}
    for event in events:
        if event.type in _NEVER_USAGE or event.key in voided:
            continue
        amended = _amended(event, amendments.get(event.key, ()), voided)
        if event.thing is None:
            standing[event.key] = amended
            continue
        thing = (event.type, event.source, event.thing)
        rival = latest.get(thing)
        if rival is None or rival.position < event.position:
            latest[thing] = amended
    return sorted([*standing.values(), *latest.values()], key=attrgetter("position"))


def _amended(event: UsageEvent, amendments: Iterable[Revision], voided: set[EventKey]) -> UsageEvent:
    counting = [amendment for amendment in amendments if amendment.key not in voided]
    data = max(counting, key=attrgetter("position")).data if counting else None
    if data is None:
        return event
    if event.type == REFUND:
        data = {**data, "sale": event.data.get("sale")}
    return replace(event, data=data)
