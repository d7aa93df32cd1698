from hypothesis import given
from hypothesis import strategies as st

from meter.store.edges import advance, holes

_SEQUENCES = st.lists(st.integers(1, 30), max_size=40)


@given(st.lists(_SEQUENCES, max_size=5))
def test_progress_is_the_set_of_what_arrived_however_it_was_cut(batches: list[list[int]]) -> None:
    up_to, also = 0, list[int]()
    for batch in batches:
        up_to, also = advance(up_to, also, batch)
    arrived = {sequence for batch in batches for sequence in batch}
    assert set(range(1, up_to + 1)) | set(also) == arrived
    assert up_to + 1 not in arrived
    assert also == sorted(also)


@given(_SEQUENCES)
def test_holes_are_what_is_missing_below_the_last(arrived: list[int]) -> None:
    up_to, also = advance(0, [], arrived)
    missing = {sequence for first, last in holes(up_to, also) for sequence in range(first, last + 1)}
    assert missing == set(range(1, max(arrived, default=0) + 1)) - set(arrived)
