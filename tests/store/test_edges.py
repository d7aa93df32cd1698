"""How far agents have come: what they may forget, what that completes, and what an older version left."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text, update

from meter.store.edge_states import EdgeState, list_edges
from meter.store.edges import EdgeProgress, EdgeReport, Heartbeat, heed, record_progress
from meter.store.engine import Database
from meter.store.marks import RANGES_MAX, TOLD_MAX, Marks, Range, advance
from meter.store.tables import edges

_NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@given(st.permutations(range(1, 13)), st.sets(st.integers(1, 12), min_size=1), st.integers(1, 5))
def test_a_heartbeat_counts_when_all_below_it_has_arrived(order: list[int], beats: set[int], batch: int) -> None:
    """Whatever the order and the batches: never a mark too far, and in the end the last one."""
    marks, mark, waiting = Marks(), None, None
    for start in range(0, len(order), batch):
        arrived = order[start : start + batch]
        marks = advance(marks, arrived)
        heard = [Heartbeat(n, _NOON + timedelta(minutes=n)) for n in arrived if n in beats]
        counted, waiting = heed(marks.up_to, heard if waiting is None else [*heard, waiting])
        mark = max((until for until in (mark, counted) if until is not None), default=None)
        whole = [n for n in beats if set(range(1, n + 1)) <= set(order[: start + batch])]
        assert mark is None or mark <= _NOON + timedelta(minutes=max(whole))
    assert (mark, waiting) == (_NOON + timedelta(minutes=max(beats)), None)


def test_a_heartbeat_without_a_sequence_counts_at_once() -> None:
    assert heed(0, [Heartbeat(None, _NOON)]) == (_NOON, None)


async def record(database: Database, sequences: Iterable[int], *heartbeats: Heartbeat) -> EdgeProgress:
    report = EdgeReport(site="berlin", edge="pi", boot=3, sequences=set(sequences), heartbeats=list(heartbeats))
    async with database.begin() as connection:
        (progress,) = await record_progress(connection, "northside", [report], at=_NOON)
    return progress


async def state(database: Database) -> EdgeState:
    async with database.begin() as connection:
        (found,) = await list_edges(connection, "northside")
    return found


async def test_fresh_events_far_ahead_of_a_backlog_are_marked_for_good(database: Database) -> None:
    """An agent that was away for days sends what is fresh beside what is old, and a heartbeat after it."""
    backlog, last = 10_000, 16_000
    told = set[int]()
    for first in range(backlog + 1, last, 500):
        told |= set((await record(database, range(first, first + 500), Heartbeat(last, _NOON))).also)
    assert told == set(range(backlog + 1, last + 1))
    row = await state(database)
    assert (row.marks.beyond, row.complete_until) == ((Range(backlog + 1, last),), None)
    for first in range(1, backlog, 500):
        await record(database, range(first, first + 500))
    progress = await record(database, [backlog])
    assert (progress.up_to, progress.also) == (last, ())
    assert (await state(database)).complete_until == _NOON


async def test_an_agent_is_told_all_while_it_is_little_and_else_what_came(database: Database) -> None:
    assert (await record(database, range(2, 2 + TOLD_MAX))).also == tuple(range(2, 2 + TOLD_MAX))
    assert (await record(database, [300, 2])).also == (2, 300)
    assert (await record(database, [300])).also == (300,)
    assert (await record(database, [1])).also == (300,)


async def test_of_more_ranges_than_are_kept_nobody_is_told(database: Database) -> None:
    scattered = range(3, 3 + 2 * RANGES_MAX, 2)
    for start in range(0, RANGES_MAX, 1_024):
        assert (await record(database, scattered[start : start + 1_024])).unmarked == frozenset()
    beyond = await record(database, [scattered[0], scattered[-1] + 2, scattered[-1] + 1])
    assert (beyond.unmarked, len(beyond.also)) == (frozenset(), 3), "it grows a range that is kept"
    refused = await record(database, [scattered[-1] + 9])
    assert (refused.unmarked, refused.also) == (frozenset({scattered[-1] + 9}), ())
    assert (await record(database, [4])).unmarked == frozenset()
    assert (await record(database, [scattered[-1] + 9])).unmarked == frozenset()


async def test_what_the_version_before_kept_is_taken_over(database: Database) -> None:
    """It serves on beside this one and writes single sequences, of which it has told its agents."""
    await record(database, [1, 5, 6])
    async with database.begin() as connection:
        await connection.execute(update(edges).values(also=[3, 6, 9]))
    assert (await state(database)).marks.beyond == (Range(3, 3), Range(5, 6), Range(9, 9))
    assert (await record(database, [2])).also == (5, 6, 9)
    async with database.begin() as connection:
        kept = (await connection.execute(text("SELECT up_to, also, beyond FROM edges"))).one()
    assert tuple(kept) == (3, [], [5, 6, 9, 9])
