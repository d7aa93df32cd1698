"""Named moments at which a test may end the process or raise. Nothing is armed outside of tests.

The names are a list, so that a test can cross every one of them and find one that is never reached.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

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

_armed: dict[str, Callable[[], None]] = {}


def arm(name: str, action: Callable[[], None]) -> None:
    """Do `action` whenever the point is reached. For tests. Raises KeyError where there is no such point."""
    if name not in NAMES:
        raise KeyError(name)
    _armed[name] = action


def disarm() -> None:
    """Forget every action."""
    _armed.clear()


def reach(name: str) -> None:
    """Say that the point is reached: one look at an empty dictionary unless a test armed it."""
    if _armed and (action := _armed.get(name)):
        action()
