"""A gateway that was restored from a backup gets back what it lost; one that is late, or asked before, nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from edge.spool.keeper import Keeper
from edge.spool.spans import Run
from edge.uplink import recall as recalls
from edge.uplink.lost import Held
from edge.uplink.recall import Recall
from tests.edge.clocks import VirtualClock
from tests.edge.spool.making import ids, items, open_spool


class Site:
    """A spool of which the gateway has acknowledged ten events."""

    def __init__(self, keeper: Keeper, clock: VirtualClock) -> None:
        self.keeper = keeper
        self.replays = 0
        self.recall = Recall(keeper, clock=clock, replayed=self._count)

    def _count(self) -> None:
        self.replays += 1

    def holds(self, up_to: int, *beyond: tuple[int, int]) -> list[Held]:
        return [Held(boot=self.keeper.boot, up_to=up_to, beyond=[*beyond])]

    async def waiting(self) -> list[str]:
        return ids(await self.keeper.unsent(self.keeper.boot, 0, events_max=100, bytes_max=1 << 20))

    async def acknowledged(self, up_to: int) -> None:
        await self.waiting()
        await self.keeper.acknowledge(self.keeper.boot, up_to)


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    clock = VirtualClock()
    async with Keeper(open_spool(tmp_path, clock=clock)) as keeper:
        await keeper.put([item for number in range(1, 11) for item in items(f"e-{number}")])
        site = Site(keeper, clock)
        await site.acknowledged(10)
        yield site


async def test_what_a_backup_missed_waits_again(site: Site) -> None:
    assert site.recall.asking("q") == [site.keeper.boot]
    await site.recall.answered("q", site.holds(7))
    assert await site.waiting() == ["e-8", "e-9", "e-10"]
    assert site.replays == 1
    (fault,) = site.recall.faults
    assert "3 events are sent again" in fault


async def test_what_was_lost_beyond_a_hole_is_found_too(site: Site) -> None:
    """The lowest that is missing there is the same as before: `up_to` alone would tell nothing."""
    site.recall.asking("q")
    await site.recall.answered("q", site.holds(3, (6, 7), (12, 12)))
    assert await site.waiting() == ["e-4", "e-5", "e-8", "e-9", "e-10"]


async def test_what_was_acknowledged_after_the_question_is_not_missed_in_its_answer(site: Site) -> None:
    """A late answer: the gateway said it before it had the rest."""
    site.recall.asking("q")
    await site.keeper.put(items("e-11"))
    await site.acknowledged(11)
    await site.recall.answered("q", site.holds(10))
    assert (await site.waiting(), site.replays) == ([], 0)


async def test_an_answer_counts_once_and_only_to_a_question_of_this_process(site: Site) -> None:
    site.recall.asking("q")
    await site.recall.answered("of another process", site.holds(0))
    await site.recall.answered("q", site.holds(10))
    await site.recall.answered("q", site.holds(0))
    assert (await site.waiting(), site.replays) == ([], 0)


async def test_an_older_gateway_says_nothing_of_it(site: Site) -> None:
    site.recall.asking("q")
    await site.recall.answered("q", [])
    assert site.replays == 0


async def test_a_gateway_that_goes_on_losing_is_not_sent_everything_each_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(recalls, "monotonic_s", lambda: now)

    async def lagging() -> int:
        site.recall.asking("q")
        await site.recall.answered("q", site.holds(0))
        await site.acknowledged(10)
        return site.replays

    assert [await lagging() for _ in range(3)] == [1, 1, 1]
    now = 601.0
    assert [await lagging() for _ in range(2)] == [2, 2]
    now += 601.0
    assert await lagging() == 2
    now += 601.0
    assert await lagging() == 3
    # Once it holds everything again, the next loss is mended at once.
    site.recall.asking("q")
    await site.recall.answered("q", site.holds(10))
    assert await lagging() == 4


async def test_boots_from_before_a_renumbering_are_asked_for_too(site: Site) -> None:
    """A number that was never sent from here: the spool is an older copy, and what waits is numbered anew."""
    old = site.keeper.boot
    await site.keeper.put(items("e-11"))
    await site.keeper.acknowledge(old, 5_000)
    new = site.keeper.boot
    assert new != old
    await site.keeper.acknowledge(new, 0)
    await site.waiting()
    await site.keeper.acknowledge(new, 1)
    assert site.recall.asking("q") == [old, new]
    assert site.recall.told() == {old: [Run(1, 10)], new: [Run(1, 1)]}
    await site.recall.answered("q", [Held(boot=old, up_to=9), Held(boot=new, up_to=0)])
    assert site.keeper.waiting_boots == [old, new]
    assert site.keeper.depth.events == 2
