from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from meter.export import streams
from meter.export.breaker import FAILURES_MAX
from meter.export.contract import (
    Absent,
    Barred,
    Delivered,
    Finding,
    Limits,
    Outcome,
    Refused,
    Retry,
    Uncertain,
    Untried,
)
from meter.export.http import Ends, Throttled, Unanswered, Unauthorised, Unsent, overtaken
from meter.export.streams import ask_each, one_by_one
from meter.model.errors import Broken
from meter.store.outbox import OutboxItem
from tests.export.clocks import VirtualClock

BARRED = Barred("answered 401", "check the key", status=401)
ONE, TWO = Limits(items_max=10), Limits(items_max=10, in_flight=2)


def items_of(*names: str) -> list[OutboxItem]:
    """`a1` is the batch 1 of the stream a."""
    return [
        OutboxItem(operator="o", target="t", operation="x", batch=name, key=name, payload=b"", stream=name[0])
        for name in names
    ]


async def test_every_item_has_its_outcome_in_its_place() -> None:
    async def send(item: OutboxItem) -> Outcome:
        return Delivered(f"remote-{item.key}")

    items = items_of("a1", "b1", "a2", "c1", "b2")
    assert await one_by_one(items, send, TWO) == [Delivered(f"remote-{item.key}") for item in items]
    assert await one_by_one([], send, TWO) == []


@pytest.mark.parametrize("outcome", [Refused("no"), Retry("busy"), Uncertain("timed out")])
async def test_a_stream_stops_at_what_is_not_delivered_and_the_others_go_on(outcome: Outcome) -> None:
    async def send(item: OutboxItem) -> Outcome:
        return outcome if item.key == "a2" else Delivered()

    found = await one_by_one(items_of("a1", "a2", "a3", "b1", "b2"), send, ONE)
    assert found == [Delivered(), outcome, Untried(), Delivered(), Delivered()]


async def test_streams_run_side_by_side_and_each_in_its_order() -> None:
    begun: list[str] = []
    both = asyncio.Barrier(2)

    async def send(item: OutboxItem) -> Outcome:
        begun.append(item.key)
        await both.wait()  # nobody goes on alone
        return Delivered()

    async with asyncio.timeout(60):
        assert await one_by_one(items_of("a1", "a2", "b1", "b2"), send, TWO) == [Delivered()] * 4
    assert [key for key in begun if key[0] == "a"] == ["a1", "a2"]
    assert sorted(begun[:2]) == ["a1", "b1"]


async def test_no_more_are_on_their_way_than_the_target_bears() -> None:
    running, most = 0, 0

    async def send(_item: OutboxItem) -> Outcome:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return Delivered()

    await one_by_one(items_of(*(f"{name}1" for name in "abcdefgh")), send, Limits(items_max=10, in_flight=3))
    assert most == 3


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Unsent("connection refused"), Retry("connection refused")),
        (Unanswered("reset"), Uncertain("reset")),
        (Throttled(9.0), Retry("not to be asked for another 9 s", after_s=9.0, throttled=True)),
        (KeyError("id"), Uncertain("KeyError: 'id'")),
        (Broken("it cannot be"), Uncertain("it cannot be")),
    ],
)
async def test_what_a_target_raises_is_an_outcome_of_its_item_alone(error: Exception, outcome: Outcome) -> None:
    async def send(item: OutboxItem) -> Outcome:
        if item.key == "b1":
            raise error
        return Delivered()

    assert await one_by_one(items_of("a1", "b1"), send, ONE) == [Delivered(), outcome]


async def test_a_target_that_is_down_is_not_tried_for_every_stream() -> None:
    async def send(_item: OutboxItem) -> Outcome:
        raise Unsent("connection refused")

    found = await one_by_one(items_of(*(f"{name}1" for name in "abcdefgh")), send, ONE)
    assert found == [Retry("connection refused")] * FAILURES_MAX + [Untried()] * (8 - FAILURES_MAX)


async def test_a_target_that_asks_for_time_gets_it_at_once() -> None:
    async def send(item: OutboxItem) -> Outcome:
        return Delivered() if item.key == "a1" else Retry("slow down", throttled=True)

    found = await one_by_one(items_of("a1", "b1", "c1"), send, ONE)
    assert found == [Delivered(), Retry("slow down", throttled=True), Untried()]


async def test_nothing_begins_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    monkeypatch.setattr(streams, "monotonic_s", clock)

    async def send(_item: OutboxItem) -> Outcome:
        clock.moment_s += streams.START_WITHIN_S
        return Delivered()

    found = await one_by_one(items_of("a1", "a2", "a3", "b1"), send, ONE)
    assert found == [Delivered(), Delivered(), Untried(), Untried()]


async def test_one_that_hangs_does_not_take_along_what_is_known_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "END_WITHIN_S", 0.2)

    async def send(item: OutboxItem) -> Outcome:
        if item.key == "b1":
            await asyncio.Event().wait()
        return Delivered()

    found = await one_by_one(items_of("a1", "a2", "b1", "b2"), send, TWO)
    assert found == [Delivered(), Delivered(), Uncertain("the time of the call was up"), Untried()]


@contextmanager
def told(is_overtaken: list[bool]) -> Iterator[None]:
    token = overtaken.set(lambda: is_overtaken[0])
    try:
        yield
    finally:
        overtaken.reset(token)


async def test_a_process_that_was_overtaken_begins_nothing_more() -> None:
    is_overtaken = [False]

    async def send(_item: OutboxItem) -> Outcome:
        is_overtaken[0] = True
        return Delivered()

    with told(is_overtaken):
        assert await one_by_one(items_of("a1", "a2", "b1"), send, ONE) == [Delivered(), Untried(), Untried()]


async def test_questions_have_their_findings_and_an_error_leaves_it_open() -> None:
    async def ask(item: OutboxItem) -> Finding:
        match item.key:
            case "a1":
                return Delivered("in_1")
            case "a2":
                return Absent()
            case "a3":
                raise Unsent("connection refused")
            case _:
                raise Throttled(9.0)

    found = await ask_each(items_of("a1", "a2", "a3", "a4", "a5"), ask, ONE)
    assert found == [Delivered("in_1"), Absent(), Uncertain("connection refused"), Untried(), Untried()]


async def test_whoever_is_not_let_in_tries_nothing_more() -> None:
    tried: list[str] = []

    async def refused(item: OutboxItem) -> Outcome:
        tried.append(item.key)
        raise Unauthorised("authorise the app anew")

    async def ask(item: OutboxItem) -> Finding:
        tried.append(item.key)
        raise Ends(BARRED)

    items = items_of("a1", "b1", "c1")
    closed = Barred("authorise the app anew", "authorise the app anew")
    assert await one_by_one(items, refused, ONE) == [closed, Untried(), Untried()]
    assert await ask_each(items, ask, ONE) == [BARRED, Untried(), Untried()]
    assert tried == ["a1", "a1"]
