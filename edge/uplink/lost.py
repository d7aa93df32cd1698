"""What the gateway acknowledged and does not hold any more: it was restored from a backup. Pure (decision 0015).

    told, before it was asked    1 ──────────────────────── 900
    stored, says its answer      1 ────────────── 700            901
    lost                                              701 ─ 900

The gateway tells of a commit after it, so in one history whatever was told before a question is among what the answer
to it says. Not so of an acknowledgement, which may be late, doubled or another gateway's: none is looked at here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from edge.spool.spans import Run, Span, waiting

# More than a backup ever makes; beyond it what lies between is sent along, for each run costs the spool a look.
RUNS_MAX: Final = 64


class Held(msgspec.Struct, frozen=True):
    """The gateway's word on one boot: it holds every sequence up to `up_to`, and those of the ranges `beyond`."""

    boot: int
    up_to: int
    beyond: list[tuple[int, int]] = []


def lost(told: Sequence[Run], held: Held) -> list[Run]:
    """Return which sequences of `told`, in order, the gateway does not hold: at most `RUNS_MAX` runs."""
    there, reached = [], 0
    for first, last in sorted([(1, held.up_to), *held.beyond]):
        if last > reached:
            there.append(Span(max(first, reached + 1), last, 0))
            reached = last
    found: list[Run] = []
    for left in (left for run in told for left in waiting(tuple(there), *run)):
        if found and found[-1].last == left.first - 1:
            found[-1] = Run(found[-1].first, left.last)
        else:
            found.append(left)
    return found if len(found) <= RUNS_MAX else [*found[: RUNS_MAX - 1], Run(found[RUNS_MAX - 1].first, found[-1].last)]
