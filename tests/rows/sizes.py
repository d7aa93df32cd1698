"""How much of a row is run: in the suite little, and all of it with `METER_TEST_LONG=1`."""

from __future__ import annotations

import os
from typing import Final

LONG: Final = os.environ.get("METER_TEST_LONG", "") == "1"
SEED: Final = int(os.environ.get("METER_TEST_SEED", "1"))


def sized(short: int, long: int) -> int:
    """Return `short` in the suite and `long` where the whole row is asked for."""
    return long if LONG else short
