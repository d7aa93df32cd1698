"""Printers' counters: what a fall is taken for."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.rating.printer_counts import Counted, CounterReading, counted

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def readings(*counts: int, serials: str = "") -> list[CounterReading]:
    """Hourly readings; `serials` has a letter for each reading of a device that tells its number."""
    return [
        CounterReading(time=NOON + timedelta(hours=hour), count=count, serial=serials[hour : hour + 1] or None)
        for hour, count in enumerate(counts)
    ]


def test_what_rises_is_counted() -> None:
    assert counted(readings(100, 140, 140, 165)) == Counted(65)
    assert counted(readings(100)) == counted([]) == Counted(0)


def test_a_fall_by_nine_is_memory_that_was_lost() -> None:
    """What was printed before the power cut was seen already."""
    made = counted(readings(100, 140, 131, 160))
    assert made.count == 40 + 29
    [note] = made.notes
    assert note == "2026-03-02 14:00Z: fell from 140 to 131: memory lost when it was switched off"


@pytest.mark.parametrize("last", [999_999, 2**24 - 1, 2**32 - 1])
def test_a_counter_rolls_over(last: int) -> None:
    made = counted(readings(last - 9, 15))
    assert made.count == 9 + 1 + 15
    assert f"rolled over after {last}" in made.notes[0]


def test_another_board_counts_from_where_it_is() -> None:
    made = counted(readings(52_000, 12, 20))
    assert made.count == 8
    assert "not known" in made.notes[0]


def test_another_device_counts_from_where_it_is_even_if_it_has_counted_more() -> None:
    made = counted(readings(100, 70_000, 70_010, serials="ABB"))
    assert made.count == 10
    assert "another device (A, then B)" in made.notes[0]


@given(st.permutations(readings(100, 140, 131, 160, 12, 30)))
def test_readings_come_in_any_order_and_more_than_once(order: list[CounterReading]) -> None:
    assert counted(order + order[:2]) == counted(readings(100, 140, 131, 160, 12, 30))


@given(st.lists(st.integers(0, 2**32 - 1), max_size=12))
def test_nothing_negative_is_ever_counted(counts: list[int]) -> None:
    assert counted(readings(*counts)).count >= 0
