"""JSON values as rating reads them: paths, equality by value, numbers without float."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.money import DIGITS_MAX, parse_decimal


def segment(text: str) -> str:
    """Return `text` fit to stand between slashes, so that joined names cannot collide."""
    return text.replace("%", "%25").replace("/", "%2F")


class _Missing:
    """The value of a field that is not there, which JSON's null is not."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


def read(data: Json, path: tuple[str, ...]) -> Json:
    """Return the value at `path`, or MISSING; a path does not lead through an array."""
    value = data
    for name in path:
        if type(value) is not dict and not isinstance(value, Mapping):
            return MISSING
        value = value.get(name, MISSING)
    return value


def number(value: Json) -> Decimal | None:
    """Return the number that a JSON number or a decimal string says; None for anything else, booleans included."""
    # The common kinds first, in order of cost: this is asked for each reading of each event.
    kind = type(value)
    if kind is int:
        return Decimal(value)
    if kind is Decimal:
        return value if value.is_finite() else None
    if kind is not str:
        return None
    digits = value[1:] if value[:1] == "-" else value
    if len(digits) <= DIGITS_MAX and digits.isascii() and digits.replace(".", "", 1).isdigit():
        return Decimal(value)
    try:
        return parse_decimal(value, what="value")
    except BadInput:
        return None


def same(left: Json, right: Json) -> bool:
    """Tell whether two JSON values are equal: numbers by value, and a boolean is never a number."""
    kind = type(left)
    if kind is bool or type(right) is bool:
        return left is right
    if kind is str:
        return bool(left == right)
    if isinstance(left, Mapping):
        return (
            isinstance(right, Mapping)
            and left.keys() == right.keys()
            and all(same(value, right[name]) for name, value in left.items())
        )
    if isinstance(left, list | tuple):
        return isinstance(right, list | tuple) and len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)
