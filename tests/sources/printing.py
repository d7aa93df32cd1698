"""How tests of printers look at what was read: the state of each job that counts."""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from meter.model.wire import Parsed, Refusal, WireEvent
from meter.sources.registry import VENDORS
from meter.sources.spec import Lines, Setup
from tests.sources.case import RECEIVED


def read_lines(setup: Setup, *lines: str, name: str = "", encoding: str = "utf-8") -> list[Parsed]:
    """What a vendor makes of lines."""
    read = VENDORS[setup.vendor].lines
    assert read is not None
    given = Lines(name=name, lines=[line.encode(encoding) for line in lines], received_at=RECEIVED)
    return list(read(setup, given).items)


def counting(items: Iterable[Parsed]) -> dict[str, Mapping[str, Any]]:
    """The data of the latest event of each job in order (time, source, id), by job (rating.md, section 2)."""
    latest: dict[str, tuple[tuple[datetime, str, str], Mapping[str, Any]]] = {}
    for event in items:
        assert isinstance(event, WireEvent), event
        place = (event.time or RECEIVED, event.source, event.id)
        job = event.data["job"]
        if job not in latest or latest[job][0] < place:
            latest[job] = (place, event.data)
    return {job: data for job, (_, data) in latest.items()}


def billed(items: Iterable[Parsed]) -> int:
    """The impressions that a meter with `where: {status: completed}` counts."""
    return sum(data["impressions"] for data in counting(items).values() if data["status"] == "completed")


def refusals(items: Sequence[Parsed]) -> list[str]:
    """The reasons of what was refused."""
    return [item.detail for item in items if isinstance(item, Refusal)]


def files_answer(files: Mapping[str, bytes]) -> bytes:
    """What reading files answers: each with its name, its SHA-256 and its content in base64."""
    listed = [
        {"name": name, "sha256": sha256(body).hexdigest(), "body": b64encode(body).decode()}
        for name, body in files.items()
    ]
    return json.dumps(listed).encode()
