"""A space with meters that cannot count everything, and the events that they stumble over."""

from __future__ import annotations

from typing import Any

from tests.booking.space import CATALOG, event

HALL, MAIN, BAR = "berlin/scanner/hall", "berlin/door/main", "berlin/pos/bar"
SPACE = CATALOG.replace(
    "plans:\n",
    "  scans: {event: scan.job, aggregate: sum, value: parts.pages, unit: page}\n"
    "  presence: {event: door.access, where: {granted: true}, aggregate: duration, unit: hour,\n"
    "             start: {direction: in}, end: {direction: out}, max: 14h, missing_end: none}\n"
    "plans:\n",
).replace(
    "      cafe: [", '      presence: [{id: hour, model: per_unit, unit_price: "1"}]\n      cafe: ['
)  # fmt: skip
# In force for events of March where another catalog was applied before.
SINCE_JANUARY = SPACE.replace("operator: northside", "operator: northside\neffective: 2026-01-01")
MENDED: dict[str, Any] = {"parts": [{"pages": 3}]}
NO_START = "an end, but no session is open that began at most 14:00:00 before"


def door(event_id: str, time: str, direction: str, subject: str = "badge:ADA1") -> bytes:
    return event(
        "door.access", event_id, time, subject, MAIN, {"door": "main", "granted": True, "direction": direction}
    )


def scan(event_id: str, time: str, *pages: Any, subject: str = "badge:ADA1") -> bytes:
    return event("scan.job", event_id, time, subject, HALL, {"parts": [{"pages": count} for count in pages]})


def refund(event_id: str, time: str, order: str, amount: str) -> bytes:
    named = {"source": BAR, "order": order}
    data = {"refund": event_id, "sale": named, "currency": "EUR", "status": "completed", "amount": amount}
    return event("pos.refund", event_id, time, None, BAR, data)
