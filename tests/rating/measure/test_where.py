from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from meter.model.catalog import Condition, Meter, Operator
from meter.model.event import UsageEvent
from meter.rating.measure import AGGREGATES, CAN_FALL, Contribution, Scene, Unread, fits, measure
from meter.rating.state import AccountState
from tests.rating.world import CAFE, DAYS, PAGES, USE, d, entered, event, printed, use

BERLIN = Scene(member="ada", zone_name="Europe/Berlin")


def contributions(meter: Meter, *events: UsageEvent, scene: Scene = BERLIN) -> list[Contribution]:
    state = AccountState()
    found = [part for each in events for part in measure(meter, each, scene, state)]
    assert all(isinstance(part, Contribution) for part in found)
    return [part for part in found if isinstance(part, Contribution)]


def quantities(meter: Meter, *events: UsageEvent) -> list[Decimal]:
    return [part.quantity for part in contributions(meter, *events)]


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


def test_count_is_one_for_each_event_that_fits() -> None:
    meter = replace(PAGES, aggregate="count", value=None)
    assert quantities(meter, printed("11-02", 7), printed("11-03", 8, status="cancelled"), printed("11-04", 9)) == [
        1,
        1,
    ]


def test_sum_scales() -> None:
    assert quantities(replace(PAGES, scale=d("1e-3")), printed("11-02", 7)) == [d("0.007")]


def test_sum_reads_decimal_strings() -> None:
    assert quantities(USE, event("e", "usage.reported", "11-02", {"meter": "use", "quantity": "1.25"})) == [d("1.25")]


def test_usage_reported_counts_its_quantity_without_where_and_value() -> None:
    assert quantities(USE, use("11-02", "2.5")) == [d("2.5")]


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


def test_a_path_through_an_array_makes_a_contribution_for_each_element() -> None:
    found = contributions(CAFE, SALE)
    assert [(part.element, part.quantity) for part in found] == [(0, 3), (1, d("4.5")), (2, -1)]
    assert found[0].item == {"amount": "3.00", "category": "coffee"}


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


def test_arrays_within_arrays_count_on() -> None:
    meter = replace(USE, value=("a", "b"), group_by=(("k",),))
    data = {"a": [{"k": 1, "b": [1, 2]}, {"k": 2, "b": 3}, {"k": 3, "b": []}, {"k": 4, "b": [4]}]}
    found = contributions(meter, event("e", "usage.reported", "11-02", data))
    assert [(part.element, int(part.quantity)) for part in found] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert [part.dimensions["k"] for part in found] == [1, 1, 2, 4]


@pytest.mark.parametrize("value", [None, True, "many", "", "NaN", "1_000", {}, "1e30"])
def test_a_value_that_is_no_number_is_no_reading_and_is_listed(value: Any) -> None:
    event_ = event("e", "usage.reported", "11-02", {"meter": "use", "quantity": value})
    (found,) = measure(USE, event_, BERLIN, AccountState())
    assert isinstance(found, Unread)
    assert (found.event, found.meter, found.element) == (event_.key, "use", 0)
    assert "not a number" in found.reason


def test_a_missing_value_is_no_reading_and_its_neighbours_are() -> None:
    data = {"lines": [{"amount": "1"}, {}, {"amount": "2"}]}
    found = measure(CAFE, event("s", "pos.sale", "11-02", data), BERLIN, AccountState())
    assert [type(part) for part in found] == [Contribution, Unread, Contribution]
    assert [part.element for part in found] == [0, 1, 2]
    (unread,) = measure(CAFE, event("s", "pos.sale", "11-02", {"lines": 5}), BERLIN, AccountState())
    assert isinstance(unread, Unread)
    assert unread.reason == "lines.amount is missing"


def test_unique_days_counts_the_earliest_event_of_each_date_of_the_site() -> None:
    days = [entered("11-02 08:00"), entered("11-02 18:00"), entered("11-02 23:30"), entered("11-03 09:00")]
    # 23:30 UTC is 00:30 on the 3rd in Berlin.
    assert [len(contributions(DAYS, *days[: n + 1])) for n in range(4)] == [1, 1, 2, 2]


def test_unique_days_counts_one_date_once_whatever_the_sites() -> None:
    state = AccountState()
    tokyo = Scene(member="ada", zone_name="Asia/Tokyo")
    honolulu = Scene(member="ada", zone_name="Pacific/Honolulu")
    found = [
        measure(DAYS, entered("11-02 09:00"), BERLIN, state),
        measure(DAYS, entered("11-02 16:00"), tokyo, state),  # the 3rd
        measure(DAYS, entered("11-03 08:00"), BERLIN, state),  # the 3rd again
        measure(DAYS, entered("11-03 09:00"), honolulu, state),  # the 2nd again
    ]
    assert [len(part) for part in found] == [1, 1, 0, 0]


def test_unique_days_counts_each_member() -> None:
    state = AccountState()
    who = [Scene(member=member, zone_name="Europe/Berlin") for member in ("ada", "bob", None, None)]
    assert [len(measure(DAYS, entered("11-02"), scene, state)) for scene in who] == [1, 1, 1, 0]


def test_every_aggregation_that_can_fall_is_one() -> None:
    assert AGGREGATES.keys() >= CAN_FALL
