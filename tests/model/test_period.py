from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.errors import BadInput
from meter.model.instant import local_date, local_midnight
from meter.model.period import Period, Periods, Replaced, Terms

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"


def when(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def months(anchor_day: int = 1, zone_name: str = BERLIN, *replaced: tuple[int, str, str]) -> Periods:
    """Return the periods of an anchor day in a zone, after those of other anchor days and zones until some month."""
    before = tuple(Replaced(Terms("EUR", zone, anchor), until) for anchor, zone, until in replaced)
    return Periods(Terms("EUR", zone_name, anchor_day), before)


def test_a_month_of_the_accounts_zone() -> None:
    november = Period(when("2026-10-31T23:00"), when("2026-11-30T23:00"))
    for inside in ("2026-10-31T23:00", "2026-11-30T22:59:59.999999"):
        assert months().at(when(inside)) == november
    assert months().at(when("2026-11-30T23:00")).start == november.end


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
    period = months(31, "UTC").at(when(instant))
    assert (period.start, period.end) == (when(start), when(end))


@pytest.mark.parametrize(("anchor", "day"), [(29, 28), (30, 28), (31, 28), (28, 28)])
def test_late_anchors_in_february(anchor: int, day: int) -> None:
    assert months(anchor, "UTC").at(when("2026-03-01")).start == when(f"2026-02-{day}")


def test_a_month_with_a_clock_change_is_an_hour_longer_or_shorter() -> None:
    lengths = [(p := months().named(name)).end - p.start for name in ("2026-03", "2026-10")]
    assert lengths == [timedelta(days=31, hours=-1), timedelta(days=31, hours=1)]


def test_a_period_is_named_by_the_month_in_which_it_starts() -> None:
    period = months(31).at(when("2026-03-10"))
    assert months(31).name(period) == "2026-02"
    assert months(31).named("2026-02") == period


@pytest.mark.parametrize("name", ["2026-13", "2026-00", "2026", "26-11", "2026-11-01", "0000-01", "", "٢٠٢٦-11"])
def test_what_names_no_period_is_refused(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        months().named(name)
    assert caught.value.code == "bad_period"


# --- changed terms: each period ends by its own terms and begins where the one before ended ---------------------------


@pytest.mark.parametrize(
    ("before", "after", "first_end", "days", "of"),
    [
        # A later anchor makes the first period longer, an earlier one shorter: always to the next month's anchor.
        (1, 15, date(2027, 1, 15), 45, 31),
        (15, 1, date(2027, 1, 1), 17, 31),
        (31, 1, date(2027, 1, 1), 1, 31),
        (1, 31, date(2027, 1, 31), 61, 31),
    ],
)
def test_changed_anchor(before: int, after: int, first_end: date, days: int, of: int) -> None:
    periods = months(after, BERLIN, (before, BERLIN, "2026-12"))
    first = periods.named("2026-12")
    assert first.start == months(before).named("2026-12").start
    assert local_date(first.end, BERLIN) == first_end
    assert periods.named("2026-11") == months(before).named("2026-11")
    assert periods.named("2027-01") == months(after).named("2027-01")
    counted = periods.days(first)
    assert (counted.between(first.start, first.end), counted.month) == (days, of)


@pytest.mark.parametrize(("before", "after"), [(BERLIN, NEW_YORK), (NEW_YORK, BERLIN)])
def test_changed_zone_counts_each_day_once(before: str, after: str) -> None:
    periods = months(1, after, (1, before, "2026-12"))
    november, december, january = (periods.named(name) for name in ("2026-11", "2026-12", "2027-01"))
    assert november == months(1, before).named("2026-11")
    assert december == Period(november.end, months(1, after).named("2027-01").start)
    assert january == months(1, after).named("2027-01")
    for period, days in ((november, 30), (december, 31), (january, 31)):
        counted = periods.days(period)
        assert (counted.between(period.start, period.end), counted.month) == (days, days)


@pytest.mark.parametrize(("before", "after"), [(BERLIN, NEW_YORK), (NEW_YORK, BERLIN), (BERLIN, "Asia/Kathmandu")])
def test_the_first_day_of_other_terms_begins_with_their_period(before: str, after: str) -> None:
    periods = months(1, after, (1, before, "2026-12"))
    assert periods.midnight(date(2026, 11, 30)) == local_midnight(date(2026, 11, 30), before)
    assert periods.midnight(date(2026, 12, 1)) == periods.named("2026-12").start
    assert periods.midnight(date(2026, 12, 2)) == local_midnight(date(2026, 12, 2), after)


@pytest.mark.parametrize(
    ("periods", "name", "days"),
    [
        (months(), "2026-11", "2026-11-01 to 2026-11-30"),  # 31 Oct 23:00 to 30 Nov 23:00 in UTC
        (months(), "2026-03", "2026-03-01 to 2026-03-31"),  # begins in winter time, ends in summer time
        (months(31), "2026-02", "2026-02-28 to 2026-03-30"),
        (months(15, NEW_YORK), "2026-10", "2026-10-15 to 2026-11-14"),
        (months(15, BERLIN, (1, BERLIN, "2026-12")), "2026-12", "2026-12-01 to 2027-01-14"),
        # The zone before says which day it is where the terms change: there New York's clocks show 30 November.
        (months(1, NEW_YORK, (1, BERLIN, "2026-12")), "2026-12", "2026-12-01 to 2026-12-31"),
        (months(1, "Pacific/Honolulu", (1, "Pacific/Kiritimati", "2026-12")), "2026-12", "2026-12-01 to 2026-12-31"),
        (months(1, "Pacific/Kiritimati", (1, "Pacific/Honolulu", "2026-12")), "2026-12", "2026-12-01 to 2026-12-31"),
    ],
)
def test_a_period_is_told_in_days_both_included(periods: Periods, name: str, days: str) -> None:
    assert str(periods.dates(periods.named(name))) == days


def test_one_day_is_told_as_itself() -> None:
    day = Period(when("2026-11-01T23:00"), when("2026-11-02T23:00"))
    assert str(months().dates(day)) == "2026-11-02"
    hour = Period(when("2026-11-01T23:00"), when("2026-11-02T00:00"))
    assert str(months().dates(hour)) == "2026-11-02"


def test_an_instant_is_on_no_day_before_its_period() -> None:
    periods = months(1, NEW_YORK, (1, BERLIN, "2026-12"))
    assert periods.date(when("2026-11-30T22:59:59.999999")) == date(2026, 11, 30)
    assert periods.date(when("2026-11-30T23:00")) == date(2026, 12, 1)
    assert periods.date(when("2026-12-02T04:59")) == date(2026, 12, 1)


def test_the_currency_changes_with_the_period() -> None:
    periods = Periods(Terms("EUR", "Europe/Sofia"), (Replaced(Terms("BGN", "Europe/Sofia"), "2026-01"),))
    start = when("2025-12-31T22:00")
    assert periods.terms_at(start - timedelta(microseconds=1)).currency == "BGN"
    assert periods.terms_at(start).currency == "EUR"
    assert periods.at(start) == months(1, "Europe/Sofia").named("2026-01")


zones = st.sampled_from([BERLIN, "America/Havana", "Pacific/Apia", "Pacific/Kiritimati", "America/Los_Angeles"])
instants = st.datetimes(datetime(1990, 1, 1), datetime(2037, 12, 1)).map(lambda n: n.replace(tzinfo=UTC))  # noqa: DTZ001 -- zoned by the map
anchors = st.integers(1, 28)


@st.composite
def changing(draw: st.DrawFn) -> Periods:
    """Periods whose terms change up to three times, at most once in two months, so that all have some length."""
    ends = sorted(draw(st.lists(st.integers(1991 * 6, 2036 * 6), max_size=3, unique=True)))
    until = [f"{number // 6:04}-{number % 6 * 2 + 1:02}" for number in ends]
    replaced = [(draw(anchors), draw(zones), name) for name in until]
    return months(draw(st.integers(1, 31)) if not replaced else draw(anchors), draw(zones), *replaced)


@given(changing(), instants)
def test_periods_follow_each_other_without_gap_or_overlap(periods: Periods, instant: datetime) -> None:
    period = periods.at(instant)
    assert instant in period
    assert period.end not in period
    following = periods.at(period.end)
    assert following.start == period.end
    assert periods.at(period.end - timedelta(microseconds=1)) == period


@given(changing(), instants)
def test_the_days_of_periods_are_told_once_each(periods: Periods, instant: datetime) -> None:
    told_once_each(periods, instant)
    told_once_each(periods, max(periods.newest_since, when("1990-01-01")))


def told_once_each(periods: Periods, instant: datetime) -> None:
    period = periods.at(instant)
    days, following = periods.dates(period), periods.dates(periods.at(period.end))
    zone_name = periods.terms_at(instant).timezone
    # Nothing lies between two periods but a day that the zone's calendars leave out.
    for day in (days.last + timedelta(days=1), following.first):
        assert local_midnight(day, zone_name) == period.end
    assert periods.date(instant) == max(local_date(instant, zone_name), days.first)
    seen = [days.first + timedelta(days=n) for n in range((days.last - days.first).days + 1)]
    begun = [periods.midnight(day) for day in [*seen, following.first]]
    assert begun[0] == period.start
    for day, start, end in zip(seen, begun[:-1], begun[1:], strict=True):
        # A day that another zone leaves out of its first period, or a calendar of its days, has no time at all.
        assert start == end or periods.date(start) == day == periods.date(end - timedelta(microseconds=1))


@given(changing(), instants)
def test_each_month_names_one_period(periods: Periods, instant: datetime) -> None:
    period = periods.at(instant)
    name = periods.name(period)
    assert periods.named(name) == period
    year, month = int(name[:4]), int(name[5:])
    assert periods.name(periods.at(period.end)) == f"{year + month // 12:04}-{month % 12 + 1:02}"


@given(changing(), instants)
def test_days_are_counted_once_each(periods: Periods, instant: datetime) -> None:
    period = periods.at(instant)
    following = periods.at(period.end)
    counted, after = periods.days(period), periods.days(following)
    days = counted.between(period.start, period.end)
    assert counted.first + timedelta(days=days) == after.first
    assert counted.between(period.start, instant) + counted.between(instant, period.end) == days


@given(changing(), instants)
def test_days_begin_in_their_order(periods: Periods, instant: datetime) -> None:
    period = periods.at(instant)
    first = periods.days(period).first
    begins = [periods.midnight(first + timedelta(days=n)) for n in range(-2, 4)]
    assert begins == sorted(begins)
    assert periods.midnight(first) == period.start


@given(instants, zones, st.integers(1, 31))
def test_a_period_begins_on_its_anchor_day(instant: datetime, zone_name: str, anchor: int) -> None:
    start = local_date(months(anchor, zone_name).at(instant).start, zone_name)
    assert start.day <= anchor or start.day == 1
