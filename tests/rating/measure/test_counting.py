from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meter.model.money import TIME_UNITS, unit_scale
from meter.rating.measure import AGGREGATES, CAN_FALL, Contribution, Memory, Unread
from tests.rating.measure.scenes import condition, contributions, d, door, event, measured, quantities, reports, told

DAYS = replace(reports("unique_days", "day"), event="door.access", where=condition(direction="in"))


def test_count_is_one_for_each_event_that_fits() -> None:
    meter = replace(reports("count"), where=condition(status="done"))
    told_ = [told("11-02", 7, status="done"), told("11-03", 8, status="cancelled"), told("11-04", 9, status="done")]
    assert quantities(meter, *told_) == [1, 1]


def test_count_has_the_dimensions_of_its_event() -> None:
    meter = replace(reports("count"), group_by=(("color",), ("paper", "size")))
    (found,) = contributions(meter, told("11-02", 7, color=True, paper={"size": "A3"}))
    assert (found.element, found.item, found.dimensions) == (0, None, {"color": True, "paper.size": "A3"})


def test_sum_scales() -> None:
    assert quantities(reports("sum", scale=d("1e-3")), told("11-02", 7)) == [d("0.007")]


def test_usage_reported_counts_its_quantity_without_value() -> None:
    assert quantities(replace(reports("sum"), value=None), told("11-02", d("2.5"))) == [d("2.5")]


UNITS = {
    "hour": 3600,
    "hours": 3600,
    "h": 3600,
    "minute": 60,
    "minutes": 60,
    "min": 60,
    "second": 1,
    "seconds": 1,
    "s": 1,
}
OF_TWO_READINGS: dict[str, list[str]] = {
    "sum": ["1.5", "2.5"],
    "count": ["1", "1"],
    "max": ["1.5", "1"],
    "latest": ["1.5", "1"],
    "counter": ["1"],
    "unique": ["1", "1"],
    "unique_days": ["1", "1"],
}


@pytest.mark.parametrize("aggregate", OF_TWO_READINGS)
def test_units_of_time_are_measured_in_seconds(aggregate: str) -> None:
    assert UNITS == TIME_UNITS
    for unit, seconds in {**UNITS, "page": 1, "Hour": 1, "": 1}.items():
        assert unit_scale(unit) == seconds
        found = quantities(reports(aggregate, unit), told("11-02", d("1.5")), told("11-03", d("2.5")))
        assert found == [d(each) * seconds for each in OF_TWO_READINGS[aggregate]]


def test_unique_days_counts_the_earliest_event_of_each_date_of_the_site() -> None:
    days = [door(at, "in") for at in ("11-02 08:00", "11-02 18:00", "11-02 23:30", "11-03 09:00")]
    # 23:30 UTC is 00:30 on the 3rd in Berlin.
    assert [len(contributions(DAYS, *days[: n + 1])) for n in range(4)] == [1, 1, 2, 2]


def test_unique_days_counts_one_date_once_whatever_the_sites() -> None:
    memory = Memory()
    there_and_here = [
        door("11-02 09:00", "in"),
        door("11-02 16:00", "in", site="tokyo"),  # the 3rd
        door("11-03 08:00", "in"),  # the 3rd again
        door("11-03 18:00", "in", site="tokyo"),  # the 4th
    ]
    assert [len(measured(DAYS, each, memory=memory)) for each in there_and_here] == [1, 1, 0, 1]


def test_unique_days_counts_a_date_once_although_a_period_begins_on_it() -> None:
    # Midnight of the account (in Berlin) lies within a day of Tokyo.
    evening, night = door("11-30 22:30", "in", site="tokyo"), door("11-30 23:30", "in", site="tokyo")
    assert len(measured(DAYS, evening, night)) == 1


def test_unique_days_counts_each_member() -> None:
    memory = Memory()
    who = ("ada", "bob", None, None)
    assert [len(measured(DAYS, door("11-02", "in"), memory=memory, member=each)) for each in who] == [1, 1, 1, 0]


def test_unique_counts_each_value_of_a_member_once_in_a_period() -> None:
    memory, meter = Memory(), reports("unique")
    story: list[tuple[str, str, Any]] = [
        ("ada", "11-02", "a"),
        ("ada", "11-03", "a"),
        ("ada", "11-04", "b"),
        ("bob", "11-05", "a"),
        ("ada", "11-06", "a"),
        ("ada", "12-02", "a"),
        ("ada", "12-03", "a"),
    ]
    found = [len(measured(meter, told(at, value), memory=memory, member=who)) for who, at, value in story]
    assert found == [1, 0, 1, 1, 0, 1, 0]


def test_unique_values_are_equal_as_json_is() -> None:
    values: list[Any] = [5, d("5.0"), "5", True, 1, False, "True", {"a": 1, "b": 2}, {"b": d("2.0"), "a": 1}, "", "a"]
    meter, memory = reports("unique"), Memory()
    found = [len(measured(meter, told("11-02", value), memory=memory)) for value in values]
    assert found == [1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1]


def test_unique_counts_the_elements_of_an_array() -> None:
    meter = replace(reports("unique"), value=("who", "id"), group_by=(("team",),))
    data = {"who": [{"id": "a", "team": 1}, {"id": "b", "team": 2}, {"id": "a", "team": 3}, {"team": 4}, {"id": None}]}
    *found, fourth, fifth = measured(meter, event("e", "usage.reported", "11-02", data))
    assert [(part.element, part.dimensions) for part in found if isinstance(part, Contribution)] == [
        (0, {"team": 1}),
        (1, {"team": 2}),
    ]
    assert isinstance(fourth, Unread)
    assert isinstance(fifth, Unread)
    assert (fourth.element, fifth.element) == (3, 4)


def test_every_aggregation_that_can_fall_is_one() -> None:
    assert AGGREGATES.keys() >= CAN_FALL
