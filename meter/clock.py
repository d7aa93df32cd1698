"""The only place that asks for the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

# Parts that need the time take a Clock, so that a test can hand in another.
Clock: TypeAlias = Callable[[], datetime]
# The same for seconds that never go backwards.
Ticks: TypeAlias = Callable[[], float]


def now() -> datetime:
    """Return the present instant in UTC, to the microsecond."""
    return datetime.now(UTC)


def monotonic_s() -> float:
    """Return seconds that never go backwards, for measuring how long something took."""
    return time.monotonic()
