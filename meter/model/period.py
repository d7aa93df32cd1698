"""Billing periods: half-open `[start, end)`, months of the account's zone that begin on its anchor day.

anchor_day 31:   31 Jan ────▶ 28 Feb ────▶ 31 Mar ────▶ 30 Apr     (the month's last day where it is shorter)

An account's terms can change with a period (decision 0010). Each period ends by its own terms and begins where the one
before ended, so that every month names one period and no instant is left between two:

anchor_day 1 until 2026-12, then 15:   1 Nov ──2026-11──▶ 1 Dec ──2026-12──────────▶ 15 Jan ──2027-01──▶ 15 Feb
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import zip_longest
from typing import Final, NamedTuple

from meter.model.errors import BadInput
from meter.model.instant import local_date, local_midnight

_NAME: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open span of time `[start, end)` in UTC."""

    start: datetime
    end: datetime

    def __contains__(self, instant: datetime) -> bool:
        """Tell whether `instant` lies in the period."""
        return self.start <= instant < self.end


class DaySpan(NamedTuple):
    """Days of a calendar, both included: how people name a span of time."""

    first: date
    last: date

    def __str__(self) -> str:
        """Return `2026-11-01 to 2026-11-30`, and one day as itself."""
        return self.first.isoformat() if self.first == self.last else f"{self.first} to {self.last}"


class Terms(NamedTuple):
    """What an account pays in (ISO 4217), and what its periods hang on: zone (IANA) and anchor day (1 to 31)."""

    currency: str
    timezone: str
    anchor_day: int = 1


class Replaced(NamedTuple):
    """Terms that held until the period of the month `until` ("2026-12"), which is the first of the next ones."""

    terms: Terms
    until: str


class PeriodDays(NamedTuple):
    """How days are counted in a period: from `first` on, in `timezone`; a month's fee is for `month` of them.

    These are all of its days, but in the first period of changed terms: there they are those of the month that, by
    these terms, ends with it.
    """

    first: date
    timezone: str
    month: int

    def between(self, start: datetime, end: datetime) -> int:
        """Return the days in [start, end): the one on which it begins counts, the one on which it ends does not."""
        return (self._day(end) - self._day(start)).days

    def _day(self, instant: datetime) -> date:
        # In another zone than before, a period may begin on what is still the day before: that one was counted there.
        return max(local_date(instant, self.timezone), self.first)


class _Era(NamedTuple):
    """Terms from the period `number` on, which begins at `start`: on the day `first`, by the terms before."""

    terms: Terms
    number: int
    start: datetime
    first: date


class Periods:
    """The billing periods of an account: an endless row, each named by its month."""

    __slots__ = ("_eras",)

    def __init__(self, terms: Terms, replaced: tuple[Replaced, ...] = ()) -> None:
        """Take the newest terms, and those before them, oldest first. Raises BadInput (`bad_period`)."""
        every = [*(one.terms for one in replaced), terms]
        eras = [_Era(every[0], 0, datetime.min.replace(tzinfo=UTC), date.min)]
        for one, after in zip(replaced, every[1:], strict=True):
            number = _number(one.until)
            start = _anchor(number, one.terms)
            eras.append(_Era(after, number, start, local_date(start, one.terms.timezone)))
        self._eras: Final = tuple(eras)

    @property
    def newest_since(self) -> datetime:
        """Return when the newest terms begin."""
        return self._eras[-1].start

    def differ_from(self, other: Periods) -> datetime | None:
        """Return the first instant at which the periods or their terms are not the other's; None: they are the same."""
        for mine, its in zip_longest(self._eras, other._eras):
            if mine != its:
                return min(era.start for era in (mine, its) if era is not None)
        return None

    def terms_at(self, instant: datetime) -> Terms:
        """Return the terms of the period that holds `instant`."""
        return self._era_at(instant).terms

    def at(self, instant: datetime) -> Period:
        """Return the period that holds `instant`."""
        era = self._era_at(instant)
        return _numbered(max(_number_at(instant, era.terms), era.number), era)

    def named(self, name: str) -> Period:
        """Return the period of a month ("2026-11"). Raises BadInput (`bad_period`)."""
        number = _number(name)
        return _numbered(number, next(era for era in reversed(self._eras) if era.number <= number))

    def name(self, period: Period) -> str:
        """Return the period's month, like "2026-11": the one in which it starts."""
        era = self._era_at(period.start)
        if period.start == era.start:
            return f"{era.number // 12:04}-{era.number % 12 + 1:02}"
        return local_date(period.start, era.terms.timezone).strftime("%Y-%m")

    def midnight(self, day: date) -> datetime:
        """Return when a day begins: in the zone of its time, and where other terms begin, with their first period."""
        era = next(era for era in reversed(self._eras) if era.first <= day)
        return era.start if day == era.first else max(local_midnight(day, era.terms.timezone), era.start)

    def date(self, instant: datetime) -> date:
        """Return the account's date at an instant: by the zone of its time, and never before its period's first day."""
        era, start = self._era_at(instant), self.at(instant).start
        # Where other terms begin, the zone before says which day it is (decision 0010).
        first = era.first if start == era.start else local_date(start, era.terms.timezone)
        return max(local_date(instant, era.terms.timezone), first)

    def dates(self, span: Period) -> DaySpan:
        """Return the account's days from the one on which a span begins to the one of its last moment.

        Those of a period begin on the day after the one on which the period before ended.
        """
        era = self._era_at(span.start)
        first = era.first if span.start == era.start else self.date(span.start)
        return DaySpan(first, max(first, self.date(span.end - datetime.resolution)))

    def days(self, period: Period) -> PeriodDays:
        """Return how days are counted in a period."""
        era = self._era_at(period.start)
        month = _month(era.number, era.terms) if period.start == era.start else period
        first, end = (local_date(instant, era.terms.timezone) for instant in (month.start, month.end))
        return PeriodDays(first if month is period else era.first, era.terms.timezone, (end - first).days)

    def _era_at(self, instant: datetime) -> _Era:
        return next(era for era in reversed(self._eras) if era.start <= instant)


@lru_cache(maxsize=1024)
def periods_of(terms: Terms, replaced: tuple[Replaced, ...] = ()) -> Periods:
    """Return the periods of terms; of most accounts they are the same."""
    return Periods(terms, replaced)


def _number(name: str) -> int:
    """Return how many months have gone before the one of this name. Raises BadInput (`bad_period`)."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] == "0000":
        message = f"{name[:40]!r} names no period; use the month in which it starts, like 2026-11"
        raise BadInput(message, code="bad_period")
    return int(match[1]) * 12 + int(match[2]) - 1


def _number_at(instant: datetime, terms: Terms) -> int:
    today = local_date(instant, terms.timezone)
    number = today.year * 12 + today.month - 1
    return number if today >= _anchor_date(number, terms.anchor_day) else number - 1


def _anchor_date(number: int, anchor_day: int) -> date:
    year, month = number // 12, number % 12 + 1
    return date(year, month, min(anchor_day, monthrange(year, month)[1]))


def _anchor(number: int, terms: Terms) -> datetime:
    return local_midnight(_anchor_date(number, terms.anchor_day), terms.timezone)


@lru_cache(maxsize=4096)
def _month(number: int, terms: Terms) -> Period:
    return Period(start=_anchor(number, terms), end=_anchor(number + 1, terms))


def _numbered(number: int, era: _Era) -> Period:
    month = _month(number, era.terms)
    return Period(start=era.start, end=month.end) if number == era.number else month
