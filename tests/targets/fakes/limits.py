"""So many requests in so long, by the fake's clock."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from tests.targets.fakes.clock import Clock


class Window:
    """At most `most` in any `span`."""

    def __init__(self, clock: Clock, most: int, span: timedelta) -> None:
        self.most = most
        self._clock, self._span = clock, span
        self._taken: deque[datetime] = deque()

    def remaining(self) -> int:
        """Return how many may still come now."""
        while self._taken and self._taken[0] <= self._clock.now() - self._span:
            self._taken.popleft()
        return max(0, self.most - len(self._taken))

    def take(self) -> bool:
        """Return whether one more may come, and count it if so."""
        if self.remaining() == 0:
            return False
        self._taken.append(self._clock.now())
        return True

    def retry_after_s(self) -> int:
        """Return after how many seconds the next may come."""
        return max(1, int((self._taken[0] + self._span - self._clock.now()).total_seconds())) if self._taken else 0
