from __future__ import annotations

import pytest
import pytest_asyncio

from meter.model.errors import BadInput
from meter.store.deliveries import backlogs, list_deliveries, retry_dead, show_delivery
from meter.store.engine import Database
from meter.store.lanes import Change, due_heads, record
from meter.store.outbox import FAULT_CHARS_MAX, OutboxItem, add_items
from tests.owning import as_owner


def item(key: str, *, operator: str = "northside", target: str = "ledger") -> OutboxItem:
    return OutboxItem(
        operator=operator, target=target, operation="journal", batch=f"batch-{key}", key=key, payload=b"\x00payload"
    )


@pytest_asyncio.fixture
async def db(database: Database) -> Database:
    async with as_owner(database) as conn:
        await add_items(
            conn, [item("a"), item("b"), item("x", target="xero"), item("c"), item("s", operator="southside")]
        )
    return database


async def ids(db: Database, target: str = "ledger") -> list[int]:
    async with db.begin() as conn:
        return [one.id for one in (await due_heads(conn, "northside", target, items_max=10)).items]


async def test_a_lane_reads_its_own_open_items_in_order(db: Database) -> None:
    async with db.begin() as conn:
        found = (await due_heads(conn, "northside", "ledger", items_max=2)).items
    assert [one.item for one in found] == [item("a"), item("b")]
    assert all(one.state == "pending" and one.attempts == 0 and one.due_in_s <= 0 for one in found)


async def test_settled_items_leave_the_lane_and_waiting_ones_stay(db: Database) -> None:
    a, b, c = await ids(db)
    async with db.begin() as conn:
        await record(
            conn,
            "northside",
            [
                Change(id=a, state="delivered", remote_id="in_1"),
                Change(id=b, state="pending", delay_s=30.0, fault="x" * 9999),
                Change(id=c, state="dead", fault="refused"),
            ],
        )
        waiting = await due_heads(conn, "northside", "ledger", items_max=10)
        shown = await show_delivery(conn, "northside", b)
    assert waiting.items == []
    assert waiting.due_in_s is not None
    assert 29 < waiting.due_in_s <= 30
    assert shown.fault == "x" * FAULT_CHARS_MAX
    assert (shown.payload, shown.first_sent_at, shown.delivered_at) == (b"\x00payload", None, None)


async def test_attempts_are_counted_and_the_first_is_remembered(db: Database) -> None:
    [a, *_] = await ids(db)
    async with db.begin() as conn:
        await record(conn, "northside", [Change(id=a, state="sending", attempt=1)])
        first = (await show_delivery(conn, "northside", a)).first_sent_at
        await record(conn, "northside", [Change(id=a, state="pending")])
        await record(conn, "northside", [Change(id=a, state="sending", attempt=1)])
        again = await show_delivery(conn, "northside", a)
    assert first is not None
    assert (again.attempts, again.first_sent_at) == (2, first)


async def test_the_backlog_of_each_target(db: Database) -> None:
    [a, *_] = await ids(db)
    async with db.begin() as conn:
        await record(conn, "northside", [Change(id=a, state="delivered")])
        found = await backlogs(conn, "northside")
    assert [(backlog.target, backlog.items) for backlog in found] == [("ledger", 2), ("xero", 1)]
    assert all(backlog.oldest_s >= 0 for backlog in found)


async def test_the_list_is_newest_first_and_can_be_narrowed(db: Database) -> None:
    a, b, c = await ids(db)
    async with db.begin() as conn:
        await record(conn, "northside", [Change(id=b, state="dead", fault="refused")])
        everything = await list_deliveries(conn, "northside", deliveries_max=10)
        assert [one.key for one in everything] == ["c", "x", "b", "a"]
        assert all(one.payload is None for one in everything)
        ledger = await list_deliveries(conn, "northside", target="ledger", before=c, deliveries_max=1)
        dead = await list_deliveries(conn, "northside", state="dead", deliveries_max=10)
    assert [one.id for one in ledger] == [b]
    assert [(one.id, one.fault) for one in dead] == [(b, "refused")]
    assert a < b < c


async def test_only_what_is_dead_is_sent_again_by_hand_and_only_once(db: Database) -> None:
    [a, *_] = await ids(db)
    async with db.begin() as conn:
        with pytest.raises(BadInput, match=f"delivery {a} is pending"):
            await retry_dead(conn, "northside", [a], by="command line")
        await record(conn, "northside", [Change(id=a, state="dead", fault="refused")])
        retried = await retry_dead(conn, "northside", [a], by="command line")
        [made] = retried.made
        revised = await show_delivery(conn, "northside", made)
        assert (revised.batch, revised.revision, revised.state, revised.payload) == (
            "batch-a",
            1,
            "pending",
            b"\x00payload",
        )
        with pytest.raises(BadInput, match=f"delivery {a} is superseded"):
            await retry_dead(conn, "northside", [a], by="command line")
        assert (await due_heads(conn, "northside", "ledger", items_max=10)).items[-1].id == revised.id


async def test_another_operators_deliveries_are_not_there(db: Database) -> None:
    async with as_owner(db) as conn:
        [foreign] = await list_deliveries(conn, "southside", deliveries_max=10)
        for read in (
            show_delivery(conn, "northside", foreign.id),
            retry_dead(conn, "northside", [foreign.id], by="command line"),
        ):
            with pytest.raises(BadInput, match="there is no delivery") as raised:
                await read
            assert raised.value.code == "not_found"
