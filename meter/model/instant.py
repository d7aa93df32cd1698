"""Instants: RFC 3339 in, UTC with `Z` out, local dates by IANA zone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from meter.model.errors import BadInput

# RFC 3339 section 5.6, with the offset required: a local time without one names no instant.
_RFC3339: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ]"
    r"((?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60))(\.\d{1,9})?"
    r"([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Room for zone arithmetic and for adding periods at both ends of what datetime can hold.
EARLIEST: Final = datetime(1, 1, 3, tzinfo=UTC)
LATEST: Final = datetime(9998, 12, 31, tzinfo=UTC)


def parse_instant(text: str, *, what: str = "time") -> datetime:
    """Return the instant that `text` (RFC 3339 with an offset) names, in UTC, cut to the microsecond.

    Raises BadInput (`bad_time`): not RFC 3339, no such day, out of range. A leap second is read as the next second.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        message = f"{what} is {text[:40]!r}; send RFC 3339 with an offset, like 2026-03-02T08:01:27.120Z"
        raise BadInput(message, code="bad_time")
    day, clock, fraction, offset = match.groups()
    leap = clock.endswith(":60")
    if leap:
        clock = clock[:-2] + "59"
    zone = "+00:00" if offset in "Zz" else offset
    try:
        instant = datetime.fromisoformat(f"{day}T{clock}{(fraction or '')[:7]}{zone}")
        instant = (instant + timedelta(seconds=1 if leap else 0)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        message = f"{what} is {text[:40]!r}: {error}; send a date and time that exist"
        raise BadInput(message, code="bad_time") from error
    if not EARLIEST <= instant <= LATEST:
        message = f"{what} is {text[:40]!r}; years 1 to 9998 are kept"
        raise BadInput(message, code="bad_time")
    return instant


def instant_text(instant: datetime) -> str:
    """Return `instant` as RFC 3339 in UTC with `Z`, with microseconds only where there are some."""
    text = instant.astimezone(UTC).replace(tzinfo=None).isoformat()
    return text + "Z"


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Return the IANA zone `name`. Raises BadInput (`bad_zone`)."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"{name!r} is no IANA time zone; use a name like Europe/Berlin"
        raise BadInput(message, code="bad_zone") from error


def local_instant(moment: datetime, zone_name: str) -> datetime:
    """Return the instant, in UTC, at which the zone's clocks show `moment` (without an offset) for the first time.

    Where they jump over it: the first instant at which they show a later one.
    """
    tz = zone(zone_name)
    start = moment.replace(tzinfo=tz).astimezone(UTC)
    if start.astimezone(tz).replace(tzinfo=None) == moment:
        return start
    # The clock jumps over it (over midnight in America/Havana, a whole day in Pacific/Apia): sought is the jump, which
    # lies between the moment by the offset after it and the moment by the offset before it.
    before, after = moment.replace(tzinfo=tz, fold=1).astimezone(UTC), start
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // 2
        if middle.astimezone(tz).replace(tzinfo=None) < moment:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


def local_midnight(day: date, zone_name: str) -> datetime:
    """Return the instant, in UTC, at which `day` begins in the zone (the first moment that exists, in a DST gap)."""
    return local_instant(datetime.combine(day, time.min), zone_name)


def local_date(instant: datetime, zone_name: str) -> date:
    """Return the date that the zone's calendars show at `instant`."""
    return instant.astimezone(zone(zone_name)).date()
