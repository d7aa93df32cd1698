"""How fast a target may be asked: pure state, the clock is handed in.

    rate ──429──▶ half of it (not below a 32nd) ──two minutes──▶ the whole again

A bucket of `burst` tokens fills at the rate. Beside it stand what the target has asked for (`Retry-After`) and what is
left of a day's quota. None of them is a failure of an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from meter.clock import Ticks, monotonic_s

# From nothing to the whole rate: slow enough that a target which has just said no is not asked as before at once.
RECOVERY_S: Final = 120.0
# A target that always says no is still asked now and then, or nobody would notice that it says yes.
RATE_FLOOR: Final = 1 / 32
# Refusals that come together were caused together.
SAME_CAUSE_S: Final = 1.0
# Where the target does not say how long: 1, 2, 4 ... 60 s, until it says yes.
PAUSE_FIRST_S: Final = 1.0
PAUSE_MAX_S: Final = 60.0
# What a day's quota can ask for at most; more is a mistake of whoever sent it.
RETRY_AFTER_MAX_S: Final = 86_400.0

# What rounding leaves missing of a token is not worth a wait that a clock would not even show.
_TOKEN_DUST: Final = 1e-6


class Limiter:
    """A target's rate. `rate_per_s` None: nobody knows of one, so only what the target says counts."""

    def __init__(self, *, rate_per_s: float | None, burst: int = 1, clock: Ticks = monotonic_s) -> None:
        """Start with a full bucket; `clock` gives seconds that never go backwards."""
        self._whole = rate_per_s
        self._rate = rate_per_s or 0.0
        self._burst = float(max(burst, 1))
        self._tokens = self._burst
        self._clock = clock
        self._seen_s = clock()
        self._paused_until_s = self._seen_s
        self._throttled_at_s: float | None = None
        self._refusals = 0
        self._left: int | None = None
        self._resets_at_s = 0.0

    @property
    def rate_per_s(self) -> float | None:
        """Return the rate now."""
        self._pass_time()
        return None if self._whole is None else self._rate

    def take(self) -> float:
        """Take the right to one request and return 0, or take nothing and return how many seconds to wait."""
        return take_of_all([self])

    def wait_s(self) -> float:
        """Return how many seconds to wait for the right to one request."""
        moment_s = self._pass_time()
        if moment_s < self._paused_until_s:
            return self._paused_until_s - moment_s
        if self._left is not None and moment_s >= self._resets_at_s:
            self._left = None
        if self._left == 0:
            return self._resets_at_s - moment_s
        if self._whole is not None and self._tokens < 1.0 - _TOKEN_DUST:
            return (1.0 - self._tokens) / self._rate
        return 0.0

    def spend(self) -> None:
        """Use the right to one request."""
        if self._whole is not None:
            self._tokens = max(self._tokens - 1.0, 0.0)
        if self._left is not None:
            self._left -= 1

    def throttled(self, after_s: float | None = None) -> None:
        """The target said that it was asked too often; `after_s`: not before, if it said so."""
        moment_s = self._pass_time()
        if self._throttled_at_s is None or moment_s >= self._throttled_at_s + SAME_CAUSE_S:
            self._throttled_at_s = moment_s
            self._refusals += 1
            if self._whole is not None:
                self._rate = max(self._rate / 2, self._whole * RATE_FLOOR)
                self._tokens = min(self._tokens, 1.0)
        told_s = min(PAUSE_FIRST_S * 2.0 ** min(self._refusals - 1, 30), PAUSE_MAX_S) if after_s is None else after_s
        self._paused_until_s = max(self._paused_until_s, moment_s + min(told_s, RETRY_AFTER_MAX_S))

    def succeeded(self) -> None:
        """The target took a request."""
        self._refusals = 0

    def note_remaining(self, requests: int, resets_in_s: float) -> None:
        """The target said how many requests are left of a quota, and when there is a new one."""
        self._left = max(requests, 0)
        self._resets_at_s = self._clock() + min(max(resets_in_s, 0.0), RETRY_AFTER_MAX_S)

    def _pass_time(self) -> float:
        moment_s = self._clock()
        if self._whole is not None and moment_s > self._seen_s:
            passed_s = moment_s - self._seen_s
            self._tokens = min(self._burst, self._tokens + passed_s * self._rate)
            self._rate = min(self._whole, self._rate + self._whole * passed_s / RECOVERY_S)
        self._seen_s = max(self._seen_s, moment_s)
        return self._seen_s


def take_of_all(limiters: Sequence[Limiter]) -> float:
    """Take the right to one request of each and return 0, or of none and return how many seconds to wait."""
    wait_s = max(limiter.wait_s() for limiter in limiters)
    if wait_s == 0:
        for limiter in limiters:
            limiter.spend()
    return wait_s
