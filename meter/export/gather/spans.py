"""Stretches of the operator's time that charges are summed by. Pure."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

from meter.export.gather.shape import Span
from meter.model.charge import Charge
from meter.model.instant import local_date, zone

Grain: TypeAlias = Literal["charge", "hour", "day", "period"]
# What happens just before a grain is over is booked some seconds after it.
GRACE: Final = timedelta(minutes=5)


def grain_span(charge: Charge, grain: Grain, timezone: str) -> tuple[datetime, datetime]:
    """Return the grain of the operator's time that holds the charge's event; of a period the invoice's own."""
    instant = charge.line.key.time
    if grain == "charge":
        return instant, instant
    if grain == "period":
        return charge.invoice_period.start, charge.invoice_period.end
    return local_span(instant, grain, timezone)


def local_span(instant: datetime, span: Span, timezone: str) -> tuple[datetime, datetime]:
    """Return the hour or day of the zone's clocks that holds `instant`."""
    local_zone = zone(timezone)
    if span == "hour":
        local = instant.astimezone(local_zone)
        begin = instant - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return begin, begin + timedelta(hours=1)
    day = local_date(instant, timezone)
    return _midnight(day, local_zone), _midnight(day + timedelta(days=1), local_zone)


def _midnight(day: date, local_zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=local_zone).astimezone(ZoneInfo("UTC"))
