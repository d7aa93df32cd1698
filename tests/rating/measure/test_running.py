from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.event import UsageEvent
from meter.rating.measure import CAN_FALL, Contribution, Memory, Unread
from tests.rating.measure.scenes import contributions, d, event, measured, quantities, reports, t, told

WIFI = replace(reports("counter", "GB"), event="wifi.session", value=("bytes_in",), key=("session",), scale=d("1e-9"))


def readings(*values: int, month: str = "11") -> list[Any]:
    return [told(f"{month}-{2 + n:02}", value) for n, value in enumerate(values)]


def test_max_counts_what_rises_above_the_highest_so_far() -> None:
    assert quantities(reports("max"), *readings(5, 3, 8, 8, 9)) == [5, 3, 1]


def test_latest_counts_up_and_down() -> None:
    assert quantities(reports("latest"), *readings(5, 3, 8, 8, 0)) == [5, -2, 5, -8]


def test_both_begin_at_0_in_every_period() -> None:
    november, december = readings(5, 3), readings(4, 6, month="12")
    assert quantities(reports("max"), *november, *december) == [5, 4, 2]
    assert quantities(reports("latest"), *november, *december) == [5, -2, 4, 2]


def test_the_highest_begins_at_0() -> None:
    assert quantities(reports("max"), *readings(-5, -7, 1, -2, 3)) == [1, 2]


@pytest.mark.parametrize("aggregate", ["max", "latest"])
def test_they_are_the_accounts_unless_they_are_per_member(aggregate: str) -> None:
    for per, expected in (("account", [5, 2]), ("member", [5, 7])):
        memory, meter = Memory(), reports(aggregate, per=per)
        (first,) = contributions(meter, told("11-02", 5), memory=memory, member="ada")
        (second,) = contributions(meter, told("11-03", 7, site="tokyo"), memory=memory, member="bob")
        assert [first.quantity, second.quantity] == expected


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=20))
def test_a_running_difference_sums_to_what_stands(values: list[int]) -> None:
    assert sum(quantities(reports("latest"), *readings(*values))) == values[-1]
    assert sum(quantities(reports("max"), *readings(*values))) == max(0, *values)


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9), st.booleans(), st.booleans())
def test_what_cannot_fall_never_does(values: list[int], from_zero: bool, reset: bool) -> None:  # noqa: FBT001 -- drawn
    for aggregate in {"sum", "max", "latest", "counter", "unique", "count"} - CAN_FALL:
        meter = reports(aggregate, from_zero=from_zero, reset_below=reset)
        assert all(quantity > 0 for quantity in quantities(meter, *readings(*values)))


@pytest.mark.parametrize(
    ("reset_below", "from_zero", "expected"),
    [(False, True, [100, 10]), (True, True, [100, 90, 20]), (False, False, [10]), (True, False, [90, 20])],
)
def test_a_counter_of_100_90_110(reset_below: bool, from_zero: bool, expected: list[int]) -> None:  # noqa: FBT001 -- a table
    meter = reports("counter", from_zero=from_zero, reset_below=reset_below)
    assert quantities(meter, *readings(100, 90, 110)) == expected


def test_a_run_goes_on_in_the_next_period() -> None:
    january, february = told("01-31 12:00", 100), told("02-01 12:00", 150)
    late = told("01-31 18:00", 120)
    first = contributions(reports("counter"), january, february)
    assert [(part.event.id, part.quantity) for part in first] == [(february.id, d(50))]
    again = contributions(reports("counter"), january, late, february)
    assert [(part.event.id, part.quantity) for part in again] == [(late.id, d(20)), (february.id, d(30))]


def test_runs_are_kept_apart_by_member_site_and_key() -> None:
    memory = Memory()

    def added(at: str, count: int, *, who: str = "ada", site: str = "berlin", session: Any = "x") -> list[Decimal]:
        reading = event(at, "wifi.session", at, {"session": session, "bytes_in": count}, site=site)
        return quantities(WIFI, reading, memory=memory, member=who)

    assert added("11-02 08:00", 10**9) == []
    assert added("11-02 08:01", 10**9, who="bob") == []
    assert added("11-02 08:02", 10**9, site="tokyo") == []
    assert added("11-02 08:03", 10**9, session="y") == []
    assert added("11-02 08:04", 10**9, session=5) == []
    assert added("11-02 08:05", 10**9, session="5") == []
    assert added("11-02 08:06", 3 * 10**9, session=d("5.0")) == [2]
    assert added("11-02 08:07", 2 * 10**9) == [1]
    assert len(memory.runs) == 6


