from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.errors import BadInput
from meter.model.instant import local_date
from meter.model.period import Period, period_at, period_name, period_named

BERLIN = "Europe/Berlin"


def when(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_month_of_the_accounts_zone() -> None:
    november = Period(when("2026-10-31T23:00"), when("2026-11-30T23:00"))
    for inside in ("2026-10-31T23:00", "2026-11-30T22:59:59.999999"):
        assert period_at(when(inside), zone_name=BERLIN, anchor_day=1) == november
    assert period_at(when("2026-11-30T23:00"), zone_name=BERLIN, anchor_day=1).start == november.end


@pytest.mark.parametrize(
    ("instant", "start", "end"),
    [
        ("2026-01-30T12:00", "2025-12-31", "2026-01-31"),
        ("2026-01-31T12:00", "2026-01-31", "2026-02-28"),
        ("2026-02-27T12:00", "2026-01-31", "2026-02-28"),
        ("2026-02-28T12:00", "2026-02-28", "2026-03-31"),
        ("2026-03-30T12:00", "2026-02-28", "2026-03-31"),
        ("2026-04-30T12:00", "2026-04-30", "2026-05-31"),
        ("2028-02-28T12:00", "2028-01-31", "2028-02-29"),
        ("2028-02-29T12:00", "2028-02-29", "2028-03-31"),
    ],
)
def test_anchor_31_is_the_last_day_of_shorter_months(instant: str, start: str, end: str) -> None:
    period = period_at(when(instant), zone_name="UTC", anchor_day=31)
    assert (period.start, period.end) == (when(start), when(end))


@pytest.mark.parametrize(("anchor", "day"), [(29, 28), (30, 28), (31, 28), (28, 28)])
def test_late_anchors_in_february(anchor: int, day: int) -> None:
    assert period_at(when("2026-03-01"), zone_name="UTC", anchor_day=anchor).start == when(f"2026-02-{day}")


def test_a_month_with_a_clock_change_is_an_hour_longer_or_shorter() -> None:
    lengths = [
        (p := period_named(name, zone_name=BERLIN, anchor_day=1)).end - p.start for name in ("2026-03", "2026-10")
    ]
    assert lengths == [timedelta(days=31, hours=-1), timedelta(days=31, hours=1)]


def test_a_period_is_named_by_the_month_in_which_it_starts() -> None:
    period = period_at(when("2026-03-10"), zone_name=BERLIN, anchor_day=31)
    assert period_name(period, zone_name=BERLIN) == "2026-02"
    assert period_named("2026-02", zone_name=BERLIN, anchor_day=31) == period


@pytest.mark.parametrize("name", ["2026-13", "2026-00", "2026", "26-11", "2026-11-01", "0000-01", "", "٢٠٢٦-11"])
def test_what_names_no_period_is_refused(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        period_named(name, zone_name=BERLIN, anchor_day=1)
    assert caught.value.code == "bad_period"


zones = st.sampled_from([BERLIN, "America/Havana", "Pacific/Apia", "Pacific/Kiritimati", "America/Los_Angeles"])
instants = st.datetimes(datetime(1990, 1, 1), datetime(2037, 12, 1)).map(lambda n: n.replace(tzinfo=UTC))  # noqa: DTZ001 -- zoned by the map


@given(instants, zones, st.integers(1, 31))
def test_periods_follow_each_other_without_gap_or_overlap(instant: datetime, zone_name: str, anchor: int) -> None:
    period = period_at(instant, zone_name=zone_name, anchor_day=anchor)
    assert instant in period
    assert period.end not in period
    following = period_at(period.end, zone_name=zone_name, anchor_day=anchor)
    assert following.start == period.end
    assert period_at(period.end - timedelta(microseconds=1), zone_name=zone_name, anchor_day=anchor) == period


@given(instants, zones, st.integers(1, 31))
def test_a_period_is_found_again_by_its_name(instant: datetime, zone_name: str, anchor: int) -> None:
    period = period_at(instant, zone_name=zone_name, anchor_day=anchor)
    assert period_named(period_name(period, zone_name=zone_name), zone_name=zone_name, anchor_day=anchor) == period
    assert local_date(period.start, zone_name).day <= anchor or local_date(period.start, zone_name).day == 1
