"""Which sequences of one agent's boot are stored, as ranges: everything up to one, and what lies beyond a hole.

    1 ────────── up_to      hole      first ─── last      hole      first ─ last

What is marked stays marked: an agent that was told of it has let it go and cannot send it again. So where there are as
many ranges as are kept, what would make another is left unmarked and nobody is told of it; the agent sends it again.
The lowest sequence that is missing always finds its place, for it belongs to the first range.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Final, NamedTuple

# A drain beside what is fresh leaves two, a connection that was lost some more: so many are days of a link that never
# holds. The row is written anew with every batch of the agent; they are 128 KB of it.
RANGES_MAX: Final = 8_192
# Told whole up to so many sequences; beyond them what a batch brought, which is 500 at most.
TOLD_MAX: Final = 256


class Range(NamedTuple):
    """Sequences from `first` to `last`, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """Return how many sequences it holds."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Every sequence up to `up_to`, and those of the ranges `beyond`: in order, apart from each other and from it."""

    up_to: int = 0
    beyond: tuple[Range, ...] = ()

    def __contains__(self, sequence: int) -> bool:
        """Tell whether the sequence is stored."""
        if sequence <= self.up_to:
            return True
        index = bisect_right(self.beyond, sequence, key=lambda item: item.first)
        return index > 0 and sequence <= self.beyond[index - 1].last

    @property
    def last(self) -> int:
        """Return the highest sequence that is stored; 0 where there is none."""
        return self.beyond[-1].last if self.beyond else self.up_to

    @property
    def holes(self) -> tuple[Range, ...]:
        """Return what is missing below the last one."""
        known = (Range(1, self.up_to), *self.beyond)
        return tuple(Range(left.last + 1, right.first - 1) for left, right in pairwise(known))

    @property
    def bounds(self) -> list[int]:
        """Return `beyond` as it is kept: first and last of each range in turn."""
        return list(chain.from_iterable(self.beyond))


def marks_of(up_to: int, bounds: Sequence[int]) -> Marks:
    """Return the marks whose `bounds` are these."""
    return Marks(up_to=up_to, beyond=tuple(map(Range, bounds[::2], bounds[1::2])))


def joined(marks: Marks, sequences: Iterable[int]) -> Marks:
    """Return `marks` with all of `sequences`, however many ranges that makes."""
    return _marks(_merged(marks, sequences))


def advance(marks: Marks, arrived: Collection[int], *, ranges_max: int = RANGES_MAX) -> Marks:
    """Return `marks` with `arrived`, but for the highest ones that would make more than `ranges_max` ranges."""
    merged = _merged(marks, arrived)
    found = _marks(merged)
    if len(found.beyond) <= ranges_max:
        return found
    # At most as many hold a range that was there before as there were before; the others give way, the lowest stay.
    known = {item for item in found.beyond if _overlaps(marks, item)}
    room = max(ranges_max - len(known), 0)
    fresh = [item for item in found.beyond if item not in known][:room]
    return Marks(up_to=found.up_to, beyond=tuple(sorted((*known, *fresh))))


def told(marks: Marks, arrived: Collection[int], *, told_max: int = TOLD_MAX) -> tuple[int, ...]:
    """Return what an agent is told of beyond `up_to`: all that is marked while that is little, else what `arrived`."""
    if sum(item.length for item in marks.beyond) <= told_max:
        return tuple(sequence for item in marks.beyond for sequence in range(item.first, item.last + 1))
    return tuple(sorted(sequence for sequence in set(arrived) if sequence > marks.up_to and sequence in marks))


def _merged(marks: Marks, sequences: Iterable[int]) -> list[Range]:
    """Return the ranges of both, the first of them from 1 up to `up_to`."""
    spans = sorted((*marks.beyond, *(Range(sequence, sequence) for sequence in sequences)))
    merged = [Range(1, marks.up_to)]
    for span in spans:
        if span.first > merged[-1].last + 1:
            merged.append(span)
        elif span.last > merged[-1].last:
            merged[-1] = Range(merged[-1].first, span.last)
    return merged


def _marks(merged: Sequence[Range]) -> Marks:
    return Marks(up_to=merged[0].last, beyond=tuple(merged[1:]))


def _overlaps(marks: Marks, item: Range) -> bool:
    """Tell whether a range that `marks` grew into holds one of theirs: then it begins in one, or one begins in it."""
    index = bisect_right(marks.beyond, item.last, key=lambda known: known.first)
    return index > 0 and marks.beyond[index - 1].last >= item.first
