"""Named moments of the agent at which a test may end the process or raise. Nothing is armed outside of tests.

The names are a list, so that a test can cross every one of them and find one that is never reached.
"""

from __future__ import annotations

from typing import Final

from meter.failpoints import Failpoints

NAMES: Final = (
    "spool_opened",  # the file is open, its numbers are read, nothing was taken yet
    "after_begin",  # a transaction has begun, nothing is in it
    "before_commit",  # everything of a transaction is written, nothing is committed
    "after_commit_before_told",  # committed, nobody knows
    "after_told",  # the devices know
    "before_checkpoint",  # the log is about to be copied into the file
    "after_checkpoint",
    "before_renumber",  # an older copy was found out, its events have their old numbers
    "ballast_released",  # the disk is full, room was made for acknowledgements
    "before_salvage_moved",  # what could be read of a damaged spool is stored, the damaged one stands in its place
    "between_salvage_moves",  # the damaged one is set aside, the new one not yet in its place
    "before_close",
)

_POINTS: Final = Failpoints(NAMES)
arm, disarm, reach = _POINTS.arm, _POINTS.disarm, _POINTS.reach
