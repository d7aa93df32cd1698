"""A revoked agent bills nothing, is told nothing, and loses nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from meter.ingest.arrival import Arrival, Channel, Outcome
from meter.ingest.retry import retry_rejection
from meter.ingest.setups import Sources
from meter.model.wire import read_event
from meter.store import edge_revocations, enrolment
from meter.store.edge_revocations import Agent, revocations
from meter.store.edge_states import list_edges, site_edges
from meter.store.edges import edge_marks, site_marks
from meter.store.rejections import list_rejections
from tests.booking.closes import heartbeat
from tests.booking.space import Space, open_space, pages

AGENT = Agent("berlin", "edge-1")
TOPIC = "spaces/berlin/edge/edge-1"


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url) as opened:
        yield opened


def marked(number: int, edge: str | None = "edge-1") -> bytes:
    envelope = json.loads(pages(f"p-{number}", "02T09:00", 1))
    return json.dumps(envelope | ({"edge": edge, "boot": 1, "sequence": number} if edge else {})).encode()


def asking(space: Space, sequence: int) -> bytes:
    envelope = json.loads(heartbeat(space.now, sequence=sequence))
    envelope["data"]["asked"] = "then"
    return json.dumps(envelope).encode()


async def accept(
    space: Space, bodies: Sequence[bytes], *, channel: Channel = "mqtt", origin: str = TOPIC, **more: Any
) -> Outcome:
    arrivals = [
        Arrival(parsed=read_event(body), channel=channel, origin=origin, received_at=space.now, site="berlin", **more)
        for body in bodies
    ]
    return await space._acceptor.accept(arrivals)


async def revoke(space: Space) -> None:
    async with space.database.begin() as conn:
        await enrolment.revoke_agent(conn, "northside", AGENT, reason="stolen", by="test", at=space.now)


async def enrol_again(space: Space) -> None:
    async with space.database.begin() as conn:
        await edge_revocations.lift(conn, "northside", AGENT, at=space.now)


async def counted(space: Space) -> tuple[int, int]:
    async with space.database.begin() as conn:
        found = (await revocations(conn, "northside"))[AGENT]
    return found.refused, found.kept


async def stored(space: Space) -> int:
    async with space.database.begin() as conn:
        number: int = (await conn.exec_driver_sql("SELECT count(*) FROM events WHERE type = 'print.job'")).scalar_one()
        return number


async def test_a_revoked_agent_is_refused_kept_and_told_nothing(space: Space) -> None:
    await accept(space, [marked(1)])
    await revoke(space)
    for _ in range(2):
        outcome = await accept(space, [marked(2), marked(3), asking(space, 4)])
        assert [(one.status, one.code, one.unmarked) for one in outcome.receipts] == [
            ("rejected", "edge_revoked", True)
        ] * 3
        assert (outcome.progress, outcome.questions) == ([], [])
    assert await stored(space) == 1
    assert await counted(space) == (4, 2)
    async with space.database.begin() as conn:
        kept = await list_rejections(conn, "northside", code="edge_revoked")
        (state,) = await list_edges(conn, "northside")
    assert {(one.body, one.count) for one in kept} == {(marked(3), 2), (marked(2), 2)}
    assert (state.marks.up_to, state.heartbeat_at) == (1, None)


async def test_another_agent_of_the_same_batch_is_heard(space: Space) -> None:
    await accept(space, [marked(1)])
    await revoke(space)
    outcome = await accept(space, [marked(2), marked(1, "edge-2")], channel="http", origin="test")
    assert [one.code for one in outcome.receipts] == ["edge_revoked", None]
    assert [(one.edge, one.up_to) for one in outcome.progress] == [("edge-2", 1)]


@pytest.mark.parametrize("edge", [None, "edge-2"])
async def test_the_topic_of_a_revoked_agent_is_refused_whatever_it_says_of_itself(
    space: Space, edge: str | None
) -> None:
    await accept(space, [marked(1)])
    await revoke(space)
    outcome = await accept(space, [marked(2, edge)])
    assert [one.code for one in outcome.receipts] == ["edge_revoked"]
    assert outcome.progress == []


async def test_what_a_mistake_held_back_comes_once_it_is_enrolled_again(space: Space) -> None:
    await accept(space, [marked(1)])
    await revoke(space)
    await accept(space, [marked(2), marked(3)])
    await enrol_again(space)
    outcome = await accept(space, [marked(2), marked(3)])
    assert [one.status for one in outcome.receipts] == ["accepted"] * 2
    assert [(one.edge, one.up_to) for one in outcome.progress] == [("edge-1", 3)]


async def test_a_flood_is_kept_up_to_a_bound_only(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_revocations, "KEPT_MAX", 3)
    await accept(space, [marked(1)])
    await revoke(space)
    for first in (2, 4, 6):
        await accept(space, [marked(first), marked(first + 1)])
    assert await counted(space) == (6, 3)
    async with space.database.begin() as conn:
        assert len(await list_rejections(conn, "northside")) == 3


async def test_a_person_may_bill_what_a_stolen_machine_held(space: Space) -> None:
    await accept(space, [marked(1)])
    await revoke(space)
    await accept(space, [marked(2)])
    async with space.database.begin() as conn:
        (kept,) = await list_rejections(conn, "northside", code="edge_revoked")
    (receipt,) = await retry_rejection(space.database, space._acceptor, "northside", kept.id, sources=Sources({}))
    assert receipt.status == "accepted"
    assert await stored(space) == 2
    async with space.database.begin() as conn:
        (state,) = await list_edges(conn, "northside")
    assert state.marks.up_to == 1
    await enrol_again(space)
    outcome = await accept(space, [marked(2)])
    assert [one.status for one in outcome.receipts] == ["duplicate"]


async def test_no_closing_waits_for_a_revoked_agent(space: Space) -> None:
    await space.accept(
        [heartbeat(space.now - timedelta(days=30), sequence=1), heartbeat(space.now, "edge-2", sequence=1)]
    )
    await revoke(space)
    await accept(space, [asking(space, 2)])
    async with space.database.begin() as conn:
        assert await site_marks(conn, "northside") == {"berlin": space.now}
        assert await edge_marks(conn, "northside", ["berlin"]) == {"berlin": {"edge-2": space.now}}
        (site,) = await site_edges(conn, "northside")
        assert site.heard_at == space.now
        assert [
            one.offline_since(space.now + timedelta(days=9), after=timedelta(0))
            for one in await list_edges(conn, "northside", edge="edge-1")
        ] == [None]
    await enrol_again(space)
    async with space.database.begin() as conn:
        assert await site_marks(conn, "northside") == {"berlin": space.now - timedelta(days=30)}
