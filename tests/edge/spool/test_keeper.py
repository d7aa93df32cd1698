"""Whoever waits is committed together, each stands or falls by itself, and nothing waits for company."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge import failpoints
from edge.spool import jobs
from edge.spool.errors import Full, SpoolFailed
from edge.spool.keeper import Keeper
from edge.spool.records import BODY_BYTES_MAX, PUT_EVENTS_MAX, Bounds, Item, Measurement, Place, Stretch
from edge.spool.spans import Run
from meter.model.errors import BadInput, Unavailable
from tests.edge.clocks import START, VirtualClock
from tests.edge.spool.making import HEARD, SMALL, ids, item, items, open_spool, rows


@asynccontextmanager
async def kept(directory: Path, *, bounds: Bounds = SMALL, clock: VirtualClock | None = None) -> AsyncIterator[Keeper]:
    async with Keeper(open_spool(directory, bounds=bounds, clock=clock)) as keeper:
        yield keeper


class Gate:
    """Holds the writing thread when it has committed, until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.open.wait(60)

    async def held(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.reached.wait, 60)


@contextmanager
def gate() -> Iterator[Gate]:
    gate = Gate()
    failpoints.arm("after_commit_before_told", gate)
    try:
        yield gate
    finally:
        gate.open.set()
        failpoints.disarm()


async def stored(keeper: Keeper) -> list[str]:
    return ids(await keeper.unsent(keeper.boot, 0, events_max=1000, bytes_max=1 << 30))


async def test_what_comes_during_a_commit_is_one_commit(tmp_path: Path) -> None:
    async with kept(tmp_path) as keeper:
        with gate() as held:
            first = asyncio.create_task(keeper.put(items("first")))
            await held.held()
            rest = [asyncio.create_task(keeper.put(items(f"e-{n}"), {"log": str(n)})) for n in range(200)]
            await asyncio.sleep(0)
        before = keeper.commits
        places = [await first, *(await asyncio.gather(*rest))]
        assert [place.sequence for (place,) in places] == list(range(1, 202))
        assert keeper.commits - before == 2
        assert await keeper.positions() == {"log": "199"}


async def test_a_lone_event_waits_for_nobody(tmp_path: Path) -> None:
    async with kept(tmp_path) as keeper:
        before = keeper.commits
        await keeper.put(items("a"))
        await keeper.put(items("b"))
        assert keeper.commits - before == 2


async def test_many_devices_need_far_fewer_commits_than_events(tmp_path: Path) -> None:
    async def device(number: int) -> None:
        for count in range(20):
            await keeper.put(items(f"{number}-{count}"))

    async with kept(tmp_path) as keeper:
        before = keeper.commits
        await asyncio.gather(*(device(number) for number in range(50)))
        assert keeper.depth.events == 1000
        # Each device has one event waiting at a time, so fifty at most go together, and two rounds at least half.
        assert keeper.commits - before <= 1000 / 10


