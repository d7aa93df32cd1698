"""Typed reading of one map: every key asked for is known, every other one is a fault with a suggestion.

A reader that meets a fault records it and goes on with a placeholder, so that all faults are told at once; nothing that
was read may be used before `Faults.settle` has let it pass.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final, TypeAlias

from meter.catalog.issues import Faults, Place
from meter.catalog.nodes import Item, Node, Number, Scalar, plain_value
from meter.model import card_number
from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.instant import EARLIEST, LATEST, parse_instant, zone
from meter.model.money import ZERO, is_currency, parse_decimal

# A date waits for the zone in which its midnight is meant.
When: TypeAlias = date | datetime | None

TEXT_CHARS_MAX: Final = 500
ID_CHARS_MAX: Final = 128
# An id is part of URLs, topics and ledger accounts.
_ID: Final = re.compile(r"[^\s/+#?%\"'\\]+")
_PLAIN_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class Entry:
    """A map being read, at `place`."""

    def __init__(self, node: Node, place: Place, faults: Faults) -> None:
        """Begin with `node`; one that is no map is a fault and reads as an empty one."""
        self.place = place
        self.faults = faults
        self._items: dict[str, Item] = {}
        self._asked: list[str] = []
        if isinstance(node.value, dict):
            self._items = node.value
        else:
            faults.add(place, f"is {_kind(node.value)}; write a map of keys and values")
            self._asked.append("")

    def __contains__(self, key: str) -> bool:
        """Tell whether `key` is given and not null."""
        self._asked.append(key)
        return key in self._items and self._items[key].node.value is not None

    def at(self, key: str) -> Place:
        """Return the place of `key`; where it is not given, of the map."""
        item = self._items.get(key)
        return self.place if item is None else _inner(self.place, item)

    def fault(self, key: str, message: str) -> None:
        """Record a fault of `key`."""
        self.faults.add(self.at(key), message)

    def refuse(self, key: str, message: str) -> None:
        """Record a fault of `key` that an earlier version did not know."""
        self.faults.refuse(self.at(key), message)

    def warn(self, key: str, message: str) -> None:
        """Record a warning about `key`."""
        self.faults.warn(self.at(key), message)

    def done(self) -> None:
        """Record a fault for every key that nobody asked for."""
        asked = set(self._asked)
        if "" in asked:
            return
        for key in self._items:
            if key not in asked:
                hint = self.faults.suggestion(key, sorted(asked))
                self.fault(key, f"is not known here{hint}; known: {', '.join(sorted(asked))}")

    def names(self) -> Iterator[tuple[str, Entry]]:
        """Give every key, which is an id of the operator's choosing, with its map."""
        for name in self._items:
            self._asked.append(name)
            self.check_id(name, self.at(name))
            yield name, Entry(self._items[name].node, self.at(name), self.faults)

    def keys(self) -> list[str]:
        """Return the keys as given; each counts as asked for."""
        self._asked += self._items
        return list(self._items)

    def is_map(self, key: str) -> bool:
        """Tell whether the value at `key` is a map."""
        return key in self and isinstance(self._items[key].node.value, dict)

    def is_list(self, key: str) -> bool:
        """Tell whether the value at `key` is a list."""
        return key in self and isinstance(self._items[key].node.value, list)

    def empty(self, key: str) -> bool:
        """Tell whether the value at `key` is a list without anything in it."""
        return key in self and self._items[key].node.value == []

    # --- values -------------------------------------------------------------------------------------------------------

    def scalar(self, key: str) -> Scalar:
        """Return the scalar at `key`; None where it is absent, null or, with a fault, a map or a list."""
        if key not in self:
            return None
        value = self._items[key].node.value
        if isinstance(value, dict | list):
            self.fault(key, f"is {_kind(value)}; write one value")
            return None
        return value

    def need(self, key: str, hint: str) -> bool:
        """Tell whether `key` is given; record a fault with `hint` where it is not."""
        if key in self:
            return True
        self.faults.add(self.place, f"lacks `{key}`: {hint}")
        return False

    def text(self, key: str) -> str | None:
        """Return a line of text. A plain number counts as the text that it was written as."""
        value = self.scalar(key)
        if isinstance(value, Number):
            if not _PLAIN_NUMBER.fullmatch(value.text):
                self.fault(key, f"is the number {value.text}; put it in quotes if it is meant as text")
            value = value.text
        if isinstance(value, bool):
            self.fault(key, f"is {str(value).lower()}; put it in quotes if it is meant as text")
            return None
        if value is not None and not (0 < len(value) <= TEXT_CHARS_MAX and value.isprintable()):
            self.fault(key, f"is not 1 to {TEXT_CHARS_MAX} printable characters; shorten it, without line breaks")
        self._look_for_card_numbers(value, self.at(key))
        return value

    def _look_for_card_numbers(self, text: str | None, place: Place) -> None:
        if text is not None and card_number.holds(text):
            self.faults.refuse(place, "holds the number of a payment card, which is never stored; take it out")

    def id(self, key: str) -> str | None:
        """Return an identifier."""
        text = self.text(key)
        if text is not None:
            self.check_id(text, self.at(key))
        return text

    def check_id(self, text: str, place: Place) -> None:
        """Record a fault unless `text` can be an identifier."""
        self._look_for_card_numbers(text, place)
        if not (len(text) <= ID_CHARS_MAX and text.isprintable() and _ID.fullmatch(text)):
            self.faults.add(
                place,
                f"{text[:40]!r} is no id: 1 to {ID_CHARS_MAX} characters without spaces and / + # ? % \\ or quotes",
            )

    def word(self, key: str, words: Sequence[str]) -> str | None:
        """Return one of `words`."""
        text = self.text(key)
        if text is not None and text not in words:
            hint = self.faults.suggestion(text, words)
            self.fault(key, f"is {text[:40]!r}{hint}; it is one of {', '.join(words)}")
            return None
        return text

    def reference(self, key: str, known: Collection[str], what: str) -> str | None:
        """Return the id of one of `known`, a `what`."""
        text = self.text(key)
        if text is not None:
            self.check_reference(text, known, what, self.at(key))
        return text

    def check_reference(self, name: str, known: Collection[str], what: str, place: Place) -> None:
        """Record a fault unless `name` is one of `known`."""
        if name not in known:
            self.faults.add(
                place,
                f"names the {what} {name[:40]!r}, which is not known{self.faults.suggestion(name, sorted(known))}",
            )

    def number(self, key: str, *, least: Decimal | None = ZERO, above: Decimal | None = None) -> Decimal | None:
        """Return a number, exactly as written, of at least `least` and above `above`."""
        value = self.scalar(key)
        if value is None:
            return None
        raw: str | bool = value.text if isinstance(value, Number) else value
        try:
            number = parse_decimal(raw, what="it")
        except BadInput as error:
            self.fault(key, error.detail.replace("it is", "is", 1))
            return None
        if (least is not None and number < least) or (above is not None and number <= above):
            self.fault(
                key,
                f"is {number}; it must be {'above ' + str(above) if above is not None else 'at least ' + str(least)}",
            )
        return number

    def integer(self, key: str, *, least: int, most: int) -> int | None:
        """Return a whole number from `least` to `most`."""
        number = self.number(key, least=None)
        if number is None:
            return None
        if number != number.to_integral_value() or not least <= number <= most:
            self.fault(key, f"is {number}; it must be a whole number from {least} to {most}")
            return least
        return int(number)

    def flag(self, key: str) -> bool | None:
        """Return true or false."""
        value = self.scalar(key)
        if value is None or isinstance(value, bool):
            return value
        shown = value.text if isinstance(value, Number) else value
        self.fault(key, f"is {shown[:40]!r}; write true or false")
        return None

    def when(self, key: str) -> When:
        """Return a date or an instant."""
        value = self.scalar(key)
        return None if value is None else self._when(value, self.at(key))

    def _when(self, value: Scalar, place: Place) -> When:
        try:
            if isinstance(value, str) and not _DATE.fullmatch(value):
                return parse_instant(value)
            if isinstance(value, str):
                day = date.fromisoformat(value)
                if EARLIEST.date() <= day <= LATEST.date():
                    return day
        except (ValueError, BadInput):
            pass
        shown = value.text if isinstance(value, Number) else str(value)
        example = "like 2026-03-01, or an instant with its offset, like 2026-03-01T09:00:00+01:00"
        self.faults.add(place, f"is {shown[:40]!r}; write a date that exists, {example}")
        return None

    def dates(self, key: str) -> list[When]:
        """Return the dates of the list at `key`."""
        return [self._when(value, place) for value, place in self.scalars(key)]

    def timezone(self, key: str) -> str | None:
        """Return the name of an IANA zone."""
        name = self.text(key)
        if name is not None:
            try:
                zone(name)
            except BadInput as error:
                self.fault(key, error.detail)
                return "UTC"
        return name

    def currency(self, key: str) -> str | None:
        """Return an ISO 4217 code."""
        code = self.text(key)
        if code is not None and not is_currency(code):
            self.fault(key, f"is {code[:40]!r}; write an ISO 4217 code, like EUR")
        return code

    def plain(self, key: str) -> Json:
        """Return the value as decoded JSON, whatever it is."""
        return plain_value(self._items[key].node) if key in self else None

    # --- maps and lists -----------------------------------------------------------------------------------------------

    def entry(self, key: str) -> Entry | None:
        """Return the map at `key`."""
        return Entry(self._items[key].node, self.at(key), self.faults) if key in self else None

    def _list(self, key: str) -> list[Item]:
        if key not in self:
            return []
        value = self._items[key].node.value
        if isinstance(value, list):
            return value
        self.fault(key, f"is {_kind(value)}; write a list")
        return []

    def entries(self, key: str) -> list[Entry]:
        """Return the maps of the list at `key`."""
        place = self.at(key)
        return [Entry(item.node, _inner(place, item), self.faults) for item in self._list(key)]

    def texts(self, key: str) -> list[tuple[str, Place]]:
        """Return the texts of the list at `key`, each with its place."""
        found = []
        for value, place in self.scalars(key):
            if isinstance(value, str) and 0 < len(value) <= TEXT_CHARS_MAX and value.isprintable():
                self._look_for_card_numbers(value, place)
                found.append((value, place))
            else:
                shown = value.text if isinstance(value, Number) else value
                self.faults.add(place, f"is {str(shown)[:40]!r}; write text, in quotes if need be")
        return found

    def scalars(self, key: str) -> list[tuple[Scalar, Place]]:
        """Return the single values of the list at `key`, each with its place."""
        place, found = self.at(key), []
        for item in self._list(key):
            if isinstance(item.node.value, dict | list):
                self.faults.add(_inner(place, item), f"is {_kind(item.node.value)}; write one value")
            else:
                found.append((item.node.value, _inner(place, item)))
        return found

    def texts_or_entries(self, key: str) -> list[tuple[str, Place] | Entry]:
        """Return the list at `key`, whose members are text or maps."""
        place = self.at(key)
        found: list[tuple[str, Place] | Entry] = []
        for item in self._list(key):
            if isinstance(item.node.value, str):
                found.append((item.node.value, _inner(place, item)))
            else:
                found.append(Entry(item.node, _inner(place, item), self.faults))
        return found


def _inner(place: Place, item: Item) -> Place:
    return Place(item.node.file, item.line, place.path + item.label)


def _kind(value: Scalar | list[Item] | dict[str, Item]) -> str:
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    shown = value.text if isinstance(value, Number) else str(value)
    return f"the single value {shown[:40]!r}"
