from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.errors import BadInput
from meter.model.instant import EARLIEST, LATEST, instant_text, local_date, local_midnight, parse_instant, zone

ZONES = [
    "Europe/Berlin",
    "America/Havana",  # changes at midnight
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Africa/Cairo",
    "Pacific/Apia",  # skipped 30 December 2011
    "Pacific/Kiritimati",
    "Australia/Lord_Howe",  # by half an hour
    "America/Scoresbysund",
    "Asia/Kathmandu",
    "UTC",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-02T08:01:27.120Z", "2026-03-02T08:01:27.120000Z"),
        ("2026-03-02T09:01:27+01:00", "2026-03-02T08:01:27Z"),
        ("2026-03-02t08:01:27z", "2026-03-02T08:01:27Z"),
        ("2026-03-02 08:01:27-00:00", "2026-03-02T08:01:27Z"),
        ("2026-03-02T08:01:27.123456789Z", "2026-03-02T08:01:27.123456Z"),
        ("2026-12-31T23:59:60Z", "2027-01-01T00:00:00Z"),
        ("2028-02-29T23:30:00-01:00", "2028-03-01T00:30:00Z"),
    ],
)
def test_instants_are_read_in_any_offset_and_leave_in_utc(text: str, expected: str) -> None:
    assert instant_text(parse_instant(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02T08:01:27",
        "2026-03-02",
        "2026-02-29T00:00:00Z",
        "2026-03-02T24:00:00Z",
        "2026-03-02T08:01:61Z",
        "2026-03-02T08:60:00Z",
        "2026-03-02T08:01:27+05:60",
        "2026-03-02T08:01:27+24:00",
        "2026-03-02T08:01:27+0100",
        "2026-3-2T08:01:27Z",
        "0000-03-02T08:01:27Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59Z",
        "٢٠٢٦-03-02T08:01:27Z",
        "2026-03-02T08:01:27Z\n",
        "",
    ],
)
def test_what_names_no_instant_is_refused(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_instant(text)
    assert caught.value.code == "bad_time"


@given(
    st.datetimes(datetime(1, 1, 4), datetime(9998, 12, 30)),  # noqa: DTZ001 -- the zone comes from the next line
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_an_instant_is_the_same_in_every_offset(naive: datetime, minutes: int) -> None:
    instant = naive.replace(tzinfo=UTC)
    local = instant.astimezone(timezone(timedelta(minutes=minutes)))
    assert parse_instant(local.isoformat()) == instant
    assert parse_instant(instant_text(instant)) == instant


def test_the_clock_jumps_over_midnight() -> None:
    # Havana, 8 March 2026: 23:59:59 CST is followed by 01:00:00 CDT.
    assert local_midnight(date(2026, 3, 8), "America/Havana") == datetime(2026, 3, 8, 5, tzinfo=UTC)
    assert local_date(datetime(2026, 3, 8, 4, 59, 59, tzinfo=UTC), "America/Havana") == date(2026, 3, 7)


def test_midnight_that_comes_twice_begins_the_day_the_first_time() -> None:
    # Havana, 1 November 2026: 01:00 CDT is followed by 00:00 CST of the same day.
    assert local_midnight(date(2026, 11, 1), "America/Havana") == datetime(2026, 11, 1, 4, tzinfo=UTC)


def test_a_day_that_a_zone_skipped_begins_and_ends_at_the_jump() -> None:
    jump = datetime(2011, 12, 30, 10, tzinfo=UTC)
    assert local_midnight(date(2011, 12, 30), "Pacific/Apia") == jump
    assert local_midnight(date(2011, 12, 31), "Pacific/Apia") == jump
    assert local_midnight(date(2011, 12, 29), "Pacific/Apia") == jump - timedelta(days=1)


@given(st.sampled_from(ZONES), st.dates(date(1990, 1, 1), date(2037, 12, 31)))
def test_a_day_begins_at_the_first_instant_that_shows_it_or_a_later_one(zone_name: str, day: date) -> None:
    start = local_midnight(day, zone_name)
    assert local_date(start, zone_name) >= day
    assert local_date(start - timedelta(seconds=1), zone_name) < day


@given(st.sampled_from(ZONES), st.datetimes(datetime(1990, 1, 2), datetime(2037, 12, 30)))  # noqa: DTZ001 -- UTC below
def test_every_instant_lies_within_its_local_day(zone_name: str, naive: datetime) -> None:
    instant = naive.replace(tzinfo=UTC)
    day = local_date(instant, zone_name)
    assert local_midnight(day, zone_name) <= instant < local_midnight(day + timedelta(days=1), zone_name)


def test_a_zone_that_is_none_is_refused() -> None:
    for name in ("Europe/Atlantis", "", "../etc/passwd", "/etc/passwd"):
        with pytest.raises(BadInput) as caught:
            zone(name)
        assert caught.value.code == "bad_zone"


def test_the_ends_of_what_is_kept_leave_room_for_zones() -> None:
    for instant in (EARLIEST, LATEST):
        for name in ZONES:
            local_date(instant, name)
