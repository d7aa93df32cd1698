"""What is stored of an agent's boot, as ranges: a set, however it came, and never less than what was told."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from meter.store.marks import Marks, Range, advance, joined, marks_of, told

_SEQUENCES = st.lists(st.integers(1, 30), max_size=40)
_SCARCE = st.integers(1, 4)


def members(marks: Marks) -> set[int]:
    return {*range(1, marks.up_to + 1), *(n for item in marks.beyond for n in range(item.first, item.last + 1))}


@given(st.lists(_SEQUENCES, max_size=5))
def test_marks_are_the_set_of_what_arrived_however_it_was_cut(batches: list[list[int]]) -> None:
    marks = Marks()
    for batch in batches:
        marks = advance(marks, batch)
    arrived = {sequence for batch in batches for sequence in batch}
    assert members(marks) == arrived == {sequence for sequence in range(40) if sequence in marks} - {0}
    assert marks == joined(Marks(), arrived) == marks_of(marks.up_to, marks.bounds)
    assert marks.last == max(arrived, default=0)
    known = (Range(1, marks.up_to), *marks.beyond)
    assert all(left.last + 1 < right.first for left, right in pairwise(known))


@given(_SEQUENCES)
def test_holes_are_what_is_missing_below_the_last(arrived: list[int]) -> None:
    marks = advance(Marks(), arrived)
    missing = {sequence for first, last in marks.holes for sequence in range(first, last + 1)}
    assert missing == set(range(1, max(arrived, default=0) + 1)) - set(arrived)


@given(st.lists(_SEQUENCES, max_size=8), _SCARCE)
def test_what_is_marked_stays_marked_and_the_lowest_missing_finds_its_place(
    batches: list[list[int]], ranges_max: int
) -> None:
    marks = Marks()
    for batch in batches:
        before, marks = marks, advance(marks, batch, ranges_max=ranges_max)
        assert members(before) <= members(marks) <= members(before) | set(batch)
        assert len(marks.beyond) <= ranges_max
        if before.up_to + 1 in batch:
            assert marks.up_to > before.up_to
        left = set(batch) - members(marks)
        assert not left or len(marks.beyond) == ranges_max, "there was room for what was left out"
        fresh = [item.first for item in marks.beyond if not members(before) & set(range(item.first, item.last + 1))]
        assert not left or not fresh or max(fresh) < min(left), "the lowest are kept"


@given(st.lists(st.integers(1, 60), max_size=40, unique=True), _SEQUENCES, _SCARCE)
def test_more_ranges_than_are_kept_give_way_to_nothing(kept: list[int], arrived: list[int], ranges_max: int) -> None:
    """An earlier version kept single sequences, thousands of them, and agents were told of each."""
    before = joined(Marks(), kept)
    assert members(before) <= members(advance(before, arrived, ranges_max=ranges_max))


@dataclass(kw_only=True)
class Agent:
    """What an agent still holds, by what it was told; and the gateway, of which it hears by messages only."""

    last: int
    ranges_max: int
    told_max: int
    marks: Marks = field(default_factory=Marks)
    held: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.held = set(range(1, self.last + 1))

    def send(self, batch: set[int], *, heard: bool) -> None:
        """Send a batch; the acknowledgement arrives, or is lost."""
        batch &= self.held
        self.marks = advance(self.marks, batch, ranges_max=self.ranges_max)
        beyond = told(self.marks, batch, told_max=self.told_max)
        assert len(beyond) <= max(self.told_max, len(batch)), "the message grows with what was not sent"
        let_go = {*range(1, self.marks.up_to + 1), *beyond}
        assert let_go <= members(self.marks), "told of what is not stored"
        if heard:
            self.held -= let_go
        assert set(range(1, self.last + 1)) <= self.held | members(self.marks), "let go and forgotten"


@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.sets(st.integers(1, 40), max_size=12), st.booleans()), max_size=25),
    st.tuples(_SCARCE, st.integers(0, 5)),
    st.tuples(st.integers(1, 5), st.integers(0, 5)),
)
def test_whatever_is_lost_on_the_way_everything_is_acknowledged_in_the_end(
    last: int, sent: list[tuple[set[int], bool]], scarce: tuple[int, int], window: tuple[int, int]
) -> None:
    """Any order, repetition, cut, lost acknowledgement; then an agent that sends its oldest and some of its newest."""
    agent = Agent(last=last, ranges_max=scarce[0], told_max=scarce[1])
    oldest, newest = window
    for batch, heard in sent:
        agent.send(set(batch), heard=heard)
    for _ in range(2 * last):
        held = sorted(agent.held)
        agent.send({*held[:oldest], *held[len(held) - min(newest, len(held)) :]}, heard=True)
    assert agent.held == set()
    assert agent.marks == Marks(up_to=last)


def test_what_is_told_is_all_while_it_is_little_and_else_what_came() -> None:
    marks = joined(Marks(), [1, 2, *range(10, 20)])
    assert told(marks, [12], told_max=10) == tuple(range(10, 20))
    assert told(marks, [15, 12, 2, 30, 12], told_max=9) == (12, 15)