async def test_a_commit_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "BATCH_EVENTS_MAX", 10)
    async with kept(tmp_path) as keeper:
        with gate() as held:
            puts = [asyncio.create_task(keeper.put(items("first")))]
            await held.held()
            puts += [asyncio.create_task(keeper.put([*items(f"{n}-a"), *items(f"{n}-b")])) for n in range(20)]
            puts += [asyncio.create_task(keeper.put([item(f"large-{n}") for n in range(30)]))]
            await asyncio.sleep(0)
        before = keeper.commits
        await asyncio.gather(*puts)
        assert keeper.commits - before == 1 + 4 + 1


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (Item(body=b"[]", heard=HEARD), "not_an_event"),
        (Item(body=b"{}", heard=HEARD), "not_an_event"),
        (item("big", size=BODY_BYTES_MAX), "event_too_large"),
        (item("odd", heard=replace(HEARD, boottime_ns=2**63)), "item_unusable"),
        (item("odd", heard=replace(HEARD, machine_boot="\ud800")), "item_unusable"),
    ],
)
async def test_what_cannot_be_stored_falls_alone(tmp_path: Path, bad: Item, code: str) -> None:
    async with kept(tmp_path) as keeper:
        with gate() as held:
            first = asyncio.create_task(keeper.put(items("first")))
            await held.held()
            between = [
                asyncio.create_task(keeper.put(items("a"), {"log": "1"})),
                asyncio.create_task(keeper.put([*items("with bad"), bad], {"log": "2"})),
                asyncio.create_task(keeper.put(items("b"))),
            ]
            await asyncio.sleep(0)
        before = keeper.commits
        await first
        good, refused, other = await asyncio.gather(*between, return_exceptions=True)
        assert good == (Place(keeper.boot, 2),)
        assert isinstance(refused, BadInput)
        assert refused.code == code
        assert other == (Place(keeper.boot, 3),)
        assert keeper.commits - before == 2
        assert await stored(keeper) == ["first", "a", "b"]
        assert await keeper.positions() == {"log": "1"}


async def test_a_position_that_is_no_text_falls_alone(tmp_path: Path) -> None:
    async with kept(tmp_path) as keeper:
        odd = keeper.put(items("a"), {"log": "\ud800"})
        refused, good = await asyncio.gather(odd, keeper.put(items("b")), return_exceptions=True)
        assert isinstance(refused, BadInput)
        assert good == (Place(keeper.boot, 1),)


async def test_a_put_has_a_largest_size(tmp_path: Path) -> None:
    async with kept(tmp_path) as keeper:
        with pytest.raises(BadInput, match="too many for one put"):
            await keeper.put([item()] * (PUT_EVENTS_MAX + 1))
        assert keeper.depth.events == 0


async def test_full_is_told_to_each_that_does_not_fit(tmp_path: Path) -> None:
    async with kept(tmp_path, bounds=replace(SMALL, events_max=3)) as keeper:
        await keeper.put(items("a", "b"))
        two, one = await asyncio.gather(
            keeper.put(items("c", "d")), keeper.put(items("e")), return_exceptions=True
        )  # fmt: skip
        assert isinstance(two, Full)
        assert two.bound == "events"
        assert "holds 2 events" in two.detail
        assert one == (Place(keeper.boot, 3),)


@pytest.mark.parametrize("in_flight", [False, True])
async def test_who_is_cancelled_takes_nobody_along(tmp_path: Path, *, in_flight: bool) -> None:
    async with kept(tmp_path) as keeper:
        with gate() as held:
            first = asyncio.create_task(keeper.put(items("first")))
            await held.held()
            queued = [asyncio.create_task(keeper.put(items(f"e-{n}"))) for n in range(3)]
            await asyncio.sleep(0)
            (first if in_flight else queued[1]).cancel()
            await asyncio.sleep(0)
        told = await asyncio.gather(first, *queued, return_exceptions=True)
        assert sum(isinstance(answer, asyncio.CancelledError) for answer in told) == 1
        # What was being written is stored, what waited is not; nobody got another's numbers.
        expected = ["first", "e-0", "e-1", "e-2"] if in_flight else ["first", "e-0", "e-2"]
        assert await stored(keeper) == expected
        given = [answer[0].sequence for answer in told if isinstance(answer, tuple)]
        assert given == ([2, 3, 4] if in_flight else [1, 2, 3])


async def test_a_full_queue_makes_the_next_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "QUEUE_EVENTS_MAX", 5)
    async with kept(tmp_path) as keeper:
        with gate() as held:
            puts = [asyncio.create_task(keeper.put(items("first")))]
            await held.held()
            puts += [asyncio.create_task(keeper.put(items(f"e-{n}"))) for n in range(40)]
            for _ in range(5):
                await asyncio.sleep(0)
            assert keeper._jobs.events == 5
            assert keeper._jobs.waiting == 35
            # One that waits for room and goes keeps nobody else from it.
            puts[20].cancel()
        done = await asyncio.gather(*puts, return_exceptions=True)
        assert sum(isinstance(answer, tuple) for answer in done) == 40
        assert await stored(keeper) == ["first", *(f"e-{n}" for n in range(40) if n != 19)]


