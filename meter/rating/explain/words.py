"""How figures, instants and lengths of time are written for members."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from meter.model.event import Json
from meter.model.instant import zone
from meter.model.money import ONE, plain, round_amount

_MINUTE: Final = timedelta(minutes=1)
_MICROSECOND: Final = timedelta(microseconds=1)


def local_text(instant: datetime, zone_name: str) -> str:
    """Return what calendar and clock show in the zone: `2026-11-02 09:00`, with seconds only where there are some."""
    local = instant.astimezone(zone(zone_name)).replace(tzinfo=None)
    whole_minutes = not local.second and not local.microsecond
    return local.isoformat(sep=" ", timespec="minutes") if whole_minutes else local.isoformat(sep=" ")


def date_text(instant: datetime, zone_name: str) -> str:
    """Return the date in the zone, with the clock unless that shows midnight."""
    return local_text(instant, zone_name).removesuffix(" 00:00")


def local_json(instant: datetime, zone_name: str) -> str:
    """Return the instant as RFC 3339 with the offset of the zone."""
    return instant.astimezone(zone(zone_name)).isoformat()


def length_text(length: timedelta) -> str:
    """Return a length as `2 h 20 min 5 s`; `0 s` for nothing."""
    minutes, rest = divmod(length, _MINUTE)
    hours, minutes = divmod(minutes, 60)
    seconds = Decimal(rest // _MICROSECOND).scaleb(-6)
    figures = [(Decimal(hours), "h"), (Decimal(minutes), "min"), (seconds, "s")]
    return " ".join(f"{plain(figure)} {unit}" for figure, unit in figures if figure) or "0 s"


def in_units(base: Decimal, scale: Decimal) -> Decimal:
    """Return base units (seconds) in a unit of `scale` of them, to 12 places."""
    return base if scale == ONE else round_amount(base / scale)


def percent_text(rate: Decimal) -> str:
    """Return a fraction in percent."""
    return f"{plain(rate * 100)} %"


def value_text(value: Json) -> str:
    """Return a value of an event as a member reads it."""
    return plain(value) if isinstance(value, Decimal) else str(value).lower() if isinstance(value, bool) else str(value)
