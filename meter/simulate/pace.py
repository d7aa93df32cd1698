"""How fast deliveries leave: as fast as they are taken, at a steady rate, or as the day went but quicker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from meter.clock import monotonic_s
from meter.simulate.event import Delivery

# Returns how many seconds to wait before the delivery leaves; 0 or less: it is due.
Pace: TypeAlias = Callable[[Delivery], float]


@dataclass(slots=True, kw_only=True)
class Sent:
    """What a sink has done. The outcomes are known over HTTP only: MQTT acknowledges without telling them."""

    deliveries: int = 0
    events: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    retries: int = 0


def unpaced(_delivery: Delivery) -> float:
    """Never wait: the receiver's pushing back is the only limit."""
    return 0.0


class SteadyRate:
    """So many events a second, counted from the first; after a stall it catches up."""

    def __init__(self, events_per_s: float) -> None:
        """Take the rate, above 0."""
        self._events_per_s = events_per_s
        self._start_s: float | None = None
        self._events = 0

    def __call__(self, delivery: Delivery) -> float:
        """Return the seconds until the delivery's turn."""
        if self._start_s is None:
            self._start_s = monotonic_s()
        due_s = self._start_s + self._events / self._events_per_s
        self._events += len(delivery.events)
        return due_s - monotonic_s()


class Playback:
    """The day as it went from `start` on, `speed` times as fast: 1440 plays a day in a minute."""

    def __init__(self, *, start: datetime, speed: float) -> None:
        """Take the simulated instant at which playing begins, and the factor above 0."""
        self._start = start
        self._speed = speed
        self._began_s: float | None = None

    def __call__(self, delivery: Delivery) -> float:
        """Return the seconds until the delivery's turn."""
        if self._began_s is None:
            self._began_s = monotonic_s()
        due_s = self._began_s + (delivery.at - self._start).total_seconds() / self._speed
        return due_s - monotonic_s()
