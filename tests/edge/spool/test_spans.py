"""Spans are a set of places with an hour each, however they came to be."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge.spool.records import Acknowledgement, Depth
from edge.spool.spans import REMOVED, Run, Span, Spans, kept, remove, reopen, runs, settle, waiting
from edge.spool.state import Segment, State, acknowledged_runs, renumbered

LAST = 30
PLACES = st.integers(1, LAST)
RUNS = st.tuples(PLACES, PLACES).map(lambda ends: Run(min(ends), max(ends)))
STEPS = st.lists(st.tuples(st.sampled_from(["settle", "remove", "reopen"]), RUNS, st.integers(1, 3)), max_size=12)


def covered(spans: Spans) -> dict[int, int]:
    return {place: span.hour for span in spans for place in range(span.first, span.last + 1)}


def played(steps: list[tuple[str, Run, int]]) -> tuple[Spans, dict[int, int]]:
    """The spans after the steps, and what a plain dictionary makes of them."""
    spans: Spans = ()
    model: dict[int, int] = {}
    for step, run, hour in steps:
        places = range(run.first, run.last + 1)
        if step == "settle":
            spans, fresh = settle(spans, [run], hour)
            assert [place for part in fresh for place in range(part.first, part.last + 1)] == [
                place for place in places if place not in model
            ]
            model |= {place: hour for place in places if place not in model}
        elif step == "remove":
            spans = remove(spans, run)
            model |= {place: REMOVED for place in places if place in model}
        else:
            spans = reopen(spans, run)
            model = {place: h for place, h in model.items() if place not in places or h == REMOVED}
    return spans, model


@given(STEPS, RUNS)
def test_spans_are_what_a_dictionary_is(steps: list[tuple[str, Run, int]], asked: Run) -> None:
    spans, model = played(steps)
    assert covered(spans) == model
    places = range(asked.first, asked.last + 1)
    left = [place for run in waiting(spans, *asked) for place in range(run.first, run.last + 1)]
    assert left == [place for place in places if place not in model]
    old = [place for run in kept(spans, *asked) for place in range(run.first, run.last + 1)]
    assert old == [place for place in places if model.get(place, REMOVED) != REMOVED]


@given(STEPS)
def test_spans_are_as_few_as_they_can_be(steps: list[tuple[str, Run, int]]) -> None:
    spans, _ = played(steps)
    assert all(
        left.last < right.first and (left.last + 1 < right.first or left.hour != right.hour)
        for left, right in pairwise(spans)
    )


@given(st.lists(PLACES))
def test_runs_are_the_places(places: list[int]) -> None:
    found = runs(places)
    assert [place for run in found for place in range(run.first, run.last + 1)] == sorted(set(places))
    assert all(left.last + 1 < right.first for left, right in pairwise(found))


def state(spans: Spans, segments: tuple[Segment, ...] = (Segment(1, 7, 1),)) -> State:
    nothing = Depth(events=0, bytes=0, kept_events=0, kept_bytes=0)
    return State(segments=segments, spans=spans, next_place=LAST + 1, total=0, depth=nothing, mark=0, proven=True)


@given(STEPS, STEPS)
def test_what_waits_is_numbered_anew_without_holes_and_the_rest_stays(
    steps: list[tuple[str, Run, int]], later: list[tuple[str, Run, int]]
) -> None:
    before = state(played(steps)[0])
    after = state(before.spans, renumbered(before, 8))
    left = [place for run in waiting(before.spans, 1, LAST) for place in range(run.first, run.last + 1)]
    for place in range(1, LAST + 1):
        number = after.number(place)
        assert number == ((8, left.index(place) + 1) if place in left else before.number(place))
        assert [list(run) for run in after.places(number.boot, number.sequence, number.sequence)] == [[place, place]]
    assert after.number(LAST + 1) == (8, len(left) + 1)
    # Once more, later: numbers of the boots before stay.
    spans = played(steps + later)[0]
    again = state(spans, renumbered(state(spans, after.segments), 9))
    moved = {p for run in waiting(spans, 1, LAST) for p in range(run.first, run.last + 1) if after.number(p).boot == 8}
    for place in range(1, LAST + 1):
        assert (again.number(place).boot == 9) == (place in moved)
    assert again.number(LAST + 1) == (9, len(moved) + 1)


def test_an_acknowledgement_names_places_of_its_boot_only() -> None:
    two = state((), (Segment(1, 7, 1), Segment(11, 8, 1), Segment(21, 7, 11)))
    assert two.number(21) == (7, 11)
    assert acknowledged_runs(two, Acknowledgement(boot=7, up_to=12, also=(1, 14, 15, 99))) == [
        Run(1, 10), Run(21, 22), Run(24, 25),
    ]  # fmt: skip
    assert acknowledged_runs(two, Acknowledgement(boot=8, up_to=0, also=(0, -3, 3))) == [Run(13, 13)]
    assert acknowledged_runs(two, Acknowledgement(boot=9, up_to=5)) == []


def test_a_span_is_found_by_its_hour() -> None:
    assert settle((Span(1, 2, 5),), [Run(1, 4)], 6) == ((Span(1, 2, 5), Span(3, 4, 6)), [Run(3, 4)])
