"""The loop around the worker: no fault of one step ends it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from meter.booking import runner
from meter.booking.runner import RatingRunner
from meter.booking.warm import WarmAccount
from meter.booking.worker import RatingWorker
from tests.booking.space import open_space, pages


async def test_rating_goes_on_after_a_fault_of_ours(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "FAULT_PAUSE_S", 0.0)
    step, failed = RatingWorker.step, asyncio.Event()

    async def broken_once(worker: RatingWorker) -> bool:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("a fault of ours")
        return await step(worker)

    monkeypatch.setattr(RatingWorker, "step", broken_once)
    async with open_space(database_url) as space:
        await space.accept([pages("1", "02T09:00", 110)])
        await space.leases.maintain(space.worker.shards.lease_names)
        rating = asyncio.create_task(RatingRunner(space.worker, space.leases).run())
        async with asyncio.timeout(30):
            while not await space.sums():  # noqa: ASYNC110 -- the worker tells nobody in this test
                await asyncio.sleep(0.02)
        rating.cancel()
        await asyncio.wait([rating])
    assert failed.is_set()


async def test_an_idle_runner_is_woken_by_a_hint(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "POLL_INTERVAL_S", 0.0)
    monkeypatch.setattr(runner, "IDLE_INTERVAL_S", 600.0)
    step, looks = RatingWorker.step, 0

    async def counted(worker: RatingWorker) -> bool:
        nonlocal looks
        looks += 1
        return await step(worker)

    monkeypatch.setattr(RatingWorker, "step", counted)
    async with open_space(database_url) as space:
        await space.rate()
        working = RatingRunner(space.worker, space.leases)
        looks = 0
        rating = asyncio.create_task(working.run())
        async with asyncio.timeout(30):
            while looks <= runner.EMPTY_LOOKS_MAX:  # noqa: ASYNC110 -- as above
                await asyncio.sleep(0.02)
            await space.accept([pages("1", "02T09:00", 110)])
            working.wake()
            while not await space.sums():  # noqa: ASYNC110 -- as above
                await asyncio.sleep(0.02)
        rating.cancel()
        await asyncio.wait([rating])


async def test_an_account_that_takes_longer_than_the_server_waits_is_rated(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meter.store.engine.IDLE_TRANSACTION_TIMEOUT_S", 1)
    monkeypatch.setattr("meter.booking.accounts.LONG_HISTORY_EVENTS", 3)
    rebuild = WarmAccount.rebuild

    def slow(warm: WarmAccount, *arguments: Any, **options: Any) -> Any:
        time.sleep(1.5)  # as a history of hundreds of thousands of events does
        return rebuild(warm, *arguments, **options)

    async with open_space(database_url) as space:
        await space.rate()
        monkeypatch.setattr(WarmAccount, "rebuild", slow)
        await space.accept([pages(f"{n}", "02T09:00", 1) for n in range(4)])
        space.new_worker()
        await space.rate()
        assert [row[5] for row in await space.sums()] == [4]
