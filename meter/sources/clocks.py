"""Vendors' clocks: epochs, local times, zone abbreviations, and times that cannot be meant."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from meter.model.instant import EARLIEST, EPOCH, LATEST, local_instant, parse_instant, zone
from meter.sources.fields import bad_payload
from meter.sources.make import TimeFlag

# A clock that was never set stands near its epoch, 1970 or 2000; nothing that is billed happened before this.
_SET_SINCE: Final = datetime(2015, 1, 1, tzinfo=UTC)
# RFC 2866's Event-Timestamp and FreeRADIUS' dates; a digit's place may be a blank ("Mar  2").
_ABBREVIATED: Final = re.compile(
    r"([A-Z][a-z]{2}) +(\d{1,2}) (\d{4}) (\d\d:\d\d:\d\d)(?: ([A-Za-z0-9+-]{1,6}))?", re.ASCII
)
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Timed(NamedTuple):
    """An event's time, None where the receipt time shall stand in, and why it is doubtful, None where it is not."""

    time: datetime | None
    flag: TimeFlag | None = None


def from_epoch(seconds: int | Decimal, *, what: str) -> Timed:
    """Return the time of a count of seconds since 1970 (UTC); a clock that was never set gives none, flagged.

    Raises BadInput (`bad_payload`): out of range.
    """
    whole, part = divmod(Decimal(seconds), 1)
    try:
        time = EPOCH + timedelta(seconds=int(whole), microseconds=int(part * 1_000_000))
    except OverflowError:
        time = LATEST + timedelta(days=1)
    if not EARLIEST <= time <= LATEST:
        raise bad_payload(f"{what} is {seconds}; seconds since 1970 are documented here")
    return Timed(None, "unset_clock") if time < _SET_SINCE else Timed(time)


def from_epoch_ms(milliseconds: int, *, what: str) -> Timed:
    """Return the time of a count of milliseconds since 1970 (UTC), as `from_epoch` does."""
    return from_epoch(Decimal(milliseconds) / 1000, what=what)


def from_text(text: str, *, what: str) -> Timed:
    """Return the time of RFC 3339 with an offset; a clock that was never set gives none, flagged.

    Raises BadInput (`bad_time`).
    """
    time = parse_instant(text, what=what)
    return Timed(None, "unset_clock") if time < _SET_SINCE else Timed(time)


def from_local_epoch(seconds: int | Decimal, timezone: str, *, what: str) -> Timed:
    """Return the time of a clock that counts seconds since 1970 in local time, as some devices do."""
    shown = from_epoch(seconds, what=what)
    return shown if shown.time is None else from_local(shown.time.replace(tzinfo=None), timezone)


def from_local(moment: datetime, timezone: str) -> Timed:
    """Return the instant of a local time without an offset; flagged where the zone's clocks show it twice or never.

    Twice: the first is taken. Never: the moment at which the clocks jump. Raises BadInput (`bad_payload`): out of
    range.
    """
    # Room for any zone's offset at both ends.
    if not EARLIEST.year < moment.year < LATEST.year:
        raise bad_payload(f"the local time {moment.isoformat()} is out of range; years 2 to {LATEST.year - 1} are kept")
    tz = zone(timezone)
    first = moment.replace(tzinfo=tz, fold=0).utcoffset()
    second = moment.replace(tzinfo=tz, fold=1).utcoffset()
    time = local_instant(moment, timezone)
    if time < _SET_SINCE:
        return Timed(None, "unset_clock")
    return Timed(time, None if first == second else "ambiguous")


def from_abbreviated(text: str, timezone: str, *, what: str) -> Timed:
    """Return the instant of `Mar  2 2026 09:05:09 CET`: a local time of `timezone`, whose abbreviation settles a doubt.

    Raises BadInput (`bad_payload`).
    """
    match = _ABBREVIATED.fullmatch(text.strip())
    if match is None or match[1] not in MONTHS:
        raise bad_payload(f"{what} is {text[:40]!r}; a date like 'Mar  2 2026 09:05:09 CET' is documented here")
    month, day, year, clock, abbreviation = match.groups()
    try:
        moment = datetime.fromisoformat(f"{year}-{MONTHS.index(month) + 1:02d}-{int(day):02d}T{clock}")
    except ValueError as error:
        raise bad_payload(f"{what} is {text[:40]!r}: {error}") from error
    if abbreviation in {"UTC", "GMT", "Z"} and zone(timezone).tzname(moment) != abbreviation:
        return Timed(moment.replace(tzinfo=UTC))
    read = from_local(moment, timezone)
    if read.flag == "ambiguous":
        later = moment.replace(tzinfo=zone(timezone), fold=1)
        names = {moment.replace(tzinfo=zone(timezone)).tzname(): read.time, later.tzname(): later.astimezone(UTC)}
        if abbreviation in names and len(names) == 2:
            return Timed(names[abbreviation])
    return read
