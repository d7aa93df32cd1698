"""Which events count, and with which data: voids, amendments and things (rating.md, section 2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal, localcontext
from operator import attrgetter
from typing import Final

from meter.model.errors import BadInput
from meter.model.event import AMENDED, HEARTBEAT, REFUND, VOIDED, EventKey, Revision, UsageEvent
from meter.model.instant import parse_instant
from meter.model.money import EXACT, round_amount

_BOOKINGS: Final = frozenset({"room.booking", "locker.rental", "phonebooth.session"})
_MICROSECOND: Final = timedelta(microseconds=1)
_MICROSECONDS_AN_HOUR: Final = Decimal(3_600_000_000)
_NEVER_USAGE: Final = frozenset({VOIDED, AMENDED, HEARTBEAT})


def effective(events: Iterable[UsageEvent], revisions: Iterable[Revision]) -> list[UsageEvent]:
    """Return the events that count, with the data that counts, in their order.

    A void removes an event or an amendment, for ever; the latest amendment not voided replaces an event's data; of
    several events of one type on one thing from one source the latest counts. Order and repetition do not matter, but
    nothing may be missing: every event on the things concerned, every revision of these and of their amendments.
    An amendment does not change which thing an event speaks of, nor which sale a refund gives back. A refund that came
    as pending and then as completed is the completed one; whether a status counts is for the fold to see. A booking has
    its hours, said or derived.
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
            latest[thing] = _with_hours(amended)
    return sorted([*standing.values(), *latest.values()], key=attrgetter("position"))


def _with_hours(event: UsageEvent) -> UsageEvent:
    """Return a booking with the `hours` from its start to its end, to 12 places, where it does not say them itself.

    Any other event as it is, and a booking whose amended data says neither.
    """
    data = event.data
    if event.type not in _BOOKINGS or data.get("hours") is not None:
        return event
    try:
        start, end = (parse_instant(data[name], what=name) for name in ("start", "end"))
    except (BadInput, KeyError, TypeError):
        return event
    with localcontext(EXACT):
        hours = round_amount(Decimal((end - start) // _MICROSECOND) / _MICROSECONDS_AN_HOUR)
    return replace(event, data={**data, "hours": hours})


def _amended(event: UsageEvent, amendments: Iterable[Revision], voided: set[EventKey]) -> UsageEvent:
    counting = [amendment for amendment in amendments if amendment.key not in voided]
    data = max(counting, key=attrgetter("position")).data if counting else None
    if data is None:
        return event
    if event.type == REFUND:
        data = {**data, "sale": event.data.get("sale")}
    return replace(event, data=data)
