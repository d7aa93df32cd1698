"""Values of an event: those that a meter reads, one for each element of an array, and the dimensions beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

from meter.model.catalog import Meter, by_value
from meter.model.event import REPORTED, Json, UsageEvent
from meter.rating.measure.contribution import Unread
from meter.rating.values import MISSING, read

# A value found at a path, the array element around it, and how many steps down the path that element lies. A plain
# tuple: there is one for each event.
Reading: TypeAlias = "tuple[Json, Mapping[str, Json] | None, int]"

_QUANTITY: Final = ("quantity",)
_MEMBER: Final = ("member",)


class RunKey(NamedTuple):
    """Whose run, session or act it is: the member's ("" without one) at one site, of one thing if there is a `key`.

    `thing` is "" without such; else a text equal for equal values of the key.
    """

    meter: str
    member: str
    site: str
    thing: str


def value_path(meter: Meter, event: UsageEvent) -> tuple[str, ...]:
    """Return the path of the value that the meter reads."""
    return meter.value or (_QUANTITY if event.type == REPORTED else ())


def readings(data: Mapping[str, Json], path: tuple[str, ...]) -> list[Reading]:
    """Return the values at `path` in order, MISSING where there is none."""
    value: Json = data
    for name in path:
        if type(value) is not dict:
            break
        value = value.get(name, MISSING)
    else:
        if type(value) is not list:
            return [(value, None, 0)]
    found: list[Reading] = []
    _collect(data, path, 0, None, found)
    return found


def _collect(value: Json, path: tuple[str, ...], depth: int, item: Reading | None, found: list[Reading]) -> None:
    """Collect the values at `path` in order, one for each element where the path leads through an array."""
    # A dict is asked for first: it is what JSON gives, and to ask for a Mapping goes through its abstract base class.
    while depth < len(path) and (type(value) is dict or isinstance(value, Mapping)):
        value = value.get(path[depth], MISSING)
        depth += 1
    if isinstance(value, list | tuple):
        for element in value:
            is_item = type(element) is dict or isinstance(element, Mapping)
            inner = (None, element, depth) if is_item else item
            _collect(element, path, depth, inner, found)
        return
    value = value if depth == len(path) else MISSING
    found.append((value, None, 0) if item is None else (value, item[1], item[2]))


def unread(meter: Meter, event: UsageEvent, element: int, path: tuple[str, ...], value: Json) -> Unread:
    """Return the listing of a value at `path` that is missing or no number."""
    fault = "is missing" if value is MISSING else f"is {str(value)[:40]!r}, not a number"
    reason = f"{'.'.join(path)} {fault}"
    return Unread(event=event.key, meter=meter.id, element=element, reason=reason, place=event.position)


def dimensions(
    meter: Meter, data: Mapping[str, Json], item: Mapping[str, Json] | None = None, inner: tuple[str, ...] = ()
) -> Mapping[str, Json]:
    """Return the `group_by` fields that are there, read from the array's element first and then from the event.

    `inner` is the path that led to the element.
    """
    found: dict[str, Json] = {}
    for path in meter.group_by:
        value = _beside(path, data, item, inner)
        if value is not MISSING:
            found[path[0] if len(path) == 1 else ".".join(path)] = value
    return found


def _beside(
    path: tuple[str, ...], data: Mapping[str, Json], item: Mapping[str, Json] | None, inner: tuple[str, ...]
) -> Json:
    """Return the value at `path` in the element, else in the event, else MISSING."""
    if item is not None:
        value = read(item, path)
        if value is MISSING and path[: len(inner)] == inner:
            value = read(item, path[len(inner) :])
        if value is not MISSING:
            return value
    return data.get(path[0], MISSING) if len(path) == 1 else read(data, path)


def run_key(
    meter: Meter,
    event: UsageEvent,
    member: str | None,
    item: Mapping[str, Json] | None = None,
    inner: tuple[str, ...] = (),
) -> RunKey | None:
    """Return whose run, session or act the event belongs to; None if the meter's `key` is missing or null.

    `key: member` says what holds anyhow.
    """
    if meter.key is None or meter.key == _MEMBER:
        return RunKey(meter.id, member or "", event.site, "")
    thing = _beside(meter.key, event.data, item, inner)
    if thing is MISSING or thing is None:
        return None
    return RunKey(meter.id, member or "", event.site, by_value(thing))


def without_key(meter: Meter, event: UsageEvent, element: int = 0) -> Unread:
    """Return the listing of an event that says not which of the member's runs, sessions or acts it belongs to."""
    reason = f"{'.'.join(meter.key or ())} is missing, which tells sessions, runs and acts apart"
    return Unread(event=event.key, meter=meter.id, element=element, reason=reason, place=event.position)
