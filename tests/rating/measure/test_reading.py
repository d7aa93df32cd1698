from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meter.rating.measure import Contribution, Unread
from tests.rating.measure.scenes import contributions, d, event, measured, reports

SALE = event(
    "s",
    "pos.sale",
    "11-02",
    {
        "order": "o",
        "till": "bar",
        "category": "sale",
        "lines": [{"amount": "3.00", "category": "coffee"}, {"amount": "4.50"}, {"amount": "-1", "category": None}],
    },
)
CAFE = replace(reports("sum"), event="pos.sale", unit="EUR", value=("lines", "amount"))


def test_a_path_through_an_array_makes_a_contribution_for_each_element() -> None:
    found = contributions(CAFE, SALE)
    assert [(part.element, part.quantity) for part in found] == [(0, 3), (1, d("4.5")), (2, -1)]
    assert [part.item for part in found] == SALE.data["lines"]


def test_group_by_is_read_from_the_element_first_and_then_from_the_event() -> None:
    meter = replace(CAFE, group_by=(("category",), ("till",), ("nothing",)))
    assert [part.dimensions for part in contributions(meter, SALE)] == [
        {"category": "coffee", "till": "bar"},
        {"category": "sale", "till": "bar"},
        {"category": None, "till": "bar"},
    ]


def test_group_by_may_name_the_array_too() -> None:
    meter = replace(CAFE, group_by=(("lines", "category"),))
    assert [part.dimensions for part in contributions(meter, SALE)] == [
        {"lines.category": "coffee"},
        {},
        {"lines.category": None},
    ]


def test_what_the_element_has_at_the_whole_path_goes_before_what_the_array_is_named_for() -> None:
    meter = replace(reports("sum"), value=("a", "n"), group_by=(("a", "k"),))
    data = {"a": [{"n": 1, "k": "named", "a": {"k": "whole"}}, {"n": 2, "k": "named"}]}
    found = contributions(meter, event("e", "usage.reported", "11-02", data))
    assert [part.dimensions for part in found] == [{"a.k": "whole"}, {"a.k": "named"}]


def test_arrays_within_arrays_count_on() -> None:
    meter = replace(reports("sum"), value=("a", "b"), group_by=(("k",),))
    data = {"a": [{"k": 1, "b": [1, 2]}, {"k": 2, "b": 3}, {"k": 3, "b": []}, {"k": 4, "b": [4]}]}
    found = contributions(meter, event("e", "usage.reported", "11-02", data))
    assert [(part.element, int(part.quantity)) for part in found] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert [part.dimensions["k"] for part in found] == [1, 1, 2, 4]


@pytest.mark.parametrize("aggregate", ["sum", "max", "latest", "counter"])
@pytest.mark.parametrize(
    "value", [None, True, "many", "", ".", "-", "--1", "NaN", d("NaN"), "1_000", "\u0663", {}, "1e30", "1" * 19]
)
def test_a_value_that_is_no_number_is_no_reading_and_is_listed(value: Any, aggregate: str) -> None:
    told = event("e", "usage.reported", "11-02", {"quantity": value})
    (found,) = measured(reports(aggregate), told)
    assert isinstance(found, Unread)
    assert (found.event, found.meter, found.element, found.code) == (told.key, "told", 0, "unread")
    assert found.reason == f"quantity is {str(value)!r}, not a number"


def test_of_a_long_value_the_beginning_is_told() -> None:
    (found,) = measured(reports("sum"), event("e", "usage.reported", "11-02", {"quantity": "x" * 50}))
    assert isinstance(found, Unread)
    assert found.reason == f"quantity is '{'x' * 40}', not a number"


@pytest.mark.parametrize(
    ("value", "expected"), [("7", 7), ("-7", -7), ("0.50", "0.5"), (".5", "0.5"), ("5.", 5), (" 5 ", 5), ("1e3", 1000)]
)
def test_decimal_strings_are_numbers(value: str, expected: Any) -> None:
    (found,) = contributions(reports("sum"), event("e", "usage.reported", "11-02", {"quantity": value}))
    assert found.quantity == d(expected)


def test_a_missing_value_is_no_reading_and_its_neighbours_are() -> None:
    data = {"lines": [{"amount": "1"}, {}, {"amount": {}}, {"amount": "2"}]}
    found = measured(CAFE, event("s", "pos.sale", "11-02", data))
    assert [(part.element, int(part.quantity)) for part in found if isinstance(part, Contribution)] == [(0, 1), (3, 2)]
    assert [(part.element, part.reason) for part in found if isinstance(part, Unread)] == [
        (1, "lines.amount is missing"),
        (2, "lines.amount is '{}', not a number"),
    ]
    without: list[dict[str, Any]] = [{"lines": 5}, {}]
    for each in without:
        (unread,) = measured(CAFE, event("s", "pos.sale", "11-02", each))
        assert isinstance(unread, Unread)
        assert unread.reason == "lines.amount is missing"
    (unread,) = measured(reports("sum"), event("e", "usage.reported", "11-02", {}))
    assert isinstance(unread, Unread)
    assert unread.reason == "quantity is missing"


def test_a_contribution_says_where_it_stands_and_what_it_is_explained_by() -> None:
    told = event("e", "usage.reported", "11-02", {"quantity": 1})
    (found,) = contributions(reports("sum"), told, member="bob")
    assert (found.event, found.member, found.events, found.estimated) == (told, "bob", (told.key,), False)
