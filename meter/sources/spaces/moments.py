"""Times as booking systems write them: RFC 3339, slashes, blanks, dates alone, and local times without an offset."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Final

from meter.model.errors import BadInput
from meter.model.instant import EARLIEST, LATEST, instant_text, local_instant, parse_instant
from meter.sources.fields import bad_payload

_MOMENT: Final = re.compile(
    r"(\d{4})[/-](\d\d)[/-](\d\d)(?:[Tt ](\d\d:\d\d)(:\d\d)?(\.\d{1,9})? ?([Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII
)


def moment(text: str, timezone: str, *, what: str) -> datetime:
    """Return the instant that `text` names; without an offset it is a local time of `timezone`, a date its midnight.

    Raises BadInput (`bad_payload`, `bad_time`).
    """
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        raise _no_time(text, what)
    year, month, day, clock, second, fraction, offset = match.groups()
    written = f"{year}-{month}-{day}T{clock or '00:00'}{second or ':00'}{(fraction or '')[:7]}"
    if offset is not None:
        zoned = "Z" if offset in "Zz" else f"{offset[:3]}:{offset[-2:]}"
        return parse_instant(written + zoned, what=what)
    try:
        local = datetime.fromisoformat(written)
    except ValueError as error:
        raise bad_payload(f"{what} is {text[:40]!r}: {error}") from error
    if not EARLIEST.date() < local.date() < LATEST.date():
        raise _no_time(text, what)
    return local_instant(local, timezone)


def day(text: str | None, timezone: str, *, what: str) -> str | None:
    """Return a date as the directory writes it, an instant as RFC 3339; None stays None.

    Raises BadInput as `moment` does.
    """
    if text is None:
        return None
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        raise _no_time(text, what)
    if match[4] is None:
        try:
            return date(int(match[1]), int(match[2]), int(match[3])).isoformat()
        except ValueError as error:
            raise bad_payload(f"{what} is {text[:40]!r}: {error}") from error
    return instant_text(moment(text, timezone, what=what))


def _no_time(text: str, what: str) -> BadInput:
    return bad_payload(f"{what} is {text[:40]!r}; a date or a time like 2026-03-02T09:00:00Z is documented here")
