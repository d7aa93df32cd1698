"""Whatever fails, a target's books are right to the cent, and nothing is in them twice: every kind of target."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text

from meter.export.targets.registry import KINDS
from meter.export.targets.stripe.drafts import Drafts
from meter.store.engine import Database
from meter.store.outbox import add_items
from tests.targets.fault_run import Plant, Report, cases, deliver_all, differing, open_items
from tests.targets.plants import BLIND, Believes500, KeyOfTheAttempt, NeverLooks
from tests.targets.proxy import Odds
from tests.targets.worlds import Network, World, hurry, world_of

# Enough for each fault to happen several times; the long form is in docs/development.md.
DELIVERIES: Final = int(os.environ.get("METER_TEST_DELIVERIES", "100"))
# A fault of ours shows sooner than that; what it sends twice is counted until the end.
PLANTED: Final = 100
SEED: Final = int(os.environ.get("METER_TEST_SEED", "1"))


CASES: Final = cases()
# What real processes do takes real time: a few of each way of keeping books.
ROOT: Final = Path(__file__).parents[2]
_WAITING: Final = text("SELECT id FROM outbox WHERE state IN ('pending', 'uncertain') AND due_at > clock_timestamp()")
_DUE: Final = text("UPDATE outbox SET due_at = clock_timestamp() WHERE id = ANY(:ids) AND state <> 'sending'")
KILLED_ITEMS: Final = max(24, DELIVERIES // 10)
WAVE_ITEMS: Final = 12 if DELIVERIES < 1000 else 50
KILLED_FOR_REAL: Final = ("cobot", "ledger", "quickbooks", "stripe")


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def test_every_kind_of_target_has_a_case() -> None:
    assert {case.kind for case in CASES.values()} >= set(KINDS)


@pytest.mark.parametrize("name", CASES)
async def test_the_books_are_right_whatever_fails(name: str, database: Database) -> None:
    report = await deliver_all(CASES[name], database, n=DELIVERIES, seed=SEED)
    print(f"{name}, seed {SEED}: {report.row()}")  # noqa: T201  for the long form, and for whoever repeats a run
    assert_right(report)
    assert report.turned_away != 0, "nothing was sent while the key was withdrawn"
    assert all(report.faults.values()), f"too few deliveries for every fault: {report.faults}"


@pytest.mark.parametrize("name", KILLED_FOR_REAL)
async def test_the_books_are_right_when_gateways_are_killed(name: str, database: Database, database_url: str) -> None:
    """Real processes with dispatchers, ended by SIGKILL wherever they are."""
    dice = random.Random(SEED)  # noqa: S311  a test is repeated by its seed
    items = CASES[name].items(KILLED_ITEMS, SEED)
    # In waves, so that however fast a process is, another has to follow it.
    waves = [items[first : first + WAVE_ITEMS] for first in range(0, len(items), WAVE_ITEMS)]
    kills = 0
    async with world_of(CASES[name], seed=SEED) as world:
        if isinstance(world, Network):
            world.odds = Odds.evenly(0.05)
        while waves or await open_items(database):
            if waves:
                async with database.begin() as conn:
                    await add_items(conn, waves.pop(0))
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.targets.fault_child", name, world.url, database_url, cwd=ROOT
            )
            try:
                await _until_fewer(database, world, dice.randint(5, max(10, WAVE_ITEMS)))
            finally:
                child.kill()
                await child.wait()
            kills += 1
            await world.settled()
        print(f"{name}, seed {SEED}: {len(items)} deliveries, {kills} processes killed")  # noqa: T201
        assert kills > 1
        assert not differing(CASES[name].wanted(items), CASES[name].books(world.held))


async def _until_fewer(database: Database, world: World, number: int) -> None:
    """Let what waits be due, until so many more are settled or all are."""
    begun = await open_items(database)
    async with asyncio.timeout(120):
        while (left := await open_items(database)) and left > begun - number:
            async with database.begin() as conn:
                waiting = (await conn.execute(_WAITING)).scalars().all()
            await world.settled()  # what they had sent has arrived
            async with database.begin() as conn:
                await conn.execute(_DUE, {"ids": waiting})
            await asyncio.sleep(0.02)


LOOKED_UP: Final = ("cobot", "nexudus", "officernd", "quickbooks", "square", "stripe", "stripe-meters", "xero")


@pytest.mark.parametrize("name", LOOKED_UP)
async def test_a_target_that_is_not_asked_holds_things_twice(
    name: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in BLIND:
        monkeypatch.setattr(*BLIND[name])
    await assert_found(name, database, NeverLooks)


async def test_a_key_of_each_attempt_bills_twice(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Stripe is not asked after a failure, that is."""
    monkeypatch.setattr(Drafts, "forget", lambda _drafts, _invoice: None)
    await assert_found("stripe", database, KeyOfTheAttempt)


@pytest.mark.parametrize("name", ["cobot", "nexudus", "officernd"])
async def test_who_believes_a_500_bills_twice(name: str, database: Database) -> None:
    """Where there are keys, it takes an outage beyond their life as well, at which others ask before they send."""
    await assert_found(name, database, Believes500)


async def assert_found(name: str, database: Database, plant: Plant) -> None:
    """Workers live on here: one that takes over remembers nothing, so it asks more."""
    report = await deliver_all(CASES[name], database, n=PLANTED, seed=SEED, plant=plant, mortal=False)
    with pytest.raises(AssertionError):
        assert_right(report)
    assert any(abs(held[0]) > abs(wanted[0]) for wanted, held in report.wrong.values()), report.wrong


def assert_right(report: Report) -> None:
    assert not report.wrong, (
        f"{len(report.wrong)} batches are not as they were sent: {dict(list(report.wrong.items())[:5])}"
    )
    assert not report.reasons, report.reasons[:5]
    assert set(report.states) <= {"delivered", "superseded"}