def test_a_reading_that_does_not_say_whose_run_it_is_is_listed() -> None:
    for data in ({"bytes_in": 5}, {"bytes_in": 5, "session": None}):
        memory = Memory()
        (found,) = measured(WIFI, event("e", "wifi.session", "11-02", data), memory=memory)
        assert isinstance(found, Unread)
        assert found.reason.startswith("session is missing")
        assert memory == Memory()


def test_an_array_may_hold_readings_of_several_runs() -> None:
    meter = replace(reports("counter", from_zero=True), value=("slots", "count"), key=("slot",), group_by=(("slot",),))
    data = {"slots": [{"slot": 1, "count": 5}, {"slot": 2, "count": 7}, {"slot": 1, "count": 6}]}
    found = contributions(meter, event("e", "usage.reported", "11-02", data))
    assert [(part.element, part.quantity, part.dimensions) for part in found] == [
        (0, d(5), {"slot": 1}),
        (1, d(7), {"slot": 2}),
        (2, d(1), {"slot": 1}),
    ]


def rows(*data: dict[str, Any]) -> UsageEvent:
    return event("e", "usage.reported", "11-02", {"rows": list(data)})


@pytest.mark.parametrize("aggregate", ["max", "latest", "counter"])
def test_a_reading_of_an_array_that_cannot_be_read_leaves_its_neighbours(aggregate: str) -> None:
    meter = replace(reports(aggregate, from_zero=True), value=("rows", "n"))
    found = measured(meter, rows({"n": "x"}, {"n": 5}))
    assert [type(part) for part in found] == [Unread, Contribution]


def test_a_reading_of_an_array_that_does_not_say_whose_run_it_is_leaves_its_neighbours() -> None:
    meter = replace(reports("counter", from_zero=True), value=("rows", "n"), key=("slot", "id"))
    unread, read = measured(meter, rows({"n": 5}, {"n": 7, "slot": {"id": 1}}))
    assert isinstance(unread, Unread)
    assert unread.reason == "slot.id is missing, which tells sessions, runs and acts apart"
    assert isinstance(read, Contribution)
    assert (read.element, int(read.quantity)) == (1, 7)


def test_max_counts_on_within_an_array() -> None:
    found = contributions(replace(reports("max"), value=("rows", "n")), rows({"n": 5}, {"n": 3}, {"n": 8}))
    assert [(part.element, int(part.quantity)) for part in found] == [(0, 5), (2, 3)]


@pytest.mark.parametrize("reset_below", [False, True])
def test_a_counter_that_stands_still_adds_nothing(*, reset_below: bool) -> None:
    assert quantities(reports("counter", reset_below=reset_below), *readings(100, 100, 110, 110)) == [10]


def test_a_run_is_forgotten_after_longer_than_forget_without_a_reading() -> None:
    meter = reports("counter", from_zero=True, forget_s=3600)
    start = t("11-02 12:00")
    hour, moment = timedelta(hours=1), timedelta(microseconds=1)

    def after(wait: timedelta) -> list[Decimal]:
        first = event("a", "usage.reported", start, {"quantity": 100})
        second = event("b", "usage.reported", start + wait, {"quantity": 130})
        return quantities(meter, first, second)

    assert after(hour) == [100, 30]
    assert after(hour + moment) == [100, 130]


def test_a_lower_reading_keeps_a_run_alive_too() -> None:
    meter = reports("counter", forget_s=3600)
    story = [told("11-02 12:00", 100), told("11-02 12:50", 90), told("11-02 13:40", 110)]
    assert quantities(meter, *story) == [10]


def test_a_new_scale_does_not_count_what_was_counted() -> None:
    memory = Memory()
    assert quantities(reports("latest"), told("11-02", 5), memory=memory) == [5]
    assert quantities(reports("latest", scale=d(2)), told("11-03", 5), memory=memory) == [5]
    assert quantities(reports("counter"), told("11-02", 5), memory=memory) == []
    (found,) = measured(reports("counter", scale=d(2)), told("11-03", 6), memory=memory)
    assert isinstance(found, Contribution)
    assert found.quantity == 2
