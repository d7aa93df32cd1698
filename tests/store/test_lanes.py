"""The outbox as lanes see it, over a real database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from meter.store import lanes
from meter.store.due import WAIT_S_MAX
from meter.store.engine import Database
from meter.store.lanes import Change, OpenItem, busy_targets, due_heads, held_lanes, hold_lane, record
from meter.store.outbox import OutboxItem, add_items, revised
from meter.store.tables import outbox

OPERATOR = "northside"


def item(batch: str, *, stream: str = "") -> OutboxItem:
    made = OutboxItem(operator=OPERATOR, target="t", operation="x", batch=batch, key="", payload=b"", stream=stream)
    return revised(made, 0)


async def add(db: Database, *items: OutboxItem) -> None:
    async with db.begin() as conn:
        await add_items(conn, items)


async def heads(db: Database, *, items_max: int = 10) -> Sequence[OpenItem]:
    async with db.begin() as conn:
        return (await due_heads(conn, OPERATOR, "t", items_max=items_max)).items


async def batches(db: Database, *, items_max: int = 10) -> list[str]:
    return [one.item.batch for one in await heads(db, items_max=items_max)]


async def change(db: Database, *changes: Change) -> list[int]:
    async with db.begin() as conn:
        return sorted(made.id for made in await record(conn, OPERATOR, changes))


async def test_an_empty_lane_has_nothing_due(database: Database) -> None:
    async with database.begin() as conn:
        found = await due_heads(conn, OPERATOR, "t", items_max=10)
    assert (found.items, found.due_in_s) == ([], None)


async def test_a_stream_whose_head_waits_is_left_out_whole(database: Database) -> None:
    await add(database, item("a1", stream="a"), item("b1", stream="b"), item("a2", stream="a"), item("b2", stream="b"))
    await change(database, Change(id=1, state="uncertain", delay_s=30.0))
    assert await batches(database) == ["b1", "b2"]
    await change(database, Change(id=2, state="pending", delay_s=20.0))
    async with database.begin() as conn:
        found = await due_heads(conn, OPERATOR, "t", items_max=10)
    assert found.items == []
    assert found.due_in_s is not None
    assert 19 < found.due_in_s <= 20


async def test_an_orphan_is_seen_whenever_it_is_due(database: Database) -> None:
    await add(database, item("a"))
    await change(database, Change(id=1, state="sending", delay_s=30.0))
    assert await batches(database) == ["a"]


async def test_streams_share_a_call_and_the_longest_due_comes_first(database: Database) -> None:
    await add(database, *(item(f"a{n}", stream="a") for n in range(5)), item("b0", stream="b"), item("c0", stream="c"))
    assert await batches(database, items_max=2) == ["a0", "b0"]
    assert await batches(database, items_max=6) == ["a0", "a1", "b0", "c0"]
    await change(database, Change(id=1, state="pending"))  # it has had its turn
    assert await batches(database, items_max=2) == ["b0", "c0"]


async def test_a_change_is_made_only_in_the_state_that_it_was_decided_for(database: Database) -> None:
    await add(database, item("a"), item("b"))
    await change(database, Change(id=1, state="superseded"))
    claimed = [Change(id=id, was="pending", state="sending", attempt=1) for id in (1, 2)]
    assert await change(database, *claimed) == [2]


async def test_an_attempt_that_was_none_leaves_no_trace_but_never_hides_another(database: Database) -> None:
    await add(database, item("a"))
    await change(database, Change(id=1, state="sending", attempt=1))
    await change(database, Change(id=1, state="pending", attempt=-1))
    [untouched] = await heads(database)
    assert (untouched.attempts, untouched.sent_ago_s) == (0, None)
    for _ in range(2):
        await change(database, Change(id=1, state="sending", attempt=1))
    await change(database, Change(id=1, state="uncertain", attempt=-1))
    [kept] = await heads(database)
    assert kept.attempts == 1
    assert kept.sent_ago_s is not None


async def test_a_used_up_key_stays_so_until_the_item_goes_on_under_a_free_revision(database: Database) -> None:
    first = item("a")
    await add(database, first, revised(first, 1))
    await change(database, Change(id=1, state="sending", attempt=1))
    await change(database, Change(id=1, state="uncertain", burned=True))
    await change(database, Change(id=1, state="uncertain"))
    [burned, _] = await heads(database)
    assert burned.burned
    await change(database, Change(id=1, state="pending", renewed=True))
    [renewed, other] = await heads(database)
    assert renewed.item == revised(first, 2)
    assert (renewed.burned, renewed.sent_ago_s, other.item.key) == (False, None, revised(first, 1).key)


async def test_the_newest_delivered_item_of_a_batch_is_known_to_the_next(database: Database) -> None:
    first = item("a")
    await add(database, first, item("b"))
    await change(database, Change(id=1, state="delivered", remote_id="ii_1"), Change(id=2, state="delivered"))
    await add(database, revised(first, 1), revised(item("b"), 1))
    assert [one.item.known_id for one in await heads(database)] == ["ii_1", None]


async def test_the_heads_are_found_along_the_index(database: Database) -> None:
    """However long the streams are: what is behind a head is read only as far as there is room."""
    await add(database, *(item(f"{stream}{n}", stream=stream) for stream in "abc" for n in range(1000)))
    async with database.begin() as conn:
        await conn.execute(text("ANALYZE outbox"))
        explained = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {lanes._HEADS.text}")
        [plan] = (await conn.execute(explained, {"operator": OPERATOR, "target": "t", "items_max": 10})).scalars()
    scans = list(scans_of(plan[0]["Plan"]))
    assert {scan["Node Type"] for scan in scans} <= {"Index Scan", "Index Only Scan"}
    assert sum(scan["Actual Rows"] * scan["Actual Loops"] for scan in scans) < 50


def scans_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if node.get("Relation Name") == "outbox":
        yield node
    for child in node.get("Plans", ()):
        yield from scans_of(child)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("answered 502: \0\x1b[2J", "answered 502: \ufffd\ufffd[2J"),
        ("half of a pair \ud800", "half of a pair \ufffd"),
        ("two\r\nlines", "two  lines"),
        ("".join(chr(0x4E00 + n) for n in range(9000)), "".join(chr(0x4E00 + n) for n in range(500))),
    ],
)
async def test_whatever_a_target_says_is_recorded(database: Database, said: str, kept: str) -> None:
    await add(database, item("a"), item("b"), replace(item("c"), dead_because=said))
    given = Change(id=1, state="delivered", remote_id=said), Change(id=2, state="uncertain", fault=said)
    assert await change(database, *given) == [1, 2]
    async with database.begin() as conn:
        await hold_lane(conn, OPERATOR, "t", held_s=1.0, down=True, fault=said)
        [lane] = await held_lanes(conn, OPERATOR)
        rows = await conn.execute(text("SELECT coalesce(remote_id, fault) FROM outbox ORDER BY id"))
        assert [*rows.scalars(), lane.fault] == [kept] * 4


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=1)])
async def test_what_waits_does_not_wait_for_a_clock_that_was_set_back(database: Database, back: timedelta) -> None:
    await add(database, item("a"), item("b", stream="b"))
    await change(database, Change(id=1, state="pending", delay_s=30.0))
    async with database.begin() as conn:
        await conn.execute(outbox.update().values(due_at=outbox.c.due_at + back))
        assert await busy_targets(conn, OPERATOR, ["t"]) == {"t"}
    assert await batches(database) == ["b", "a"]


async def test_nothing_is_told_to_wait_for_longer_than_shows_a_clock_that_was_set_back(database: Database) -> None:
    await add(database, item("a"))
    await change(database, Change(id=1, state="pending", delay_s=86_400.0))
    async with database.begin() as conn:
        found = await due_heads(conn, OPERATOR, "t", items_max=10)
    assert found.items == []
    assert found.due_in_s is not None
    assert WAIT_S_MAX - 10 < found.due_in_s <= WAIT_S_MAX
