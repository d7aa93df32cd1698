"""Accounts take turns where their histories have to be read, and the books are the same."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from sqlalchemy import text

from meter.booking.history import load_history
from meter.booking.turns import that_fit
from meter.model.event import Position
from tests.booking.space import CATALOG, LATER, Space, pages

NAMES = [f"a{n}" for n in range(6)]
CROWD = CATALOG.partition("accounts:\n")[0] + (
    "accounts:\n  walk-in: {name: Guests}\n"
    + "".join(f"  {n}: {{name: {n}, subscriptions: [{{id: {n}-flex, plan: flex, from: 2026-01-01}}]}}\n" for n in NAMES)
    + "members:\n"
    + "".join(f'  m{n}: {{account: {n}, name: {n}, identities: ["badge:{n}"]}}\n' for n in NAMES)
)


def test_as_many_are_read_as_fit_and_one_in_any_case() -> None:
    assert that_fit({}, events_max=10) == []
    assert that_fit({"a": 50, "b": 1}, events_max=10) == ["a"]
    assert that_fit({"a": 4, "b": 6, "c": 1}, events_max=10) == ["a", "b"]
    # Nobody is passed by one who has less.
    assert that_fit({"a": 4, "b": 7, "c": 1}, events_max=10) == ["a"]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The accounts whose histories were read, in order."""
    names: list[str] = []

    async def counted(connection: Any, operator: str, accounts: Collection[str], facts: Any, *, after: Position) -> Any:
        names.extend(sorted(accounts))
        return await load_history(connection, operator, accounts, facts, after=after)

    monkeypatch.setattr("meter.booking.accounts.load_history", counted)
    return names


async def crowded(space: Space) -> None:
    """Six accounts with four events each, rated."""
    await space.apply(CROWD)
    await space.take(
        *[pages(f"{n}-{hour}", f"02T{hour:02}:00", 3, f"badge:{n}") for n in NAMES for hour in range(8, 12)]
    )


async def test_a_step_reads_a_few_histories_and_those_that_wait_come_in_their_order(
    space: Space, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await crowded(space)
    monkeypatch.setattr("meter.booking.turns.READ_EVENTS_MAX", 10)
    await space.accept([pages(f"{n}-x", f"03T{8 + k:02}:00", 1, f"badge:{n}") for k, n in enumerate(NAMES)])
    space.new_worker()
    await space.leases.maintain(space.worker.shards.lease_names)
    turns = []
    while True:
        read.clear()
        if not await space.worker.step():
            break
        turns.append(list(read))
    assert turns == [["a0", "a1"], ["a2", "a3"], ["a4", "a5"]]
    assert await space.rows("SELECT * FROM refolds") == []
    lags = space.telemetry.registry.get_sample_value("meter_rating_lag_seconds_count")
    assert lags == len(NAMES) * 5  # those of the first two when they came, of the others when it was their turn


async def test_who_is_known_does_not_wait_for_those_who_are_read(
    space: Space, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await crowded(space)
    space.new_worker()
    await space.take(pages("a5-warm", "03T08:00", 1, "badge:a5"))
    monkeypatch.setattr("meter.booking.turns.READ_EVENTS_MAX", 1)
    read.clear()
    bodies = [pages(f"{n}-y", f"04T{8 + k:02}:00", 1, f"badge:{n}") for k, n in enumerate(NAMES)]
    await space.accept(bodies)
    assert await space.worker.step()
    assert read == ["a0"]
    assert await space.rows("SELECT account FROM charges WHERE event_id LIKE '%-y' ORDER BY 1") == [("a0",), ("a5",)]
    # Whoever has news again while it waits is not read before its turn, nor twice.
    await space.accept([pages("a4-z", "04T20:00", 1, "badge:a4")])
    await space.rate()
    assert read == NAMES[:5]
    assert await space.rows("SELECT count(*) FROM charges WHERE event_id LIKE '%-z'") == [(1,)]


async def test_who_has_news_all_the_time_is_not_read_again_and_again(
    space: Space, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them together have more events than are kept: each forgets of its past, and none is dropped whole."""
    await crowded(space)
    monkeypatch.setattr("meter.booking.accounts.WARM_EVENTS_MAX", 80)
    monkeypatch.setattr("meter.booking.accounts.WARM_EVENTS_KEPT", 60)
    space.new_worker()
    read.clear()
    kept = space.worker._accounts
    for day in range(3, 27):
        bodies = [pages(f"{n}-w{day}", f"{day:02}T{8 + k:02}:00", 1, f"badge:{n}") for k, n in enumerate(NAMES)]
        await space.take(*bodies)
        assert kept._events() <= 80
    assert sorted(read) == NAMES
    assert len(kept._warm) == len(NAMES)
    assert await space.rows("SELECT count(*), sum(quantity) FROM charges") == [(6 * 28, 6 * 36)]


async def test_who_was_asked_for_longest_comes_first(
    space: Space, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await crowded(space)
    monkeypatch.setattr("meter.booking.turns.READ_EVENTS_MAX", 1)
    await space.apply(CROWD.replace('"0.041"', '"0.042"').replace('"0.05"', '"0.06"'))
    read.clear()
    await space.rate()
    assert read == [*NAMES, "acme", "solo"]


async def test_a_late_event_of_one_who_waits_is_called_late(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    await space.take(pages("1", "02T09:00", 100), pages("2", "02T09:00", 100, "badge:EFE1"))
    monkeypatch.setattr("meter.booking.turns.READ_EVENTS_MAX", 1)
    space.new_worker()
    await space.take(pages("0", "02T08:00", 1), pages("3", "02T08:30", 1, "badge:EFE1"))
    assert await space.rows("SELECT DISTINCT account, reason FROM charges WHERE role <> 'original' ORDER BY 1") == [
        ("acme", "late"),
        ("solo", "late"),
    ]
    assert await space.rows("SELECT reason FROM charges WHERE role = 'original' AND reason IS NOT NULL") == []


async def test_the_clock_makes_its_difference_to_those_who_wait(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = CATALOG.replace("    grants:", '    fee: {amount: "10.00"}\n    grants:')
    await space.apply(catalog)
    await space.rate()
    monkeypatch.setattr("meter.booking.turns.READ_EVENTS_MAX", 1)
    async with space.database.begin() as connection:
        [(due,)] = (await connection.execute(text("SELECT max(due_at) FROM wakes"))).all()
    assert due > LATER
    space.now = due
    space.new_worker()
    await space.rate()
    fees = await space.rows("SELECT account, count(*) FROM charges WHERE kind = 'fee' GROUP BY 1 ORDER BY 1")
    assert fees == [("acme", 1), ("solo", 1)]
