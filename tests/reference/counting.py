"""From events to contributions: what counts, what each meter reads, and the place of each reading."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

from tests.reference.dates import Period, day_of, seconds_of
from tests.reference.facts import Facts
from tests.reference.values import SECONDS, ZERO, Doc, decimal, equal, exact, number, rounded

THINGS = {
    "pos.sale": "order", "pos.refund": "refund", "print.job": "job",
    "room.booking": "booking", "locker.rental": "booking", "phonebooth.session": "booking",
}  # fmt: skip
EARLY = timedelta(minutes=5)


def position(event: Doc) -> tuple[datetime, str, str]:
    return (event["at"], event["source"], event["id"])


def counting(events: list[Doc], now: datetime) -> list[Doc]:
    """The events that count, with the data that counts, in order."""
    events = [event for event in events if event["at"] - EARLY <= now]
    voided = {(e["data"]["source"], e["data"]["id"]) for e in events if e["type"] == "event.voided"}
    usage = {(e["source"], e["id"]): dict(e) for e in events if e["type"] not in {"event.voided", "event.amended"}}
    for amendment in sorted((e for e in events if e["type"] == "event.amended"), key=position):
        target = (amendment["data"]["source"], amendment["data"]["id"])
        if (amendment["source"], amendment["id"]) not in voided and target in usage:
            usage[target]["counted"] = amendment["data"]["data"]
    latest: dict[Any, Doc] = {}
    for event in sorted((e for key, e in usage.items() if key not in voided), key=position):
        name = event["data"].get(THINGS.get(event["type"], ""))
        latest[(event["type"], event["source"], name) if name else (event["source"], event["id"], 0, 0)] = event
    found = [e | {"data": with_hours(e, e["counted"] if "counted" in e else e["data"])} for e in latest.values()]
    return sorted(found, key=position)


def with_hours(event: Doc, data: Doc) -> Doc:
    """A booking's own hours, or those from its start to its end."""
    if THINGS.get(event["type"]) != "booking" or data.get("hours") is not None or not {"start", "end"} <= data.keys():
        return data
    start, end = (datetime.fromisoformat(data[name]) for name in ("start", "end"))
    return data | {"hours": decimal(rounded(Fraction((end - start) // timedelta(microseconds=1), 3_600_000_000), 12))}


def look(data: Any, path: str) -> tuple[bool, Any]:
    """Whether there is a field at the path, and its value."""
    for name in path.split("."):
        if not isinstance(data, dict) or name not in data:
            return False, None
        data = data[name]
    return True, data


def fits(where: Doc, data: Doc) -> bool:
    for path, condition in where.items():
        there, value = look(data, path)
        terms = condition if isinstance(condition, dict) else {"=": condition}
        for operator, wanted in terms.items():
            if operator == "exists":
                good = there == wanted
            elif operator == "=":
                good = there and equal(value, wanted)
            elif operator == "in":
                good = there and any(equal(value, one) for one in wanted)
            else:
                left, right = number(value), exact(wanted)
                good = left is not None and {
                    "gt": left > right, "gte": left >= right, "lt": left < right, "lte": left <= right
                }[operator]  # fmt: skip
            if not good:
                return False
    return True


def dimensions_of(meter: Doc, data: Doc, item: Doc | None) -> Doc:
    found: Doc = {}
    for name in meter.get("group_by", []):
        there, value = beside(name, meter.get("value", ""), data, item)
        if there:
            found[name] = value
    return found


def beside(path: str, value: str, data: Doc, item: Doc | None) -> tuple[bool, Any]:
    """What is at the path: in the element first, with or without the array's name, then in the event."""
    array = value.partition(".")[0]
    for place, name in ((item, path), (item, path.removeprefix(f"{array}.")), (data, path)):
        there, found = look(place, name)
        if there:
            return there, found
    return False, None


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An event with its people, its place in the calendar and the catalog that judges it."""

    event: Doc
    account: str
    member: str | None
    site: str
    catalog: Doc
    period: Period

    @property
    def time(self) -> datetime:
        at: datetime = self.event["at"]
        return at


@dataclass(kw_only=True)
class Contribution:
    """A reading. `quantity` is in the meter's unit, but in seconds for units of time."""

    at: Placed
    meter: str
    element: int = 0
    quantity: Fraction
    item: Doc | None = None
    dimensions: Doc = field(default_factory=dict)
    ends: list[tuple[str, str]] = field(default_factory=list)
    estimated: bool = False


def readings(name: str, event: Doc, catalog: Doc) -> list[tuple[int, Any, Doc | None]]:
    """What the meter sees in the event: (element, value, element's object), whatever the value is."""
    meter, data = catalog["meters"][name], event["data"]
    if meter["event"] != event["type"] or not fits(meter.get("where", {}), data):
        return []
    path = meter.get("value")
    if event["type"] == "usage.reported":
        if data["meter"] != name:
            return []
        path = path or "quantity"
    if path is None:
        return [(0, None, None)]
    head, _, rest = path.partition(".")
    if isinstance(data.get(head), list) and rest:
        return [(n, look(item, rest)[1], item) for n, item in enumerate(data[head])]
    return [(0, look(data, path)[1], None)]


def aggregate_of(meter: Doc) -> str:
    return str(meter.get("aggregate", "sum"))


def factor(meter: Doc) -> int:
    """Seconds in one unit, 1 for what is no time."""
    return SECONDS.get(meter["unit"], 1)


class Measure:
    """Goes through the events of one account once and says what each meter read."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.found: list[Contribution] = []
        self.unread: set[tuple[str, str, str]] = set()
        self._days: set[tuple[str, str | None, date]] = set()
        self._values: list[tuple[Any, ...]] = []
        self._highest: dict[Any, Fraction] = defaultdict(Fraction)
        self._runs: dict[Any, tuple[datetime, Fraction]] = {}
        self._acts: dict[Any, datetime] = {}

    def event(self, placed: Placed) -> None:
        for name in sorted(placed.catalog["meters"]):
            if aggregate_of(placed.catalog["meters"][name]) != "duration":
                self._meter(name, placed)

    def _meter(self, name: str, placed: Placed) -> None:
        meter = placed.catalog["meters"][name]
        if "debounce" in meter and self._told_before(name, meter, placed):
            return
        for element, value, item in readings(name, placed.event, placed.catalog):
            quantity = self._quantity(name, meter, placed, value)
            if aggregate_of(meter) == "counter" and keyless(meter, placed.event["data"]):
                quantity = None
            if quantity is None:
                self.unread.add((placed.event["source"], placed.event["id"], name))
            elif quantity:
                dimensions = dimensions_of(meter, placed.event["data"], item)
                self.found.append(
                    Contribution(
                        at=placed, meter=name, element=element, quantity=quantity, item=item, dimensions=dimensions
                    )
                )

    def _told_before(self, name: str, meter: Doc, placed: Placed) -> bool:
        """Whether the event comes too soon after another of its act, or does not say of which it is one."""
        if not readings(name, placed.event, placed.catalog):
            return False
        if keyless(meter, placed.event["data"]):
            self.unread.add((placed.event["source"], placed.event["id"], name))
            return True
        whose = (name, placed.member, placed.site, key_of(meter, placed.event["data"]))
        over = self._acts.get(whose)
        self._acts[whose] = placed.time + timedelta(seconds=seconds_of(meter["debounce"]))
        return over is not None and placed.time < over

    def _quantity(self, name: str, meter: Doc, placed: Placed, value: Any) -> Fraction | None:
        """What the reading adds; None where it is none."""
        aggregate = aggregate_of(meter)
        if aggregate == "count":
            return Fraction(factor(meter))
        if aggregate == "unique_days":
            return Fraction(factor(meter) * self._first_of_day(name, placed))
        if aggregate == "unique":
            known = value is not None and not isinstance(value, dict | list)
            return Fraction(factor(meter) * self._first_of_value(name, placed, value)) if known else None
        read = number(value)
        if read is None:
            return None
        quantity = read * exact(meter.get("scale", "1")) * factor(meter)
        if aggregate in {"max", "latest"}:
            return self._change(name, meter, placed, quantity)
        return self._climb(name, meter, placed, quantity) if aggregate == "counter" else quantity

    def _first_of_day(self, name: str, placed: Placed) -> int:
        day = day_of(placed.time, self.facts.zone_of_site(placed.site, placed.time))
        new = (name, placed.member, day) not in self._days
        self._days.add((name, placed.member, day))
        return int(new)

    def _first_of_value(self, name: str, placed: Placed, value: Any) -> int:
        whose = (name, placed.member, placed.period.start)
        new = not any(seen[:3] == whose and equal(seen[3], value) for seen in self._values)
        self._values.append((*whose, value))
        return int(new)

    def _change(self, name: str, meter: Doc, placed: Placed, reading: Fraction) -> Fraction:
        key = (name, placed.member if meter.get("per") == "member" else None, placed.period.start)
        before = self._highest[key]
        after = max(before, reading) if meter["aggregate"] == "max" else reading
        self._highest[key] = after
        return after - before

    def _climb(self, name: str, meter: Doc, placed: Placed, reading: Fraction) -> Fraction:
        key = (name, placed.member, placed.site, key_of(meter, placed.event["data"]))
        last, highest = self._runs.get(key, (None, ZERO))
        forget = meter.get("forget")
        if last is not None and forget is not None and placed.time - last > timedelta(seconds=seconds_of(forget)):
            last = None
        if last is None:
            self._runs[key] = (placed.time, reading)
            return reading if meter.get("from_zero") else ZERO
        if reading > highest:
            self._runs[key] = (placed.time, reading)
            return reading - highest
        if meter.get("reset") == "below" and reading < highest:
            self._runs[key] = (placed.time, reading)
            return reading
        self._runs[key] = (placed.time, highest)
        return ZERO


def keyless(meter: Doc, data: Doc) -> bool:
    """Whether what would tell runs and sessions apart is missing."""
    path = meter.get("key")
    return path not in {None, "member"} and look(data, path)[1] is None


def key_of(meter: Doc, data: Doc) -> str | None:
    """What tells the runs and sessions of one member at one site apart; `member` means nothing further."""
    path = meter.get("key")
    if path is None or path == "member":
        return None
    there, value = look(data, path)
    return repr(value) if there else None
