"""Events to quantities: `where` filters, aggregations, dimensions (rating.md, section 3).

An aggregation is one function in `AGGREGATES`. It sees the events of its meter in order, and of the past only what the
state keeps for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from meter.model.catalog import Condition, Meter
from meter.model.event import REPORTED, EventKey, Json, UsageEvent
from meter.model.instant import local_date
from meter.model.money import ONE
from meter.rating.state import AccountState
from meter.rating.values import MISSING, number, read, same


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """A quantity of a meter's unit that an event adds. It stands at the event's time, as `element` of its array.

    `item` is the element of the array that it was read from, if any.
    """

    meter: Meter
    element: int
    quantity: Decimal
    dimensions: Mapping[str, Json]
    item: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """An event that a meter looks at and cannot count: the value is missing or no number."""

    event: EventKey
    meter: str
    element: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where and by whom an event happened: the member it is counted for, and the zone of its site."""

    member: str | None
    zone_name: str


Measured: TypeAlias = "list[Contribution | Unread]"
Aggregate: TypeAlias = Callable[[Meter, UsageEvent, Scene, AccountState], Measured]


def measure(meter: Meter, event: UsageEvent, scene: Scene, state: AccountState) -> Measured:
    """Return what `event` adds to `meter`, in the order of its elements, and what could not be read.

    Changes the meter's memory in `state`. The caller has looked up the meter by the event's type.
    """
    if meter.where and not fits(meter.where, event.data):
        return []
    return AGGREGATES[meter.aggregate](meter, event, scene, state)


def fits(where: tuple[Condition, ...], data: Mapping[str, Json]) -> bool:
    """Tell whether all conditions hold; a missing field meets none but `exists: false`."""
    return all(_holds(condition, read(data, condition.path)) for condition in where)


def _holds(condition: Condition, value: Json) -> bool:
    if condition.operator == "exists":
        return (value is not MISSING) is bool(condition.value)
    if value is MISSING:
        return False
    if condition.operator == "=":
        return same(value, condition.value)
    if condition.operator == "in":
        return any(same(value, wanted) for wanted in condition.value)
    return _compares(condition.operator, value, condition.value)


def _compares(operator: str, value: Json, bound: Json) -> bool:
    """Compare numbers (and decimal strings) by value, other strings by code point; anything else does not compare."""
    left, right = number(value), number(bound)
    if left is None or right is None:
        if not (isinstance(value, str) and isinstance(bound, str)):
            return False
        order = (value > bound) - (value < bound)
    else:
        order = (left > right) - (left < right)
    return {"gt": order > 0, "gte": order >= 0, "lt": order < 0, "lte": order <= 0}[operator]


class _Reading(NamedTuple):
    """A value found at a path; `item` is the array element around it, which lies `inner` steps down the path."""

    value: Json
    item: Mapping[str, Json] | None
    inner: int


def _readings(value: Json, path: tuple[str, ...], depth: int, item: _Reading | None, found: list[_Reading]) -> None:
    """Collect the values at `path` in order, one for each element where the path leads through an array."""
    while depth < len(path) and isinstance(value, Mapping):
        value = value.get(path[depth], MISSING)
        depth += 1
    if isinstance(value, list | tuple):
        for element in value:
            inner = _Reading(None, element, depth) if isinstance(element, Mapping) else item
            _readings(element, path, depth, inner, found)
        return
    value = value if depth == len(path) else MISSING
    found.append(_Reading(value, None, 0) if item is None else _Reading(value, item.item, item.inner))


def _dimensions(
    meter: Meter, data: Mapping[str, Json], item: Mapping[str, Json] | None = None, inner: tuple[str, ...] = ()
) -> Mapping[str, Json]:
    """Return the `group_by` fields that are there, read from the array's element first and then from the event."""
    found: dict[str, Json] = {}
    for path in meter.group_by:
        value = MISSING
        if item is not None:
            value = read(item, path)
            if value is MISSING and path[: len(inner)] == inner:
                value = read(item, path[len(inner) :])
        if value is MISSING:
            value = read(data, path)
        if value is not MISSING:
            found[".".join(path)] = value
    return found


def _count(meter: Meter, event: UsageEvent, _scene: Scene, _state: AccountState) -> Measured:
    """1 for each event."""
    return [Contribution(meter=meter, element=0, quantity=ONE, dimensions=_dimensions(meter, event.data))]


def _sum(meter: Meter, event: UsageEvent, _scene: Scene, _state: AccountState) -> Measured:
    """The numeric value times the scale, for each element where the path leads through an array."""
    path = meter.value or (("quantity",) if event.type == REPORTED else ())
    readings: list[_Reading] = []
    _readings(event.data, path, 0, None, readings)
    measured: Measured = []
    for element, reading in enumerate(readings):
        value = number(reading.value)
        if value is None:
            fault = "is missing" if reading.value is MISSING else f"is {str(reading.value)[:40]!r}, not a number"
            reason = f"{'.'.join(path)} {fault}"
            measured.append(Unread(event=event.key, meter=meter.id, element=element, reason=reason))
            continue
        dimensions = _dimensions(meter, event.data, reading.item, path[: reading.inner]) if meter.group_by else {}
        quantity = value * meter.scale
        measured.append(
            Contribution(meter=meter, element=element, quantity=quantity, dimensions=dimensions, item=reading.item)
        )
    return measured


def _unique_days(meter: Meter, event: UsageEvent, scene: Scene, state: AccountState) -> Measured:
    """1 for the member's earliest event of each date of the site, one date once whatever the sites and periods."""
    day = local_date(event.time, scene.zone_name)
    return _count(meter, event, scene, state) if state.first_of_day(meter.id, scene.member, day, event.time) else []


AGGREGATES: Final[Mapping[str, Aggregate]] = {"count": _count, "sum": _sum, "unique_days": _unique_days}

# Aggregations whose contributions can be negative and then give credit back.
CAN_FALL: Final = frozenset({"sum"})
