"""Bodies of events and arrivals, for the tests of what comes in."""

import json
from datetime import UTC, datetime
from typing import Any

from meter.ingest.accept import Acceptor
from meter.ingest.arrival import Arrival, Channel
from meter.model.wire import read_event
from meter.store.engine import Database
from meter.telemetry import Telemetry

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
OPERATOR = "northside"


def envelope(**changes: Any) -> dict[str, Any]:
    """A door event of the morning; a change to None leaves the attribute out."""
    made: dict[str, Any] = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "berlin/door/main",
        "type": "door.access",
        "subject": "badge:04A2B3C4D5",
        "time": "2026-03-02T08:01:27.120Z",
        "data": {"door": "main", "direction": "in", "granted": True},
    } | changes
    return {name: value for name, value in made.items() if value is not None}


def body(**changes: Any) -> bytes:
    return json.dumps(envelope(**changes)).encode()


def arrival(
    content: bytes | None = None,
    *,
    channel: Channel = "mqtt",
    origin: str = "spaces/berlin/door/main",
    site: str | None = None,
    received_at: datetime = NOW,
    **changes: Any,
) -> Arrival:
    parsed = read_event(body(**changes) if content is None else content)
    return Arrival(parsed=parsed, channel=channel, origin=origin, received_at=received_at, site=site)


async def northside() -> str | None:
    return OPERATOR


def acceptor(database: Database, *, now: datetime = NOW, max_age_days: int = 400) -> Acceptor:
    return Acceptor(database, operator=northside, telemetry=Telemetry(), max_age_days=max_age_days, clock=lambda: now)