async def test_what_is_larger_than_the_queue_waits_for_no_longer_than_it_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "QUEUE_EVENTS_MAX", 5)
    async with kept(tmp_path) as keeper:
        with gate() as held:
            first = asyncio.create_task(keeper.put(items("first")))
            await held.held()
            chore = asyncio.create_task(keeper.replay(since=START))
            await asyncio.sleep(0)
            large = asyncio.create_task(keeper.put(items(*"abcdef")))
            await asyncio.sleep(0)
            assert keeper._jobs.waiting == 1
        await asyncio.gather(first, chore)
        # Nobody else comes.
        assert len(await asyncio.wait_for(large, 10)) == 6


async def test_acknowledgements_ride_along(tmp_path: Path) -> None:
    async with kept(tmp_path) as keeper:
        await keeper.put(items("a", "b", "c"))
        assert await stored(keeper) == ["a", "b", "c"]
        with gate() as held:
            put = asyncio.create_task(keeper.put(items("d")))
            await held.held()
            more = asyncio.gather(keeper.put(items("e")), keeper.acknowledge(keeper.boot, 1, [3]), keeper.put([]))
            await asyncio.sleep(0)
        before = keeper.commits
        await put
        assert (await more)[2] == ()
        assert keeper.commits - before == 2
        assert await stored(keeper) == ["b", "d", "e"]
        assert keeper.depth.kept_events == 2
        oldest = await keeper.oldest()
        assert oldest is not None
        assert oldest.place == Place(keeper.boot, 2)


async def test_what_is_newer_than_the_process_goes_one_message_at_a_time_at_first(tmp_path: Path) -> None:
    """Until the gateway has acknowledged something nobody knows whether this file is an older copy (README)."""
    async with kept(tmp_path) as keeper:
        await keeper.put([item(f"e-{n}") for n in range(250)])
        assert len(await stored(keeper)) == 100
        assert len(await stored(keeper)) == 100
        await keeper.acknowledge(keeper.boot, 1)
        assert len(await stored(keeper)) == 249
    async with kept(tmp_path) as keeper:
        # What was there when it began may have been sent before.
        await keeper.put(items("newer"))
        assert len(await stored(keeper)) == 249
        await keeper.acknowledge(keeper.boot, 250)
        assert await stored(keeper) == ["newer"]


async def test_an_older_copy_is_found_out_and_loses_nothing(tmp_path: Path) -> None:
    """The gateway has had up to 300 of the true one; this copy ends at 200, and heard 150 others since."""
    async with kept(tmp_path) as keeper:
        await keeper.put([item(f"old-{n}") for n in range(200)])
        await stored(keeper)
        await keeper.acknowledge(keeper.boot, 90)
        before = keeper.boot
    async with kept(tmp_path) as keeper:
        await keeper.put([item(None) for n in range(150)])
        await keeper.acknowledge(before, 300)
        assert keeper.boot > before
        assert keeper.depth.events == 110 + 150
        first = await keeper.unsent(keeper.boot, 0, events_max=1000, bytes_max=1 << 20)
        assert [event.place.sequence for event in first] == list(range(1, 101))
        await keeper.acknowledge(keeper.boot, 100)
        rest = await keeper.unsent(keeper.boot, 0, events_max=1000, bytes_max=1 << 20)
        assert [event.place.sequence for event in rest] == list(range(101, 261))
        # Ids that the spool gave are older than numbers.
        assert all(id.startswith(f"{before}-") for id in ids(rest)[20:])
        assert len({*ids(first), *ids(rest)}) == 260


