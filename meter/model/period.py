"""Billing periods: half-open `[start, end)`, months of the account's zone that begin on its anchor day.

anchor_day 31:   31 Jan ────▶ 28 Feb ────▶ 31 Mar ────▶ 30 Apr     (the month's last day where it is shorter)
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Final

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


def _anchor(year: int, month: int, anchor_day: int) -> date:
    return date(year, month, min(anchor_day, monthrange(year, month)[1]))


def _next_month(year: int, month: int) -> tuple[int, int]:
    return (year + 1, 1) if month == 12 else (year, month + 1)


@lru_cache(maxsize=4096)
def _month_period(year: int, month: int, zone_name: str, anchor_day: int) -> Period:
    following = _next_month(year, month)
    return Period(
        start=local_midnight(_anchor(year, month, anchor_day), zone_name),
        end=local_midnight(_anchor(*following, anchor_day), zone_name),
    )


def period_at(instant: datetime, *, zone_name: str, anchor_day: int) -> Period:
    """Return the billing month that holds `instant`, counted in the account's zone from its anchor day (1 to 31)."""
    today = local_date(instant, zone_name)
    year, month = today.year, today.month
    if today < _anchor(year, month, anchor_day):
        year, month = (year - 1, 12) if month == 1 else (year, month - 1)
    return _month_period(year, month, zone_name, anchor_day)


def period_named(name: str, *, zone_name: str, anchor_day: int) -> Period:
    """Return the period named by the month in which it starts ("2026-11"). Raises BadInput (`bad_period`)."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] == "0000":
        message = f"{name[:40]!r} names no period; use the month in which it starts, like 2026-11"
        raise BadInput(message, code="bad_period")
    return _month_period(int(match[1]), int(match[2]), zone_name, anchor_day)


def period_name(period: Period, *, zone_name: str) -> str:
    """Return the month in which `period` starts in the account's zone, like "2026-11"."""
    return local_date(period.start, zone_name).strftime("%Y-%m")
