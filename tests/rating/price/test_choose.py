from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest

from meter.model.catalog import PerUnit, Price, Window
from meter.model.event import Json
from meter.rating.price import choose
from tests.rating.price.words import d

NOON = datetime(2026, 11, 4, 12, tzinfo=UTC)
WEEKDAYS = frozenset(range(5))
CHRISTMAS = date(2026, 12, 25)  # a Friday


def named(id: str, *, match: Mapping[str, Json] | None = None, when: Window | None = None) -> Price:
    return Price(id=id, model=PerUnit(unit_price=d(1)), match=match or {}, when=when)


def chosen(*prices: Price, at: datetime = NOON, zone: str = "Europe/Berlin", **dimensions: Any) -> str | None:
    found = choose(prices, dimensions, instant=at, zone_name=zone)
    return None if found is None else found.id


def open_at(window: Window, local: str, zone: str = "UTC") -> bool:
    return chosen(named("open", when=window), at=datetime.fromisoformat(local + "Z"), zone=zone) is not None


def test_the_first_price_whose_match_fits_applies() -> None:
    colour = named("colour", match={"color": True})
    a3 = named("a3", match={"color": True, "paper": "A3"})
    rest = named("rest")
    assert chosen(colour, a3, rest, color=True, paper="A3") == "colour"
    assert chosen(a3, colour, rest, color=True, paper="A3") == "a3"
    assert chosen(colour, a3, rest, color=False) == "rest"
    assert chosen(colour, a3, rest) == "rest"
    assert chosen(a3, rest, color=True, paper="A4") == "rest"
    assert chosen(colour, color=1) is None
    assert chosen() is None


def test_null_is_a_value_that_a_field_which_is_not_there_lacks() -> None:
    assert chosen(named("nowhere", match={"room": None}), room=None) == "nowhere"
    assert chosen(named("nowhere", match={"room": None})) is None


def test_match_and_when_must_both_fit() -> None:
    night = named("night", match={"room": "r1"}, when=Window(from_minute=18 * 60))
    rest = named("rest")
    evening = NOON.replace(hour=20)
    assert [chosen(night, rest, at=at, room=room) for at in (NOON, evening) for room in ("r1", "r2")] == [
        "rest", "rest", "night", "rest",
    ]  # fmt: skip


def test_hours_begin_with_their_first_minute_and_end_before_their_last() -> None:
    window = Window(from_minute=9 * 60, to_minute=18 * 60)
    seen = [open_at(window, f"2026-11-04T{t}") for t in ("08:59:59.999", "09:00:00", "17:59:59.999", "18:00:00")]
    assert seen == [False, True, True, False]


def test_hours_until_24_reach_the_end_of_the_day() -> None:
    assert open_at(Window(from_minute=18 * 60, to_minute=24 * 60), "2026-11-04T23:59:59.999999")
    assert not open_at(Window(from_minute=18 * 60, to_minute=24 * 60), "2026-11-05T00:00:00")


def test_hours_that_end_before_they_start_reach_over_midnight() -> None:
    window = Window(from_minute=22 * 60, to_minute=6 * 60)
    seen = [open_at(window, f"2026-11-{t}") for t in ("04T21:59:00", "04T22:00:00", "05T05:59:00", "05T06:00:00")]
    assert seen == [False, True, True, False]


def test_over_midnight_the_date_is_the_one_on_the_calendar() -> None:
    friday_night = Window(days=frozenset({4}), from_minute=22 * 60, to_minute=6 * 60)
    assert open_at(friday_night, "2026-11-06T23:00:00")
    assert not open_at(friday_night, "2026-11-07T01:00:00")  # Saturday has begun
    assert open_at(friday_night, "2026-11-06T01:00:00")  # and Friday had, an hour before


def test_hours_that_end_where_they_start_are_the_whole_day() -> None:
    assert open_at(Window(from_minute=540, to_minute=540), "2026-11-04T08:00:00")


def test_days() -> None:
    week = Window(days=WEEKDAYS)
    assert [open_at(week, f"2026-11-0{day}T12:00:00") for day in range(6, 10)] == [True, False, False, True]


def test_holidays_fit_beside_days() -> None:
    sundays = Window(days=frozenset({6}), holidays=frozenset({CHRISTMAS}))
    assert [open_at(sundays, f"2026-12-{day}T12:00:00") for day in (25, 26, 27)] == [True, False, True]


def test_holidays_alone_are_the_only_dates() -> None:
    only = Window(holidays=frozenset({CHRISTMAS}), to_minute=720)
    assert [open_at(only, f"2026-12-{t}:00:00") for t in ("25T11", "25T12", "26T11")] == [True, False, False]


def test_dates_and_hours_are_the_sites() -> None:
    holiday = Window(holidays=frozenset({CHRISTMAS}))
    assert open_at(holiday, "2026-12-24T23:30:00", "Europe/Berlin")
    assert not open_at(holiday, "2026-12-24T23:30:00", "Europe/London")
    assert open_at(holiday, "2026-12-26T04:00:00", "America/New_York")


@pytest.mark.parametrize(
    ("utc", "fits"),
    [
        ("2026-10-25T00:59:00", True),  # 02:59 summer time
        ("2026-10-25T01:30:00", True),  # 02:30 again, winter time
        ("2026-10-25T02:00:00", False),  # 03:00
        ("2026-03-29T00:59:00", False),  # 01:59
        ("2026-03-29T01:00:00", False),  # 03:00: that night has no 2 o'clock
    ],
)
def test_when_the_clocks_change_the_clock_on_the_wall_decides(utc: str, fits: bool) -> None:  # noqa: FBT001
    assert open_at(Window(from_minute=120, to_minute=180), utc, "Europe/Berlin") is fits
