"""Days, months and closing times of the second rater."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

ALWAYS = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)
Span = tuple[datetime, datetime]


def day_of(instant: datetime, zone: str) -> date:
    """The local date."""
    return instant.astimezone(ZoneInfo(zone)).date()


@cache
def midnight(day: date, zone: str) -> datetime:
    """The first minute that has the local date."""
    instant = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while day_of(instant, zone) < day:
        instant += timedelta(minutes=1)
    return instant


@dataclass(frozen=True)
class Period:
    name: str
    start: datetime
    end: datetime


@cache
def periods(zone: str, anchor: int) -> list[Period]:
    """The billing periods of the years in which the scenarios lie."""
    starts = []
    for year in range(2023, 2030):
        for month in range(1, 13):
            first_of_next = date(year + month // 12, month % 12 + 1, 1)
            last = (first_of_next - timedelta(days=1)).day
            starts.append((f"{year}-{month:02}", midnight(date(year, month, min(anchor, last)), zone)))
    return [Period(name, start, starts[n + 1][1]) for n, (name, start) in enumerate(starts[:-1])]


def instant_of(when: Any, zone: str, default: datetime) -> datetime:
    """A date means midnight in the zone."""
    if when is None:
        return default
    if isinstance(when, datetime):
        return when.astimezone(UTC)
    if isinstance(when, date):
        return midnight(when, zone)
    if "T" in when:
        return datetime.fromisoformat(when).astimezone(UTC)
    return midnight(date.fromisoformat(when), zone)


def days_between(start: datetime, end: datetime, zone: str) -> int:
    """The day of the start counts, that of the end does not."""
    return (day_of(end, zone) - day_of(start, zone)).days


def next_closing(after: datetime, closes: str, zone: str) -> datetime:
    """The next time at which the site closes, strictly later."""
    hour, minute = map(int, closes.split(":"))
    day = day_of(after, zone) - timedelta(days=1)
    while True:
        if (hour, minute) == (24, 0):
            instant = midnight(day + timedelta(days=1), zone)
        else:
            instant = datetime.combine(day, time(hour, minute), tzinfo=ZoneInfo(zone)).astimezone(UTC)
        if instant > after:
            return instant
        day += timedelta(days=1)


def seconds_of(length: Any) -> int:
    """The seconds of a length like 1h30m."""
    if isinstance(length, int):
        return length
    total, digits = 0, ""
    for letter in str(length):
        if letter.isdigit():
            digits += letter
        else:
            total += int(digits) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[letter]
            digits = ""
    return total


def join(spans: list[Span]) -> list[Span]:
    """The same instants as spans that neither touch nor overlap, in order."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if found and found[-1][1] >= start:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def without(spans: list[Span], holes: list[Span]) -> list[Span]:
    """The instants of `spans` that lie in no hole."""
    for hole in holes:
        spans = [
            part
            for start, end in spans
            for part in ((start, min(end, hole[0])), (max(start, hole[1]), end))
            if part[0] < part[1]
        ]
    return join(spans)
