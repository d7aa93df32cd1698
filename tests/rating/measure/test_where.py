from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from meter.model.catalog import Condition, Operator
from meter.rating.measure import fits
from tests.rating.measure.scenes import d


def holds(operator: Operator, wanted: Any, data: Mapping[str, Any], path: str = "x") -> bool:
    return fits((Condition(path=tuple(path.split(".")), operator=operator, value=wanted),), data)


@pytest.mark.parametrize(
    ("operator", "wanted", "value", "expected"),
    [
        ("=", "a", "a", True),
        ("=", "a", "A", False),
        ("=", 5, d("5.0"), True),
        ("=", 1, True, False),
        ("=", True, 1, False),
        ("=", False, 0, False),
        ("=", True, True, True),
        ("=", "5", 5, False),
        ("=", None, None, True),
        ("=", [1, {"a": 2}], [d("1.0"), {"a": d(2)}], True),
        ("=", {"a": 1}, {"a": True}, False),
        ("=", [1], [1, 2], False),
        ("=", [1, 2], [1, 3], False),
        ("=", [1], [True], False),
        ("=", 1, [1], False),
        ("=", [1], {"a": 1}, False),
        ("=", 1, {"a": 1}, False),
        ("=", {"a": 1, "b": 2}, {"a": 1}, False),
        ("in", ("a", 5), d("5.00"), True),
        ("in", ("a", 1), True, False),
        ("in", ("a", "b"), "c", False),
        ("gt", 5, d("5.01"), True),
        ("gt", 5, 5, False),
        ("gte", 5, d("5.0"), True),
        ("gte", 5, d("4.99"), False),
        ("lt", 5, 4, True),
        ("lt", 5, 5, False),
        ("lte", 5, 5, True),
        ("lte", 5, d("5.01"), False),
        ("gt", 10, "9.50", False),
        ("gt", "9.50", "10.00", True),
        ("gt", 0, True, False),
        ("gt", "2026-01-01", "2026-11-02", True),
        ("gt", "b", "a", False),
        ("gt", "a", "a", False),
        ("gte", "a", "a", True),
        ("lt", "b", "a", True),
        ("lte", "a", "b", False),
        ("gt", 5, "many", False),
        ("lt", "2026-01-01", 5, False),
        ("lt", 5, None, False),
        ("exists", True, None, True),
        ("exists", False, 0, False),
    ],
)
def test_where(operator: Operator, wanted: Any, value: Any, expected: bool) -> None:  # noqa: FBT001 -- a table's column
    assert holds(operator, wanted, {"x": value}) is expected


@pytest.mark.parametrize("operator", ["=", "in", "gt", "gte", "lt", "lte"])
def test_a_missing_field_matches_nothing(operator: Operator) -> None:
    wanted: Any = (None, 0, "") if operator == "in" else 0
    assert not holds(operator, wanted, {})
    assert not holds(operator, wanted, {"x": {"y": 0}}, path="x.z")
    assert not holds(operator, wanted, {"x": 0}, path="x.y")


def test_a_missing_field_matches_exists_false() -> None:
    assert holds("exists", False, {})
    assert not holds("exists", True, {})
    assert holds("exists", True, {"x": {"y": 0}}, path="x.y")
    assert holds("exists", False, {"x": [{"y": 0}]}, path="x.y")


def test_all_terms_must_hold() -> None:
    a = Condition(path=("a",), operator="=", value=1)
    b = Condition(path=("b",), operator="=", value=2)
    assert fits((a, b), {"a": 1, "b": 2})
    assert not fits((a, b), {"a": 1, "b": 3})
    assert fits((), {})
