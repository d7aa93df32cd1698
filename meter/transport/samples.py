"""What is kept of forgeries for the operator to look at: enough to see who and what, too little to fill a disk."""

from __future__ import annotations

from collections import deque
from typing import Final

from meter.clock import monotonic_s

SAMPLES_PER_HOUR_MAX: Final = 10
SAMPLE_BYTES_MAX: Final = 2_048
_HOUR_S: Final = 3600


class Samples:
    """Allows so many an hour."""

    def __init__(self) -> None:
        """Begin with none taken."""
        self._taken_at_s: deque[float] = deque(maxlen=SAMPLES_PER_HOUR_MAX)

    def take(self) -> bool:
        """Tell whether another sample may be kept."""
        moment_s = monotonic_s()
        if len(self._taken_at_s) == SAMPLES_PER_HOUR_MAX and self._taken_at_s[0] > moment_s - _HOUR_S:
            return False
        self._taken_at_s.append(moment_s)
        return True
