"""Which places are acknowledged, as spans: sorted, disjoint, merged where they say the same. Pure.

    places    1 ........ 400 | 401 .... 900 | 901 ... 950 | 951 ..... 1200 | 1201
    spans       removed      |  hour 17     |      -      |   hour 18      |   -
                               kept           waiting       kept              next

What no span covers waits for the gateway. `hour` is when it was acknowledged, in hours since 1970; REMOVED once the
events are gone. Hours and not instants: 35 days are then at most some 840 spans, however many acknowledgements came.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

REMOVED: Final = -1


class Span(NamedTuple):
    """Places `first` to `last`, both included."""

    first: int
    last: int
    hour: int


Spans: TypeAlias = tuple[Span, ...]


class Run(NamedTuple):
    """Places `first` to `last`, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """Return how many places."""
        return self.last - self.first + 1


def runs(places: Iterable[int]) -> list[Run]:
    """Return the places as runs without holes, in order."""
    found: list[Run] = []
    for place in sorted(set(places)):
        if found and found[-1].last == place - 1:
            found[-1] = Run(found[-1].first, place)
        else:
            found.append(Run(place, place))
    return found


def waiting(spans: Spans, first: int, last: int) -> Iterator[Run]:
    """Yield what of `first` to `last` no span covers, in order."""
    index = max(bisect_left(spans, (first,)) - 1, 0)
    while first <= last and index < len(spans):
        span = spans[index]
        if span.first > last:
            break
        if first < span.first:
            yield Run(first, span.first - 1)
        first = max(first, span.last + 1)
        index += 1
    if first <= last:
        yield Run(first, last)


def settle(spans: Spans, arrived: Iterable[Run], hour: int) -> tuple[Spans, list[Run]]:
    """Return the spans with what `arrived` names and was waiting, and what that was. Runs do not overlap."""
    fresh = [run for asked in arrived for run in waiting(spans, asked.first, asked.last)]
    return _merged((*spans, *(Span(run.first, run.last, hour) for run in fresh))), fresh


def kept(spans: Spans, first: int, last: int) -> Iterator[Run]:
    """Yield what of `first` to `last` is acknowledged and still there, in order."""
    for span in spans:
        if span.hour != REMOVED and span.first <= last and span.last >= first:
            yield Run(max(span.first, first), min(span.last, last))


def remove(spans: Spans, run: Run) -> Spans:
    """Return the spans after the kept events of `run` were removed."""
    return _changed(spans, run, REMOVED)


def reopen(spans: Spans, run: Run) -> Spans:
    """Return the spans after the kept events of `run` wait again."""
    return _changed(spans, run, None)


def _changed(spans: Spans, run: Run, hour: int | None) -> Spans:
    after: list[Span] = []
    for span in spans:
        if span.hour == REMOVED or span.last < run.first or span.first > run.last:
            after.append(span)
            continue
        if span.first < run.first:
            after.append(span._replace(last=run.first - 1))
        if hour is not None:
            after.append(Span(max(span.first, run.first), min(span.last, run.last), hour))
        if span.last > run.last:
            after.append(span._replace(first=run.last + 1))
    return _merged(after)


def _merged(spans: Iterable[Span]) -> Spans:
    after: list[Span] = []
    for span in sorted(spans):
        if after and after[-1].hour == span.hour and after[-1].last == span.first - 1:
            after[-1] = after[-1]._replace(last=span.last)
        else:
            after.append(span)
    return tuple(after)
