"""Meter events as Stripe takes them, and what it would not take. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from meter.export.contract import Outcome, Refused, Retry
from meter.export.payload import MeterUsage
from meter.model.instant import instant_text
from meter.model.money import EXACT

PAST_MAX: Final = timedelta(days=35)
FUTURE_MAX: Final = timedelta(minutes=5)
DIGITS_MAX: Final = 15


def barred(usage: MeterUsage, now: datetime) -> Outcome | None:
    """Return why an event cannot be sent (now); None where it can."""
    if usage.at < now - PAST_MAX:
        days = (now - usage.at).days
        return Refused(
            f"the usage is {days} days old and Stripe counts none older than {PAST_MAX.days}; "
            f"bill {usage.value:f} {usage.unit} of {usage.meter} to {usage.account} there by hand"
        )
    if usage.at > now + FUTURE_MAX:
        wait_s = (usage.at - now - FUTURE_MAX).total_seconds()
        return Retry(f"the usage is of {instant_text(usage.at)}, which Stripe does not count yet", after_s=wait_s)
    if len(usage.value.normalize(EXACT).as_tuple().digits) > DIGITS_MAX:
        return Refused(
            f"{usage.value:f} {usage.unit} has more than the {DIGITS_MAX} digits that Stripe counts; "
            f"let {usage.meter} count a coarser unit"
        )
    return None


def value_text(value: Decimal) -> str:
    """Return a value in plain notation."""
    return format(value.normalize(EXACT) if value % 1 else value.to_integral_value(), "f")


def form(identifier: str, usage: MeterUsage) -> dict[str, Any]:
    """Return the event as v1 takes it."""
    return {**_event(identifier, usage), "timestamp": int(usage.at.timestamp())}


def body(identifier: str, usage: MeterUsage) -> dict[str, Any]:
    """Return the event as v2 takes it."""
    return {**_event(identifier, usage), "timestamp": instant_text(usage.at)}


def _event(identifier: str, usage: MeterUsage) -> dict[str, Any]:
    payload = {"stripe_customer_id": usage.customer, "value": value_text(usage.value)}
    return {"event_name": usage.event, "identifier": identifier, "payload": payload}
