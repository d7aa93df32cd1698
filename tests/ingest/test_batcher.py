import asyncio
from collections.abc import Sequence

import pytest

from meter.ingest.arrival import Arrival, Outcome, Receipt
from meter.ingest.batcher import BATCH_EVENTS_MAX, COMMITS_MAX, Batcher, QueueFull
from meter.model.errors import Unavailable
from tests.ingest.bodies import arrival
from tests.ingest.gateway import until


class Store:
    """Accepts when told to; remembers every batch, and how many were under way at once."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.busy = self.busiest = 0
        self.faults: list[Exception] = []
        self.ready = asyncio.Event()
        self.ready.set()

    async def accept(self, arrivals: Sequence[Arrival]) -> Outcome:
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await self.ready.wait()
            if self.faults:
                raise self.faults.pop()
            self.batches.append(len(arrivals))
            receipts = [Receipt(id=item.parsed.id, source=None, status="accepted") for item in arrivals]
            return Outcome(receipts=receipts)
        finally:
            self.busy -= 1


def some(count: int, start: int = 0) -> list[Arrival]:
    return [arrival(id=f"e-{start + n}") for n in range(count)]


async def test_each_caller_gets_its_own_receipts_in_order() -> None:
    store = Store()
    batcher = Batcher(store.accept)
    running = asyncio.create_task(batcher.run())
    sizes = [1, 0, 3, BATCH_EVENTS_MAX * 2 + 7, 1, 499]
    groups = [some(size, start=10_000 * index) for index, size in enumerate(sizes)]
    answers = await asyncio.gather(*(batcher.receive(group) for group in groups))
    for group, receipts in zip(groups, answers, strict=True):
        assert [receipt.id for receipt in receipts] == [item.parsed.id for item in group]
    assert max(store.batches) <= BATCH_EVENTS_MAX
    assert sum(store.batches) == sum(sizes)
    batcher.stop()
    await running


async def test_full_batches_form_behind_a_slow_store_with_few_commits_at_once() -> None:
    store = Store()
    store.ready.clear()
    batcher = Batcher(store.accept)
    running = asyncio.create_task(batcher.run())
    waiting = [asyncio.create_task(batcher.receive(some(1, start=n))) for n in range(3 * BATCH_EVENTS_MAX)]
    await until(lambda: store.busy == COMMITS_MAX)
    store.ready.set()
    await asyncio.gather(*waiting)
    assert store.busiest == COMMITS_MAX
    assert len(store.batches) <= 5
    batcher.stop()
    await running


async def test_a_full_queue_says_so_and_says_when_there_is_room() -> None:
    store = Store()
    store.ready.clear()
    batcher = Batcher(store.accept, queue_events_max=10)
    room = asyncio.Event()
    batcher.on_room.append(room.set)
    running = asyncio.create_task(batcher.run())
    full = []
    for count in (9, 5):
        batcher.submit(some(count), lambda _: None)
        full.append(batcher.full)
    assert full == [False, True]
    with pytest.raises(QueueFull):
        batcher.submit(some(1), lambda _: None)
    store.ready.set()
    await asyncio.wait_for(room.wait(), 10)
    assert not batcher.full
    batcher.stop()
    await running
    assert sum(store.batches) == 14


async def test_bytes_are_bounded_too() -> None:
    batcher = Batcher(Store().accept, queue_bytes_max=100)
    batcher.submit(some(1), lambda _: None)
    assert batcher.full


async def test_what_is_unavailable_is_tried_again_and_nobody_hears_of_it() -> None:
    store = Store()
    store.faults = [Unavailable("gone"), RuntimeError("a fault of ours")]
    batcher = Batcher(store.accept)
    running = asyncio.create_task(batcher.run())
    (receipt,) = await asyncio.wait_for(batcher.receive(some(1)), 10)
    assert receipt.status == "accepted"
    assert store.faults == []
    batcher.stop()
    await running


async def test_stopping_writes_what_is_queued_and_takes_no_more() -> None:
    store = Store()
    batcher = Batcher(store.accept)
    told: list[int] = []
    batcher.submit(some(1200), lambda receipts: told.append(len(receipts)))
    batcher.stop()
    with pytest.raises(QueueFull):
        batcher.submit(some(1), lambda _: None)
    await batcher.run()
    assert told == [1200]


async def test_one_callers_fault_does_not_reach_the_others() -> None:
    batcher = Batcher(Store().accept)
    told: list[int] = []

    def fail(_receipts: Sequence[Receipt]) -> None:
        raise RuntimeError("a caller's own")

    batcher.submit(some(1), fail)
    batcher.submit(some(2), lambda receipts: told.append(len(receipts)))
    batcher.stop()
    await batcher.run()
    assert told == [2]
