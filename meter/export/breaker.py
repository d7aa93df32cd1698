"""Whether a target is worth trying: pure state, the clock is handed in.

    closed ──N failures on end──▶ open ──1, 2, 4 ... 60 s──▶ half-open: one item ──an answer──▶ closed
                                    ▲                             │
                                    └──────────failure────────────┘

A failure is one of the connection or a 5xx, whichever item met it; that nobody is let in with our key needs but one.
Open, nothing is tried, so nothing is worn out; what was held back is as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from meter.clock import Ticks, monotonic_s
from meter.export.contract import Barred, Finding, Outcome, Retry, Uncertain, Untried

# One lost connection is an accident; so many on end, with nothing between them, are the target's state.
FAILURES_MAX: Final = 5
PAUSE_FIRST_S: Final = 1.0
PAUSE_MAX_S: Final = 60.0


def failed(outcome: Outcome | Finding) -> bool | None:
    """Return whether an outcome speaks against the target; None: it says nothing of it."""
    match outcome:
        case Untried():
            return None
        case Retry(throttled=throttled):
            return not throttled
        case Barred() | Uncertain():
            return True
        case _:
            return False


class Breaker:
    """What is known of a target's health."""

    def __init__(self, *, clock: Ticks = monotonic_s) -> None:
        """Start closed; `clock` gives seconds that never go backwards."""
        self._clock = clock
        self._failures = 0
        self._pauses = 0
        self._until_s: float | None = None

    @property
    def open(self) -> bool:
        """Return whether the target counts as down, until an item has shown otherwise."""
        return self._until_s is not None

    def wait_s(self) -> float:
        """Return how many seconds nothing is to be tried; 0: something may be."""
        return 0.0 if self._until_s is None else max(0.0, self._until_s - self._clock())

    def items_max(self, whole: int) -> int:
        """Return how many items may be tried now, of the `whole` that a call takes."""
        if self.wait_s() > 0:
            return 0
        return 1 if self.open else whole

    def heard(self, outcomes: Sequence[Outcome | Finding]) -> None:
        """Learn from a call's outcomes, in the order of its items."""
        for outcome in outcomes:
            against = failed(outcome)
            if against:
                self._failures += 1
            elif against is False:
                self._failures = self._pauses = 0
        barred_s = [outcome.after_s for outcome in outcomes if isinstance(outcome, Barred)]
        if barred_s:
            self._failures = max(self._failures, FAILURES_MAX)
        if self._failures == 0:
            self._until_s = None
        elif any(map(failed, outcomes)) and (self.open or self._failures >= FAILURES_MAX):
            pause_s = min(PAUSE_FIRST_S * 2.0 ** min(self._pauses, 30), PAUSE_MAX_S)
            self._until_s = self._clock() + max(pause_s, *barred_s, 0.0)
            self._pauses += 1
