"""What a printer counted itself between two moments, from readings of its counter (Printer-MIB; docs/sources.md).

100 ─▶ 140 ─▶ 135 ─▶ 160      40 + 0 + 25: the fall is memory that was lost, what was printed before it was counted
999 990 ─▶ 15                 9 + 1 + 15: it rolled over
52 000 ─▶ 12                  unknown: another board or another printer, counted from there
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

# Printers save their counter every ten impressions: after a power cut it may have gone back by nine (HP's MIB).
_LOST_MAX: Final = 10
# Where counters begin anew: six digits, 24 bits, and Counter32 (vendors' MIBs; RFC 2578).
_LAST_COUNTS: Final = (999_999, 2**24 - 1, 2**32 - 1)
# No printer prints more between two readings, which are at most a day apart while it can be reached.
_BETWEEN_MAX: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterReading:
    """A reading of one marker's counter; `serial` is the device's, None where it has none to tell."""

    time: datetime
    count: int
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """How much was counted, and a sentence for each step that was no rise."""

    count: int
    notes: tuple[str, ...] = ()


def counted(readings: Iterable[CounterReading]) -> Counted:
    """Return what one marker counted from its first reading to its last, in the order of time."""
    total = 0
    notes: list[str] = []
    before: CounterReading | None = None
    for reading in sorted(readings, key=lambda one: (one.time, one.count)):
        if before is not None:
            step, note = _step(before, reading)
            total += step
            if note:
                notes.append(f"{reading.time:%Y-%m-%d %H:%M}Z: {note}")
        before = reading
    return Counted(total, tuple(notes))


def _step(before: CounterReading, after: CounterReading) -> tuple[int, str]:
    if None not in {before.serial, after.serial} and before.serial != after.serial:
        return 0, f"another device ({before.serial}, then {after.serial}): counted from {after.count}"
    rise = after.count - before.count
    if rise >= 0:
        return rise, ""
    fall = f"fell from {before.count} to {after.count}"
    if -rise < _LOST_MAX:
        return 0, f"{fall}: memory lost when it was switched off"
    for last in _LAST_COUNTS:
        over = last - before.count + 1 + after.count
        if before.count <= last and over <= _BETWEEN_MAX:
            return over, f"{fall}: rolled over after {last}"
    return 0, f"{fall}: set back, or another board; what was printed in between is not known"
