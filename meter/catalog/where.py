"""The small languages within a catalog: paths, conditions on event data, lengths of time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from meter.catalog.entry import Entry
from meter.catalog.issues import Faults, Place
from meter.catalog.nodes import Number, Scalar
from meter.model.catalog import Condition, Increment, Operator
from meter.model.event import Json

_PATH: Final = re.compile(r"[^\s.]+(\.[^\s.]+){0,15}")
_LENGTH: Final = re.compile(r"(\d{1,6}[smhd])+", re.ASCII)
_LENGTH_PART: Final = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_COMPARISONS: Final[Mapping[str, Operator]] = {"gt": "gt", "gte": "gte", "lt": "lt", "lte": "lte"}
# More belongs into a field of the event's own.
_CHOICES_MAX: Final = 1000
# Ten years: longer than any rental, and an instant that far behind an event can still be counted with.
_LENGTH_S_MAX: Final = 3660 * 86400


def path_of(text: str, place: Place, faults: Faults) -> tuple[str, ...]:
    """Return the dotted path `text`, which starts at an event's `data`."""
    if not _PATH.fullmatch(text):
        faults.add(place, f"{text[:60]!r} is no path; write fields of `data` with dots, like lines.amount")
        return ("",)
    return tuple(text.split("."))


def path_at(entry: Entry, key: str) -> tuple[str, ...] | None:
    """Return the path at `key`."""
    text = entry.text(key)
    return None if text is None else path_of(text, entry.at(key), entry.faults)


def conditions_at(entry: Entry, key: str) -> tuple[Condition, ...]:
    """Return the conditions at `key`: `{status: completed}`, `{pages: {gt: 3}}`, `{kind: {in: [a, b]}}`."""
    given = entry.entry(key)
    if given is None:
        return ()
    found: list[Condition] = []
    for name in given.keys():  # noqa: SIM118 -- an Entry is no dict: `keys` also notes that they were asked for
        path = path_of(name, given.at(name), given.faults)
        if given.is_map(name):
            found += _comparisons(given, name, path)
        elif name in given:
            found.append(Condition(path=path, operator="=", value=value_at(given, name)))
        else:
            given.fault(name, "is compared with nothing; a missing field is `{exists: false}`")
    return tuple(found)


def _comparisons(given: Entry, name: str, path: tuple[str, ...]) -> list[Condition]:
    terms = given.entry(name)
    if terms is None:
        return []
    found: list[Condition] = []
    if "=" in terms:
        found.append(Condition(path=path, operator="=", value=value_at(terms, "=")))
    if "in" in terms:
        choices = tuple(scalar_value(value) for value, _ in terms.scalars("in"))
        if not 0 < len(choices) <= _CHOICES_MAX or None in choices:
            terms.fault("in", f"must list 1 to {_CHOICES_MAX} values, none of them null")
        found.append(Condition(path=path, operator="in", value=choices))
    for word, operator in _COMPARISONS.items():
        if (number := terms.number(word, least=None)) is not None:
            found.append(Condition(path=path, operator=operator, value=number))
    if (exists := terms.flag("exists")) is not None:
        found.append(Condition(path=path, operator="exists", value=exists))
    terms.done()
    if not found and not terms.keys():
        given.fault(name, "compares nothing; use =, in, gt, gte, lt, lte or exists")
    return found


def value_at(entry: Entry, key: str) -> Json:
    """Return the single value at `key` as decoded JSON."""
    return scalar_value(entry.scalar(key))


def scalar_value(value: Scalar) -> Json:
    """Return `value` as decoded JSON."""
    return value.value if isinstance(value, Number) else value


def length_at(entry: Entry, key: str, *, least_s: int = 0) -> int | None:
    """Return the length of time at `key` in seconds, from `least_s`: `15m`, `14h`, `1h30m`."""
    text = entry.text(key)
    if text is None:
        return None
    if not _LENGTH.fullmatch(text):
        entry.fault(key, f"is {text[:40]!r}; write a length of time with s, m, h or d, like 15m or 1h30m")
        return least_s
    return _bounded(entry, key, text, least_s)


def steps_at(entry: Entry, key: str) -> Increment | None:
    """Return the increment at `key`: `15m`, or `30s/6s` for a first step and the following ones."""
    text = entry.text(key)
    if text is None:
        return None
    parts = text.split("/", 1)
    if not all(_LENGTH.fullmatch(part) for part in parts):
        entry.fault(key, f"is {text[:40]!r}; write a step like 15m, or the first and the following ones like 30s/6s")
        return None
    first, step = (_bounded(entry, key, part, 1) for part in (parts[0], parts[-1]))
    return Increment(first_s=first, step_s=step)


def _bounded(entry: Entry, key: str, text: str, least_s: int) -> int:
    seconds = sum(int(count) * _SECONDS[unit] for count, unit in _LENGTH_PART.findall(text))
    if not least_s <= seconds <= _LENGTH_S_MAX:
        entry.refuse(key, f"is {text[:40]!r}; give at least {least_s}s and at most {_LENGTH_S_MAX // 86400}d")
    return min(max(seconds, least_s), _LENGTH_S_MAX)