async def test_two_copies_never_give_one_id_to_two_events(tmp_path: Path) -> None:
    given = []
    open_spool(tmp_path / "a").close()
    (tmp_path / "b").mkdir()
    for source in (tmp_path / "a").rglob("*"):
        target = tmp_path / "b" / source.relative_to(tmp_path / "a")
        target.mkdir(exist_ok=True) if source.is_dir() else target.write_bytes(source.read_bytes())
    for copy in ("a", "b"):
        async with kept(tmp_path / copy) as keeper:
            given += [*(await keeper.put([item(None)]))]
    assert given[0] == given[1]
    (one,), (other,) = (rows(tmp_path / copy) for copy in ("a", "b"))
    assert one != other


@pytest.mark.parametrize("where", ["after_begin", "after_commit_before_told", "after_told", "before_checkpoint"])
async def test_a_fault_of_ours_leaves_nobody_waiting(tmp_path: Path, where: str) -> None:
    def fault() -> None:
        raise RuntimeError(where)

    async with kept(tmp_path) as keeper:
        await keeper.put(items("first"))
        failpoints.arm(where, fault)
        puts = [keeper.put([item(f"e-{n}", size=3500) for n in range(280)]), keeper.put(items("b"))]
        told = await asyncio.gather(*puts, return_exceptions=True)
        assert [answer for answer in told if not isinstance(answer, SpoolFailed | tuple)] == []
        await asyncio.wait_for(keeper.failed.wait(), 60)
        failpoints.disarm()
        with pytest.raises(SpoolFailed, match="does not know"):
            await keeper.put(items("c"))


async def test_hooks_hear_of_each_commit(tmp_path: Path) -> None:
    heard = []
    async with kept(tmp_path) as keeper:
        keeper.on_commit.append(lambda: heard.append(keeper.depth.events))
        await keeper.put(items("a"))
        await keeper.put(items("b", "c"))
        assert heard == [1, 3]


async def test_closing_writes_what_is_queued_and_takes_no_more(tmp_path: Path) -> None:
    keeper = Keeper(open_spool(tmp_path))
    async with keeper:
        puts = [asyncio.create_task(keeper.put(items(f"e-{n}"))) for n in range(10)]
        await asyncio.sleep(0)
    assert [len(await put) for put in puts] == [1] * 10
    with pytest.raises(Unavailable, match="stops"):
        await keeper.put(items("late"))
    assert len(rows(tmp_path)) == 10


async def test_measurements_are_kept_by_the_machines_boot(tmp_path: Path) -> None:
    first = Measurement(machine_boot="b-1", boottime_ns=5, true=START, error_ms=12, ntp=False)
    better = replace(first, boottime_ns=9, error_ms=3, ntp=True)
    other = replace(first, machine_boot="b-2")
    async with kept(tmp_path) as keeper:
        for measurement in (first, other, better):
            await keeper.measure(measurement)
        assert await keeper.measurements() == {"b-1": better, "b-2": other}


async def test_replay_brings_back_what_the_gateway_lost(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with kept(tmp_path, clock=clock) as keeper:
        for hour in range(4):
            await keeper.put(items(f"e-{hour}"))
            await stored(keeper)
            await keeper.acknowledge(keeper.boot, hour + 1)
            clock.advance(timedelta(hours=2))
        assert await keeper.replay(since=START + timedelta(hours=4)) == 2
        assert await stored(keeper) == ["e-2", "e-3"]
        assert keeper.kept == {keeper.boot: [Run(1, 1), Run(2, 2)]}, "each in an hour of its own"
        assert await keeper.replay(stretches=[Stretch(keeper.boot, 2, 9), Stretch(keeper.boot - 1, 1, 9)]) == 1
        assert await keeper.replay(stretches=[Stretch(keeper.boot, 2, 9)]) == 0
        assert await stored(keeper) == ["e-1", "e-2", "e-3"]
