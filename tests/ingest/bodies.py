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


# No two filled in with different numbers are alike; none is an event.
POISON = [
    b"",
    b"\xff\xfe",
    b"hello",
    b"{",
    b"[[[[",
    b"[" * 3000,
    b"null",
    b"17",
    b"{}",
    b"\xef\xbc\x91\xef\xbc\x92",  # full-width digits
    b'{"specversion":"1.0","id":"%d","source":"%s/x","type":"x","data":{"a":NaN}}',
    b'{"specversion":"1.0","id":"%d","source":"%s/x","type":"x","data":{"a":1e400}}',
    b'{"specversion":"1.0","id":"%d","source":"%s/x","type":"x","data":{"a":' + b"9" * 40 + b"}}",
    b'{"specversion":"1.0","id":"%d","source":"%s/x","type":"x","data":{"a":1,"a":2}}',
    b'{"specversion":"1.0","id":"%d","source":"%s/x","type":"x","data":{"a":"\\u0000"}}',
    b'{"specversion":"1.0","id":"%d","source":"%s/x","type":"x","data":{"a":"\\ud800"}}',
    b'{"specversion":"1.0","id":"%d","source":"%s/x","type":"x","data":{"a":"' + b"x" * 300_000 + b'"}}',
    b'{"specversion":"1.0","id":"%d","source":"%s/x","type":"x","data":[1]}',
    b'{"specversion":"0.3","id":"%d","source":"%s/x","type":"x"}',
    b'{"specversion":"1.0","id":"%d","source":"%s/x"}',
    b'{"specversion":"1.0","id":%d,"source":"%s/x","type":"x"}',
    b'{"specversion":"1.0","id":"%d","source":"%s/x","type":"x","time":"2026-02-30T00:00:00Z"}',
    b'{"specversion":"1.0","id":"%d","source":"%s/x","type":"x","edge":"e","boot":1,"sequence":-1}',
    b'{"specversion":"1.0","id":"%d","source":"%s/x","type":"door.access","data":{}}',
    b'{"specversion":"1.0","id":"%d","source":"%s/x","type":"event.voided","data":{"id":1}}',
    b'{"specversion":"1.0","id":"%d","source":"other/x","type":"x"} %.0s',
    b'{"specversion":"1.0","id":"%d","source":"%s/x","type":"x","time":"1999-01-01T00:00:00Z"}',
]


def poisonous(number: int, site: str) -> bytes:
    """One of all kinds of bodies that are refused; another for each number."""
    form = POISON[number % len(POISON)]
    return form % (number, site.encode()) if b"%d" in form else form + b" " * number


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
