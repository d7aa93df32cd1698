"""Words for what is measured: doors, Wi-Fi, meters of all kinds, and stories of events in their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from meter.model.catalog import Condition, Increment, Meter, MissingEnd, Pairing, Site
from meter.model.event import UsageEvent
from meter.model.instant import parse_instant
from meter.model.period import Periods, Terms
from meter.rating.measure import Contribution, Memory, Orphan, SameAct, Scene, Unread, measure

BERLIN = Site(id="berlin", name="Berlin", timezone="Europe/Berlin", closes="22:00")
TOKYO = Site(id="tokyo", name="Tokyo", timezone="Asia/Tokyo", closes="22:00")
SITES = {site.id: site for site in (BERLIN, TOKYO)}
HOUR = 3600


def d(text: str | int) -> Decimal:
    return Decimal(text)


def t(text: str) -> datetime:
    """`11-03` or `11-03 09:30` or `11-03 09:30:15` of 2026, in UTC."""
    day, _, clock = text.partition(" ")
    clock = clock or "12:00"
    return parse_instant(f"2026-{day}T{clock if clock.count(':') == 2 else clock + ':00'}Z")


def condition(**terms: Any) -> tuple[Condition, ...]:
    return tuple(Condition(path=(name,), operator="=", value=value) for name, value in terms.items())


def event(id: str, kind: str, at: str | datetime, data: Mapping[str, Any], *, site: str = "berlin") -> UsageEvent:
    time = t(at) if isinstance(at, str) else at
    return UsageEvent(source=f"{site}/device", id=id, type=kind, site=site, time=time, data=data)


def told(at: str, value: Any, *, site: str = "berlin", **more: Any) -> UsageEvent:
    """A reading of a meter that the event names."""
    return event(f"told {at} {value}", "usage.reported", at, {"quantity": value, **more}, site=site)


def door(at: str | datetime, direction: str, *, site: str = "berlin", **more: Any) -> UsageEvent:
    return event(f"{direction} {at}", "door.access", at, {"direction": direction, **more}, site=site)


def reports(aggregate: str, unit: str = "unit", **more: Any) -> Meter:
    """A meter of readings that are told."""
    return Meter(id="told", event="usage.reported", aggregate=aggregate, unit=unit, value=("quantity",), **more)


def presence(
    missing_end: MissingEnd = "none",
    *,
    max_s: int = 14 * HOUR,
    increment: tuple[int, int] = (1, 1),
    start: tuple[Condition, ...] = condition(direction="in"),
    end: tuple[Condition, ...] = condition(direction="out"),
    terms: Mapping[str, Any] | None = None,
    **pairing: Any,
) -> Meter:
    """A meter of hours between in and out; anything else at the door is a reading between."""
    return Meter(
        id="presence",
        event="door.access",
        aggregate="duration",
        unit="hour",
        pairing=Pairing(
            start=start,
            end=end,
            missing_end=missing_end,
            max_s=max_s,
            increment=Increment(first_s=increment[0], step_s=increment[1]),
            **pairing,
        ),
        **(terms or {}),
    )


def scene(event: UsageEvent, member: str | None = "ada", site: Site | None = None) -> Scene:
    """Where and when `event` happened, in the months of an account in Berlin."""
    period = Periods(Terms("EUR", "Europe/Berlin")).at(event.time)
    return Scene(member=member, site=site or SITES[event.site], period=period)


def measured(
    meter: Meter,
    *events: UsageEvent,
    memory: Memory | None = None,
    member: str | None = "ada",
    site: Site | None = None,
) -> list[Contribution | Unread | Orphan | SameAct]:
    """All that `meter` finds in `events`, in the order given."""
    memory = Memory() if memory is None else memory
    return [part for each in events for part in measure(meter, each, scene(each, member, site), memory)]


def contributions(meter: Meter, *events: UsageEvent, **more: Any) -> list[Contribution]:
    found = measured(meter, *events, **more)
    assert [part for part in found if not isinstance(part, Contribution)] == []
    return [part for part in found if isinstance(part, Contribution)]


def quantities(meter: Meter, *events: UsageEvent, **more: Any) -> list[Decimal]:
    return [part.quantity for part in contributions(meter, *events, **more)]


def hours(parts: Iterable[Contribution | Unread | Orphan | SameAct]) -> list[tuple[Any, bool]]:
    """The hours of each session and whether they are estimated."""
    return [(part.quantity / HOUR, part.estimated) for part in parts if isinstance(part, Contribution)]
