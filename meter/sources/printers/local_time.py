"""Local times as print servers write them: by the source's zone, flagged where its clocks show them twice."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from meter.model.instant import EARLIEST, LATEST
from meter.sources.clocks import Timed, from_local
from meter.sources.fields import bad_payload

_US: Final = re.compile(r"(\d{4}-\d\d-\d\d) +(\d{1,2}):(\d\d):(\d\d)(?: ?([AaPp])\.?(?:[Mm]\.?)?)?", re.ASCII)
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?: ?(?:Z|[+-]\d\d(?::?\d\d)?))?", re.ASCII)


def us_time(text: str, timezone: str, *, clock: str) -> Timed:
    """Return the instant of `2026-03-02 9:14:02 AM` (`clock` 12h), or of `2026-03-02 09:14:02` (24h).

    Raises BadInput (`bad_payload`).
    """
    match = _US.fullmatch(text.strip())
    if match is None or (match[5] is not None) != (clock == "12h"):
        documented = "2026-03-02 9:14:02 AM" if clock == "12h" else "2026-03-02 09:14:02"
        raise bad_payload(f"the time is {text[:40]!r}; with the option clock {clock} it is written like {documented}")
    day, hour, minute, second, half = match.groups()
    hours = int(hour)
    if half is not None:
        if not 1 <= hours <= 12:
            raise bad_payload(f"the time is {text[:40]!r}; no 12-hour clock shows that")
        hours = hours % 12 + (12 if half in "Pp" else 0)
    return iso_time(f"{day} {hours:02d}:{minute}:{second}", timezone, what="the time")


def iso_time(text: str, timezone: str, *, what: str) -> Timed:
    """Return the instant of `2026-03-02 09:14:02[.120][+01:00]`: local time of `timezone` where it has no offset.

    Raises BadInput (`bad_payload`).
    """
    written = text.strip()
    if not _ISO.fullmatch(written):
        raise bad_payload(f"{what} is {text[:40]!r}; a time like 2026-03-02 09:14:02 is documented here")
    try:
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", written).replace(" +", "+").replace(" -", "-"))
    except ValueError as error:
        raise bad_payload(f"{what} is {text[:40]!r}: {error}") from error
    if moment.tzinfo is None:
        return from_local(moment, timezone)
    if not EARLIEST.year < moment.year < LATEST.year:
        raise bad_payload(f"{what} is {text[:40]!r}; no printer printed then")
    return Timed(moment.astimezone(UTC))
