"""What the writer knows of the spool between two transactions. Pure and immutable: a rollback is to keep the old one.

    place      1 2 3 4 5 | 6 7 8 9 | 10       one count for the whole file, never used twice
    boot       ---- A ---|--- B ---|- B       a segment begins at a place, with a boot and a sequence
    sequence   1 2 3 4 5 | 1 2 3 4 |  5

So what waits is numbered anew under another boot by a few rows, however many events there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edge.spool.records import Acknowledgement, Depth, Place
from edge.spool.spans import Run, Spans, kept, runs, waiting


class Segment(NamedTuple):
    """From place `first` to the next segment: sequences of `boot` from `base` on."""

    first: int
    boot: int
    base: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The spool's numbers. `next_place` was never given; `total` is the bytes of all bodies ever stored.

    `mark`: up to which sequence of the boot in use something may have been sent before or was allowed to be since.
    `proven`: the gateway has acknowledged something to this process, so its numbers and ours are of one history.
    """

    segments: tuple[Segment, ...]
    spans: Spans
    next_place: int
    total: int
    depth: Depth
    mark: int
    proven: bool

    @property
    def boot(self) -> int:
        """Return the boot that new events get."""
        return self.segments[-1].boot

    @property
    def last_place(self) -> int:
        """Return the highest place given; 0 before the first."""
        return self.next_place - 1

    @property
    def last_sequence(self) -> int:
        """Return the highest sequence given of the boot in use; 0 before the first."""
        newest = self.segments[-1]
        return self.next_place - newest.first + newest.base - 1

    @property
    def events_held(self) -> int:
        """Return how many rows there are."""
        return self.depth.events + self.depth.kept_events

    def number(self, place: int) -> Place:
        """Return the boot and sequence of a place."""
        segment = next(segment for segment in reversed(self.segments) if segment.first <= place)
        return Place(segment.boot, place - segment.first + segment.base)

    def pieces(self) -> Iterator[tuple[Segment, Run]]:
        """Yield each segment with its places, possibly none (`last` before `first`)."""
        for index, segment in enumerate(self.segments):
            after = self.segments[index + 1].first if index + 1 < len(self.segments) else self.next_place
            yield segment, Run(segment.first, after - 1)

    def places(self, boot: int, first: int, last: int) -> list[Run]:
        """Return where the boot's sequences `first` to `last` are, as far as there are such."""
        found = []
        for segment, run in self.pieces():
            if segment.boot == boot:
                shift = segment.first - segment.base
                within = Run(max(run.first, first + shift), min(run.last, last + shift))
                if within.first <= within.last:
                    found.append(within)
        return found

    def oldest(self) -> int | None:
        """Return the first place that waits for the gateway."""
        run = next(waiting(self.spans, 1, self.last_place), None)
        return None if run is None else run.first

    def waiting_boots(self) -> list[int]:
        """Return the boots of which something waits, older first: more than one after a replay only."""
        boots = {segment.boot for segment, run in self.pieces() if next(waiting(self.spans, *run), None) is not None}
        return sorted(boots)

    def kept(self) -> dict[int, list[Run]]:
        """Return which sequences of each boot are acknowledged and still there, in order."""
        found: dict[int, list[Run]] = {}
        for segment, run in self.pieces():
            shift = segment.base - segment.first
            for within in kept(self.spans, *run):
                found.setdefault(segment.boot, []).append(Run(within.first + shift, within.last + shift))
        return found


def acknowledged_runs(state: State, acknowledgement: Acknowledgement) -> list[Run]:
    """Return the places that an acknowledgement names, each once."""
    named = state.places(acknowledgement.boot, 1, acknowledgement.up_to)
    for run in runs(sequence for sequence in acknowledgement.also if sequence > max(acknowledgement.up_to, 0)):
        named += state.places(acknowledgement.boot, run.first, run.last)
    return named


def renumbered(state: State, boot: int) -> tuple[Segment, ...]:
    """Return the segments with all that waits under the boot in use numbered anew from 1 under `boot`."""
    after: list[Segment] = []
    sequence = 1
    for segment, run in state.pieces():
        at = run.first
        for left in waiting(state.spans, *run) if segment.boot == state.boot else ():
            if at < left.first:
                after.append(_from(segment, at))
            after.append(Segment(left.first, boot, sequence))
            sequence += left.length
            at = left.last + 1
        if at <= run.last:
            after.append(_from(segment, at))
    after.append(Segment(state.next_place, boot, sequence))
    return _joined(after)


def _from(segment: Segment, place: int) -> Segment:
    return Segment(place, segment.boot, segment.base + place - segment.first)


def _joined(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Return the segments without those that only go on with the one before."""
    after: list[Segment] = []
    for segment in segments:
        if not after or _from(after[-1], segment.first) != segment:
            after.append(segment)
    return tuple(after)
