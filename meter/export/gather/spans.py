"""Stretches of time that charges are summed by: of invoices the account's, of what is collected the operator's. Pure.

    grain     over when                      what its lines are for
    charge    at once                        the day of the usage
    hour      the account's clocks strike    that hour
    day       the account's day ends         that day
    period    the invoice's period ends      the period of the usage: what corrects an earlier one is for that one

What is not for a moment is for its own time by any grain: a fee in advance until it is earned, a fee in arrears and
what is missing to a minimum from the period's start on.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from meter.export.gather.shape import Span
from meter.export.journal import moment_of
from meter.model.charge import Charge
from meter.model.instant import local_date, local_midnight, zone
from meter.model.period import Period, Periods
from meter.rating.calendar import MEMBERSHIP

Grain: TypeAlias = Literal["charge", "hour", "day", "period"]
# What happens just before a grain is over is booked some seconds after it.
GRACE: Final = timedelta(minutes=5)


def grain_end(charge: Charge, grain: Grain, periods: Periods) -> datetime:
    """Return when the grain of the account's time that holds the charge is over; of a period the invoice's own."""
    return charge.invoice_period.end if grain == "period" else _grain_span(charge, grain, periods).end


def service_span(charge: Charge, grain: Grain, periods: Periods) -> Period:
    """Return what of the account's time a line of the charge is for."""
    line = charge.line
    if line.earned_until is not None:
        return Period(line.key.time, line.earned_until)
    if line.key.time > line.period.start and (line.meter == MEMBERSHIP or line.kind == "minimum"):
        return Period(line.period.start, line.key.time)
    return line.period if grain == "period" else _grain_span(charge, grain, periods)


def _grain_span(charge: Charge, grain: Grain, periods: Periods) -> Period:
    """Return the hour or day of the account's time that holds the charge; of a charge by itself its day."""
    moment = moment_of(charge)
    if grain != "hour":
        day = periods.date(moment)
        return Period(periods.midnight(day), periods.midnight(day + timedelta(days=1)))
    start, end = local_span(moment, "hour", periods.terms_at(moment).timezone)
    # Where another zone begins with a period, an hour of its clocks may have begun before.
    period = periods.at(moment)
    return Period(max(start, period.start), min(end, period.end))


def local_span(instant: datetime, span: Span, timezone: str) -> tuple[datetime, datetime]:
    """Return the hour or day of the zone's clocks that holds `instant`."""
    if span == "hour":
        local = instant.astimezone(zone(timezone))
        begin = instant - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return begin, begin + timedelta(hours=1)
    day = local_date(instant, timezone)
    return local_midnight(day, timezone), local_midnight(day + timedelta(days=1), timezone)
