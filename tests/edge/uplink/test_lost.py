"""What a gateway lost: exactly what it told and does not hold, whatever the shapes."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from edge.spool.spans import Run, runs
from edge.uplink.lost import RUNS_MAX, Held, lost

sequences = st.sets(st.integers(1, 40))


def held(stored: Iterable[int], up_to: int = 0) -> Held:
    return Held(boot=1, up_to=up_to, beyond=[(first, last) for first, last in runs(stored)])


def flat(found: Iterable[Run]) -> list[int]:
    return [sequence for first, last in found for sequence in range(first, last + 1)]


@given(told=sequences, stored=sequences, up_to=st.integers(0, 40))
def test_it_is_the_difference(told: set[int], stored: set[int], up_to: int) -> None:
    found = lost(runs(told), held(stored, up_to))
    assert flat(found) == sorted(told - stored - set(range(1, up_to + 1)))


@given(told=sequences, later=sequences)
def test_a_gateway_of_one_history_has_lost_nothing(told: set[int], later: set[int]) -> None:
    """It holds what it told of, and whatever came since, of which the agent may have heard or not."""
    assert lost(runs(told), held(told | later)) == []


def test_stretches_of_several_hours_are_one() -> None:
    assert lost([Run(1, 10), Run(11, 20), Run(22, 30)], held((), up_to=5)) == [Run(6, 20), Run(22, 30)]


def test_there_are_never_too_many() -> None:
    """What lies between the last ones comes along: it is stored there already, and a duplicate costs nothing."""
    told = [Run(number, number) for number in range(1, 10 * RUNS_MAX, 2)]
    found = lost(told, held(()))
    assert len(found) == RUNS_MAX
    assert set(flat(told)) <= set(flat(found))
    assert found[0] == Run(1, 1)
