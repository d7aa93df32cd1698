from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from meter.store.edges import Heartbeat, advance, heed, holes

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


_NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@given(st.permutations(range(1, 13)), st.sets(st.integers(1, 12), min_size=1), st.integers(1, 5))
def test_a_heartbeat_counts_when_all_below_it_has_arrived(order: list[int], beats: set[int], batch: int) -> None:
    """Whatever the order and the batches: never a mark too far, and in the end the last one."""
    up_to, also, mark, waiting = 0, list[int](), None, None
    for start in range(0, len(order), batch):
        arrived = order[start : start + batch]
        up_to, also = advance(up_to, also, arrived)
        heard = [Heartbeat(n, _NOON + timedelta(minutes=n)) for n in arrived if n in beats]
        counted, waiting = heed(up_to, heard if waiting is None else [*heard, waiting])
        mark = max((until for until in (mark, counted) if until is not None), default=None)
        whole = [n for n in beats if set(range(1, n + 1)) <= set(order[: start + batch])]
        assert mark is None or mark <= _NOON + timedelta(minutes=max(whole))
    assert (mark, waiting) == (_NOON + timedelta(minutes=max(beats)), None)


def test_a_heartbeat_without_a_sequence_counts_at_once() -> None:
    assert heed(0, [Heartbeat(None, _NOON)]) == (_NOON, None)
