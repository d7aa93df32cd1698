"""A server's log as a test writes it, and a tail on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge.collect.tail import Tail
from meter.sources.registry import VENDORS
from meter.sources.setups import configured
from meter.sources.spec import Setup
from tests.edge.clocks import VirtualClock
from tests.edge.collect.kept import Kept

FORMAT = "%p %u %j %T %P %C"
FIRST = datetime(2026, 11, 2, 9, tzinfo=UTC)


def line(number: int) -> bytes:
    """The line of a job, which only that job has."""
    written = (FIRST + timedelta(seconds=number)).strftime("%d/%b/%Y:%H:%M:%S +0000")
    return f"hp ada {number} [{written}] total 3\n".encode()


def tail(path: Path, kept: Kept, *, clock: VirtualClock | None = None, vendor: str = "cups", **options: Any) -> Tail:
    clock = clock or VirtualClock()
    given = options or {"format": FORMAT}
    setup = Setup(vendor=vendor, name="log", site="berlin")
    source = configured(VENDORS[vendor], setup, given, place="METER_EDGE_FILES__LOG")
    assert not source.faults
    return Tail(path, source, keeper=kept.keeper, intake=kept.intake(clock), clock=clock)


def numbers(kept: Kept) -> list[int]:
    """The jobs that were kept, in the order of their commits."""
    return [event["data"]["number"] for event in kept.events]
