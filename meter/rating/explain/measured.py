"""From events to a quantity: sessions with their clock, readings with what they are compared to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from meter.model.catalog import CatalogTimeline, Meter, Pairing, Site
from meter.model.event import EventKey, Json, UsageEvent
from meter.model.instant import local_date
from meter.model.money import ONE, ZERO, plain, unit_scale
from meter.rating.explain.words import in_units, length_text, local_json, local_text, value_text
from meter.rating.measure import Contribution
from meter.rating.measure.reading import readings, value_path
from meter.rating.measure.sessions import next_closing
from meter.rating.values import number

_SECOND: Final = timedelta(seconds=1)
# A door that is held open all day may tell of it thousands of times.
_TOLD_MAX: Final = 5
_LISTED_MAX: Final = 100
EndedBy: TypeAlias = Literal["max", "closing", "last_seen", "next_start", "estimated_end"]
# What was taken for the end that did not come.
_ENDED_BY: Final[Mapping[EndedBy, str]] = {
    "max": "as no end came: it lasts {max} at most ({policy})",
    "closing": "as no end came: it ends when the site closes ({policy})",
    "last_seen": "as no end came: it ends when it was last seen ({policy})",
    "next_start": "as no end came: it ends when the next one starts ({policy})",
    "estimated_end": "as its end says of itself",
}
# What a reading is compared to.
_BEFORE: Final = {
    "max": "the highest so far in the period was {}",
    "latest": "the one before it in the period was {}",
    "counter": "the highest before it in its run was {}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A start and its end (None: the event is not at hand). `ended_by`: no exact end came, and this stands for it.

    `billed`: what it counts, rounded by the rules of `pairing`.
    """

    start: datetime
    end: datetime | None
    zone: str
    billed: timedelta
    ended_by: EndedBy | None
    pairing: Pairing

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values: instants with the site's offset, lengths in seconds."""
        return {
            "aggregate": "duration",
            "start": local_json(self.start, self.zone),
            "end": None if self.end is None else local_json(self.end, self.zone),
            "zone": self.zone,
            "seconds": None if self.end is None else plain(_seconds(self.end - self.start)),
            "billed_seconds": plain(_seconds(self.billed)),
            "minimum_seconds": self.pairing.minimum_s,
            "increment_seconds": [self.pairing.increment.first_s, self.pairing.increment.step_s],
            "missing_end": None if self.ended_by in {None, "estimated_end"} else self.pairing.missing_end,
            "ended_by": self.ended_by,
        }

    def text(self) -> list[str]:
        """Return it as lines of text."""
        if self.end is None:
            return [f"from {local_text(self.start, self.zone)} ({self.zone}): {length_text(self.billed)}"]
        length = self.end - self.start
        start, end = local_text(self.start, self.zone), local_text(self.end, self.zone)
        out = [f"from {start} to {end} ({self.zone}): {length_text(length)}"]
        if self.ended_by is not None:
            most = length_text(self.pairing.max_s * _SECOND)
            out.append(f"estimated, {_ENDED_BY[self.ended_by].format(max=most, policy=self.pairing.missing_end)}")
        rules = _rounding(self.pairing)
        if rules or length != self.billed:
            out.append(f"{rules or 'in whole seconds'}: {length_text(self.billed)}")
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A number that was read, times `scale`; `before`: what it is compared to (None: it counts as it is).

    (`value` - `before`) x `scale` = `adds`, in the meter's unit.
    """

    aggregate: str
    path: str
    element: int | None
    value: Decimal
    scale: Decimal
    before: Decimal | None
    adds: Decimal
    unit: str

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "aggregate": self.aggregate,
            "path": self.path,
            "element": self.element,
            "value": plain(self.value),
            "before": None if self.before is None else plain(self.before),
            "scale": plain(self.scale),
            "adds": plain(self.adds),
        }

    def text(self) -> list[str]:
        """Return it as a line of text."""
        where = "" if self.element is None else f" of element {self.element + 1}"
        said = f"{self.path}{where} = {plain(self.value)}"
        if self.before is not None:
            more = self.value - self.before
            said += f"; {_BEFORE[self.aggregate].format(plain(self.before))}: {plain(abs(more))} "
            said += "less" if more < ZERO else "more"
        return [said if self.scale == ONE else f"{said}, x {plain(self.scale)} = {plain(self.adds)} {self.unit}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """The first of its kind, which counts 1: of a date at the site, of a value in the period; or any event.

    `told_again`: further events of the same act, each less than `gap_s` (None: each event is an act) after another.
    """

    aggregate: str
    of: str | None
    gap_s: int | None = None
    told_again: Sequence[EventKey] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        if self.gap_s is None:
            return {"aggregate": self.aggregate, "first": self.of}
        again = [key._asdict() for key in self.told_again[:_LISTED_MAX]]
        return {"aggregate": self.aggregate, "first": self.of, "debounce_seconds": self.gap_s, "told_again": again}

    def text(self) -> list[str]:
        """Return it as a line of text."""
        out = ["one for the event" if self.of is None else f"the member's first event {self.of}, which counts one"]
        if self.told_again:
            told = [f"{key.id} from {key.source}" for key in self.told_again[:_TOLD_MAX]]
            more = len(self.told_again) - len(told)
            gap = length_text((self.gap_s or 0) * _SECOND)
            out.append(f"the same act, told again within {gap}: {', '.join(told)}{f' and {more} more' if more else ''}")
        return out


Measured: TypeAlias = Session | Reading | First


def measured_of(
    part: Contribution,
    *,
    catalogs: CatalogTimeline,
    events: Mapping[EventKey, UsageEvent],
    told_again: Sequence[EventKey] = (),
) -> Measured | None:
    """Return how a contribution was measured, worked out again from its event; `events`: those of a session.

    `told_again`: the events that tell of the same act once more.

    None where the event does not say any more what was read.
    """
    event = part.event
    catalog = catalogs.at(event.time)
    # A session may have ended under a later version of its meter; it is judged by the one of its start.
    meter = catalog.meters.get(part.meter.id, part.meter)
    site = catalog.site(event.site)
    site_zone = site.timezone
    if meter.pairing is not None:
        return _session(part, meter.pairing, site, events)
    first = partial(First, aggregate=meter.aggregate, gap_s=meter.debounce_s, told_again=told_again)
    if meter.aggregate == "count":
        return first(of=None)
    if meter.aggregate == "unique_days":
        return first(of=f"of {local_date(event.time, site_zone)} ({site_zone})")
    path = value_path(meter, event)
    found = readings(event.data, path)
    value: Json = found[part.element][0] if part.element < len(found) else None
    name = ".".join(path)
    if meter.aggregate == "unique":
        return first(of=f"of the period with {name} = {value_text(value)}")
    read = number(value)
    return None if read is None else _reading(part, meter, name, read, elements=len(found))


def _session(part: Contribution, pairing: Pairing, site: Site, events: Mapping[EventKey, UsageEvent]) -> Session:
    end = events.get(part.events[-1]) if len(part.events) > 1 else None
    return Session(
        start=part.event.time,
        end=part.ended if end is None else end.time,
        zone=site.timezone,
        billed=int(part.quantity) * _SECOND,
        ended_by=_ended_by(part, pairing, site),
        pairing=pairing,
    )


def _ended_by(part: Contribution, pairing: Pairing, site: Site) -> EndedBy | None:
    """Return what stands for an end that did not come; a start ends what its policy would have let go on."""
    start, ended = part.event.time, part.ended
    if ended is None:
        return None
    if len(part.events) > 1:
        return "estimated_end"
    if pairing.missing_end == "last_seen":
        return "last_seen"
    if ended == start + timedelta(seconds=pairing.max_s):
        return "max"
    if pairing.missing_end != "close_at" or site.closes is None:
        return "next_start"
    return "closing" if ended == next_closing(start, closes=site.closes, zone_name=site.timezone) else "next_start"


def _reading(part: Contribution, meter: Meter, name: str, read: Decimal, *, elements: int) -> Reading:
    scale = unit_scale(meter.unit)
    factor = meter.scale * scale
    compared = meter.aggregate in _BEFORE and factor != ZERO
    return Reading(
        aggregate=meter.aggregate,
        path=name,
        element=part.element if elements > 1 or part.item is not None else None,
        value=read,
        scale=meter.scale,
        before=read - part.quantity / factor if compared else None,
        adds=in_units(part.quantity, scale),
        unit=meter.unit,
    )


def _rounding(pairing: Pairing) -> str:
    """Return the rules by which a length is rounded up, "" where it counts in seconds."""
    first, step = pairing.increment.first_s, pairing.increment.step_s
    rules = [f"at least {length_text(pairing.minimum_s * _SECOND)}"] if pairing.minimum_s else []
    if first != step:
        rules.append(f"the first {length_text(first * _SECOND)}, then steps of {length_text(step * _SECOND)}")
    elif step > 1:
        rules.append(f"in steps of {length_text(step * _SECOND)}")
    return ", ".join(rules)


def _seconds(length: timedelta) -> Decimal:
    return Decimal(length // timedelta(microseconds=1)).scaleb(-6)
