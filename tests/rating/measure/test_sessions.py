"""What a session comes to: rounding, policies, deadlines, closing times."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.catalog import Meter
from meter.model.event import UsageEvent
from meter.model.instant import local_date, parse_instant
from meter.rating.measure import Contribution, Memory, Session, open_sessions
from meter.rating.measure.reading import RunKey
from meter.rating.measure.sessions import billed_s, next_closing, opened
from tests.rating.measure.scenes import BERLIN, HOUR, door, hours, measured, presence, t


def the_open(meter: Meter, *events: UsageEvent) -> Session:
    memory = Memory()
    measured(meter, *events, memory=memory)
    (session,) = open_sessions(memory)
    return session


def billed(length: timedelta | int, **terms: Any) -> int:
    length = length if isinstance(length, timedelta) else timedelta(seconds=length)
    start = door("11-02", "in")
    return billed_s(length, opened(presence(**terms), start, RunKey("presence", "ada", "berlin", ""), BERLIN).terms)


@pytest.mark.parametrize(("seconds", "expected"), [(0, 0), (1, 30), (30, 30), (31, 36), (32, 36), (57, 60), (75, 78)])
def test_30s_6s_is_30_first_and_then_steps_of_6(seconds: int, expected: int) -> None:
    assert billed(seconds, increment=(30, 6)) == expected


def test_minimum_20_s_and_increment_15_s_make_30_of_21() -> None:
    assert billed(21, minimum_s=20, increment=(15, 15)) == 30
    assert billed(1, minimum_s=20, increment=(15, 15)) == 30
    assert billed(0, minimum_s=20, increment=(15, 15)) == 30
    assert billed(1, minimum_s=20) == 20


def test_begun_seconds_count() -> None:
    assert billed(timedelta(seconds=1, microseconds=1)) == 2
    assert billed(timedelta(microseconds=1)) == 1
    assert billed(timedelta(seconds=2)) == 2


@given(st.integers(0, 10**6), st.integers(0, 4000), st.integers(1, 2000), st.integers(1, 2000))
def test_rounding_is_up_to_the_next_step_and_no_further(length: int, minimum: int, first: int, step: int) -> None:
    found = billed(length, minimum_s=minimum, increment=(first, step))
    least = max(length, minimum)
    assert found >= least
    assert found in {0, first} or (found > first and (found - first) % step == 0)
    assert found == first or found - least < step


def test_without_an_end_each_policy_says_when_it_is_known_and_what_it_counts() -> None:
    """In 14:00 in Berlin, which closes at 22:00; a reading at 15:30; max 14 h, idle 1 h."""
    start, seen = door("11-02 13:00", "in"), door("11-02 14:30", "seen")
    for policy, readings, deadline, counted in [
        ("cap", [], t("11-03 03:00"), 14 * HOUR),
        ("cap", [seen], t("11-03 03:00"), 14 * HOUR),
        ("close_at", [seen], t("11-02 21:00"), 8 * HOUR),
        ("last_seen", [seen], t("11-02 15:30"), HOUR * 3 // 2),
        ("last_seen", [], None, None),
        ("none", [seen], None, None),
    ]:
        meter = presence(policy)  # type: ignore[arg-type]
        session = the_open(meter, start, *readings)
        assert session.deadline() == deadline
        assert session.outcome(meter, None) is None
        if deadline is None or counted is None:
            assert session.outcome(meter, t("12-31")) is None
            continue
        assert session.outcome(meter, deadline - timedelta(microseconds=1)) is None
        found = session.outcome(meter, deadline)
        assert found is not None
        assert found == session.outcome(meter, t("12-31"))
        assert found.quantity == counted
        assert (found.event, found.events, found.estimated) == (start, (start.key,), True)
        assert found.ended == start.time + timedelta(seconds=counted)


def test_the_last_reading_within_max_is_the_last_seen() -> None:
    meter = presence("last_seen", max_s=2 * HOUR, idle_s=600)
    start, first, last = door("11-02 13:00", "in"), door("11-02 13:10", "seen"), door("11-02 15:00", "seen")
    session = the_open(meter, start, first, last)
    assert session.deadline() == t("11-02 15:10")
    found = session.outcome(meter, t("11-02 15:10"))
    assert found is not None
    assert found.quantity == 2 * HOUR
    assert measured(meter, start, first, last, door("11-02 15:00:01", "seen")) == [found]


def test_a_reading_after_idle_moves_the_end_on() -> None:
    meter = presence("last_seen")
    story = [door("11-02 13:00", "in"), door("11-02 13:10", "seen"), door("11-02 18:00", "seen")]
    assert the_open(meter, *story[:2]).deadline() == t("11-02 14:10")
    assert the_open(meter, *story).deadline() == t("11-02 19:00")


def test_estimates_are_rounded_like_any_session() -> None:
    meter = presence("last_seen", increment=(900, 900), minimum_s=1200)
    found = the_open(meter, door("11-02 13:00", "in"), door("11-02 13:10", "seen")).outcome(meter, t("11-03"))
    assert found is not None
    assert found.quantity == 1800


def test_max_counts_where_it_comes_before_closing_time() -> None:
    meter = presence("close_at", max_s=2 * HOUR)
    assert the_open(meter, door("11-02 13:00", "in")).deadline() == t("11-02 15:00")


def test_a_site_that_never_closes_caps() -> None:
    memory, always = Memory(), replace(BERLIN, closes=None)
    measured(presence("close_at"), door("11-02 13:00", "in"), memory=memory, site=always)
    (session,) = open_sessions(memory)
    assert session.deadline() == t("11-03 03:00")


def test_a_session_that_begins_after_closing_time_lasts_until_the_next() -> None:
    meter = presence("close_at", max_s=24 * HOUR)
    found = the_open(meter, door("11-02 22:00", "in")).outcome(meter, t("11-04"))
    assert found is not None
    assert hours([found]) == [(23, True)]


def test_another_site_closes_in_its_own_zone() -> None:
    meter = presence("close_at")
    session = the_open(meter, door("11-02 09:00", "in", site="tokyo"))
    assert session.deadline() == t("11-02 13:00")
    again = measured(meter, door("11-02 09:00", "in", site="tokyo"), door("11-02 15:00", "in", site="tokyo"))
    assert hours(again) == [(4, True)]


def test_the_terms_of_the_start_say_how_long_a_session_waits() -> None:
    memory = Memory()
    measured(presence("cap", max_s=2 * HOUR), door("11-02 09:00", "in"), memory=memory)
    found = measured(presence("none", max_s=14 * HOUR), door("11-02 12:00", "out"), memory=memory)
    assert isinstance(found[0], Contribution)
    assert hours(found) == [(2, True)]


@pytest.mark.parametrize("later", ["in", "seen"])
def test_the_site_of_the_start_says_when_it_closes(later: str) -> None:
    memory, meter = Memory(), presence("close_at")
    assert measured(meter, door("11-02 13:00", "in"), memory=memory) == []
    moved = replace(BERLIN, closes="18:00", timezone="Asia/Tokyo")
    found = measured(meter, door("11-03 09:00", later), memory=memory, site=moved)
    assert hours(found) == [(8, True)]


def test_the_meter_of_the_start_says_when_idle_has_passed() -> None:
    memory = Memory()
    measured(presence("last_seen"), door("11-02 13:00", "in"), memory=memory)
    measured(presence("last_seen", idle_s=60), door("11-02 13:10", "seen"), memory=memory)
    (session,) = open_sessions(memory)
    assert session.deadline() == t("11-02 14:10")


@pytest.mark.parametrize(
    ("zone", "closes", "after", "expected"),
    [
        ("Europe/Berlin", "22:00", "2026-11-02T20:59:59Z", "2026-11-02T21:00:00Z"),
        ("Europe/Berlin", "22:00", "2026-11-02T21:00:00Z", "2026-11-03T21:00:00Z"),  # strictly after
        ("Europe/Berlin", "02:00", "2026-11-02T22:00:00Z", "2026-11-03T01:00:00Z"),  # after midnight
        ("Europe/Berlin", "00:00", "2026-11-02T22:30:00Z", "2026-11-02T23:00:00Z"),
        ("Europe/Berlin", "24:00", "2026-11-02T22:30:00Z", "2026-11-02T23:00:00Z"),
        ("Europe/Berlin", "24:00", "2026-11-02T23:00:00Z", "2026-11-03T23:00:00Z"),
        ("Europe/Berlin", "22:00", "2026-03-28T22:00:00Z", "2026-03-29T20:00:00Z"),  # summer time has come
        ("Europe/Berlin", "22:00", "2026-10-24T21:00:00Z", "2026-10-25T21:00:00Z"),  # and gone
        ("Europe/Berlin", "02:30", "2026-03-28T22:00:00Z", "2026-03-29T01:00:00Z"),  # 2:30 is skipped: at 3:00
        ("Europe/Berlin", "02:30", "2026-10-24T22:00:00Z", "2026-10-25T00:30:00Z"),  # 2:30 comes twice: the first
        ("Europe/Berlin", "02:30", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ("Asia/Tokyo", "22:00", "2026-11-02T13:00:00Z", "2026-11-03T13:00:00Z"),
        ("America/New_York", "22:00", "2026-11-02T02:00:00Z", "2026-11-02T03:00:00Z"),
        ("Pacific/Apia", "22:00", "2011-12-30T09:00:00Z", "2011-12-30T10:00:00Z"),  # the 30th does not exist there
    ],
)
def test_closing_times(zone: str, closes: str, after: str, expected: str) -> None:
    assert next_closing(parse_instant(after), closes=closes, zone_name=zone) == parse_instant(expected)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Havana", "Australia/Lord_Howe"]),
    st.sampled_from(["00:00", "00:30", "02:15", "22:00", "24:00"]),
)
def test_the_next_closing_time_comes_within_two_days_and_is_the_first(
    instant: datetime, zone: str, closes: str
) -> None:
    site = {"closes": closes, "zone_name": zone}
    found = next_closing(instant, **site)
    assert timedelta(0) < found - instant <= timedelta(hours=25)
    assert next_closing(found - timedelta(microseconds=1), **site) == found
    assert local_date(next_closing(found, **site), zone) - local_date(found, zone) == timedelta(days=1)
