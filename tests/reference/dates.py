"""Days, billing periods and closing times of the second rater."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, cached_property
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from tests.reference.values import Doc

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
class Terms:
    """What an account's periods hang on, and the currency in which it pays."""

    zone: str
    anchor: int = 1
    currency: str = "EUR"

    def anchored(self, month: str) -> date:
        """The anchor day of the month, its last day where it is shorter."""
        first = date.fromisoformat(f"{month}-01")
        last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        return first.replace(day=min(self.anchor, last.day))


@dataclass(frozen=True)
class Period:
    """A billing period with the terms by which it ends.

    `day` is the date on which it begins by the terms of the period before. `days` are those of the month that, by its
    own terms, ends with it: what a month's fee is for.
    """

    name: str
    start: datetime
    end: datetime
    terms: Terms
    day: date
    days: int

    def between(self, start: datetime, end: datetime) -> int:
        """The days of a part: that of its start counts, that of its end does not, and none comes before the first."""
        first, last = (max(self.day, day_of(instant, self.terms.zone)) for instant in (start, end))
        return (last - first).days


MONTHS = [f"{year}-{month:02}" for year in range(2023, 2030) for month in range(1, 13)]
"""The years in which the scenarios lie."""


@dataclass(frozen=True)
class Calendar:
    """The periods of an account whose terms change: `eras` are months, "" first, with the terms that begin there."""

    eras: tuple[tuple[str, Terms], ...]

    @classmethod
    def of(cls, zone: str) -> Calendar:
        """Of terms that never change."""
        return cls((("", Terms(zone)),))

    @classmethod
    def of_terms(cls, bodies: list[Doc], catalog: Doc) -> Calendar:
        """Of terms as they are put, each but the first with the month `from` which they hold."""
        return cls(
            tuple(
                (
                    body.get("from", ""),
                    Terms(
                        body.get("timezone") or catalog["timezone"],
                        body.get("anchor_day", 1),
                        body.get("currency") or catalog["currency"],
                    ),
                )
                for body in bodies
            )
        )

    def terms(self, month: str) -> Terms:
        return max(era for era in self.eras if era[0] <= month)[1]

    @cached_property
    def periods(self) -> list[Period]:
        return _periods(self)

    def midnight(self, day: date) -> datetime:
        """When the day begins. The day on which other terms begin is that of the terms before."""
        zone = self.eras[0][1].zone
        for period in self.periods:
            if period.name in dict(self.eras[1:]) and period.day <= day:
                if period.day == day:
                    return period.start
                zone = period.terms.zone
        return midnight(day, zone)


@cache
def _periods(calendar: Calendar) -> list[Period]:
    """Each ends at the anchor of the next month by its own terms, and begins where the one before ended."""
    found: list[Period] = []
    for month, following in pairwise(MONTHS):
        terms = calendar.terms(month)
        first, last = terms.anchored(month), terms.anchored(following)
        start = found[-1].end if found else midnight(first, terms.zone)
        day = day_of(start, (found[-1].terms if found else terms).zone)
        found.append(Period(month, start, midnight(last, terms.zone), terms, day, (last - first).days))
    return found


def instant_of(when: Any, calendar: Calendar, default: datetime) -> datetime:
    """A date means midnight by the calendar."""
    if when is None:
        return default
    if isinstance(when, datetime):
        return when.astimezone(UTC)
    if isinstance(when, date):
        return calendar.midnight(when)
    if "T" in when:
        return datetime.fromisoformat(when).astimezone(UTC)
    return calendar.midnight(date.fromisoformat(when))


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
