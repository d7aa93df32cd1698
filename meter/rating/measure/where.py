"""`where` and its like: conditions on an event's data."""

from __future__ import annotations

from collections.abc import Mapping

from meter.model.catalog import Condition
from meter.model.event import Json
from meter.rating.values import MISSING, number, read, same


def fits(where: tuple[Condition, ...], data: Mapping[str, Json]) -> bool:
    """Tell whether all conditions hold; a missing field meets none but `exists: false`."""
    # A loop, not `all`: most meters ask for one equality of one field, and a generator costs more than that.
    for condition in where:
        path = condition.path
        value = data.get(path[0], MISSING) if len(path) == 1 else read(data, path)
        if condition.operator == "=" and value is not MISSING:
            if not same(value, condition.value):
                return False
        elif not _holds(condition, value):
            return False
    return True


def _holds(condition: Condition, value: Json) -> bool:
    if condition.operator == "exists":
        return (value is not MISSING) is bool(condition.value)
    if value is MISSING:
        return False
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
