"""The garbage collector's pace, for processes that keep many records and few cycles."""

from __future__ import annotations

import gc
from typing import Final

# Young objects between two looks: a step of rating makes some 10,000 records that live on, and Python's own 700 has it
# look through all of them again and again. Measured with `make bench`: half as many events a second again in the core.
_YOUNG_MAX: Final = 10_000
# A look at what survived so many of them must stay a matter of milliseconds: with twenty times as much, the p99 from
# publish to rated was 500 ms instead of 200.
_OLDER_AFTER: Final = (5, 100)


def relax() -> None:
    """Look for cycles less often. What has none, and that is nearly everything here, is freed at once as before."""
    gc.set_threshold(_YOUNG_MAX, *_OLDER_AFTER)
