"""Named moments of the gateway at which a test may end the process or raise. Nothing is armed outside of tests.

The names are a list, so that a test can cross every one of them and find one that is never reached. All of them are
passed once for a batch, a step or a call, none once for an event. The agent has its own list (edge/failpoints.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

NAMES: Final = (
    "lease_taken",  # the row says so, nobody works under it yet
    "before_ingest_commit",  # a batch is written whole, nothing is committed
    "after_commit_before_ack",  # committed, nobody knows
    "acknowledged",  # callers and the broker know; agents may not yet
    "before_agent_told",  # an agent is about to hear what it may forget
    "accounts_folded",  # what the new events change is known, nothing of it is written
    "charges_written",  # charges, draws, journal and states are written, the cursor is not
    "before_rating_commit",  # the cursor, too
    "after_rating_commit",  # booked, no lane knows
    "before_gather_commit",  # a target's items and cursor are written, nothing is committed
    "after_gather_commit",  # the items are there, nobody has claimed them
    "delivery_claimed",  # committed as being sent, before the first byte
    "delivery_sent",  # the target has answered, nothing is recorded
    "delivery_marked",  # the answer is recorded
    "delivery_asked",  # the target has been asked what became of an item, nothing is recorded
    "before_seal_commit",  # blocks of seals are written, nothing is committed
    "after_seal_commit",  # sealed, nobody outside the database knows
    "head_told",  # the file of heads has the newest block
)


class Failpoints:
    """The points of one program, by name."""

    def __init__(self, names: Sequence[str]) -> None:
        """Arm nothing."""
        self._names = frozenset(names)
        self._armed: dict[str, Callable[[], None]] = {}

    def arm(self, name: str, action: Callable[[], None]) -> None:
        """Do `action` whenever the point is reached. For tests. Raises KeyError where there is no such point."""
        if name not in self._names:
            raise KeyError(name)
        self._armed[name] = action

    def disarm(self) -> None:
        """Forget every action."""
        self._armed.clear()

    def reach(self, name: str) -> None:
        """Say that the point is reached: one look at an empty dictionary unless a test armed it."""
        if self._armed and (action := self._armed.get(name)):
            action()


_POINTS: Final = Failpoints(NAMES)
arm, disarm, reach = _POINTS.arm, _POINTS.disarm, _POINTS.reach
