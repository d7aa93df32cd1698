"""Leases: one holder, an overtaken one writes nothing, a dead one is replaced at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from meter.store import leases
from meter.store.engine import Database
from meter.store.leases import Lease, LeaseKeeper, LeaseLost, fence
from meter.store.tables import leases as table


async def test_only_one_of_two_holds_a_name(database: Database) -> None:
    first, second = LeaseKeeper(database), LeaseKeeper(database)
    await first.maintain(["rating/0", "rating/1"])
    await second.maintain(["rating/0", "rating/1"])
    assert [lease.name for lease in first.held(["rating/0", "rating/1"])] == ["rating/0", "rating/1"]
    assert second.held(["rating/0", "rating/1"]) == []
    await first.close()
    await second.close()


async def test_a_dead_holder_is_replaced_at_once_under_a_new_epoch(database: Database) -> None:
    first, second = LeaseKeeper(database), LeaseKeeper(database)
    await first.maintain(["rating/0"])
    await first.close()
    await second.maintain(["rating/0"])
    assert second.held(["rating/0"]) == [Lease("rating/0", 2)]
    await second.close()


async def test_a_holder_that_hangs_is_replaced_when_it_has_expired_and_writes_nothing_more(database: Database) -> None:
    hanging, second = LeaseKeeper(database), LeaseKeeper(database)
    await hanging.maintain(["rating/0"])
    mine = hanging.held(["rating/0"])
    async with database.begin() as connection:
        await connection.execute(text("UPDATE leases SET expires_at = clock_timestamp() - interval '1 second'"))
    await second.maintain(["rating/0"])
    assert second.held(["rating/0"]) == [Lease("rating/0", 2)]

    with pytest.raises(LeaseLost, match="rating/0"):
        async with database.begin() as connection:
            await fence(connection, mine)
    await hanging.maintain(["rating/0"])
    assert hanging.held(["rating/0"]) == []
    await hanging.close()
    await second.close()


async def test_a_taker_waits_for_a_fenced_write(database: Database) -> None:
    first = LeaseKeeper(database)
    await first.maintain(["rating/0"])
    async with database.begin() as writing:
        await fence(writing, first.held(["rating/0"]))
        async with database.begin() as taking:
            blocked = (
                await taking.execute(text("SELECT 1 FROM leases WHERE name = 'rating/0' FOR UPDATE SKIP LOCKED"))
            ).one_or_none()
    assert blocked is None
    await first.close()


async def test_a_holder_that_could_not_renew_knows_itself_that_its_leases_have_run_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment_s = [100.0]
    monkeypatch.setattr(leases, "monotonic_s", lambda: moment_s[0])
    keeper = LeaseKeeper(database)
    await keeper.maintain(["rating/0"])
    moment_s[0] += leases.LEASE_TTL_S + 1
    assert keeper.held(["rating/0"]) == []
    # Nobody took over meanwhile, so it goes on where it was.
    await keeper.maintain(["rating/0"])
    assert keeper.held(["rating/0"]) == [Lease("rating/0", 1)]
    await keeper.close()


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=1)])
async def test_one_that_hangs_with_a_clock_that_was_set_back_is_replaced(database: Database, back: timedelta) -> None:
    """What it renewed last lasts, by the clock since, for longer than anybody takes a lease."""
    hanging, second = LeaseKeeper(database), LeaseKeeper(database)
    await hanging.maintain(["rating/0"])
    mine = hanging.held(["rating/0"])
    async with database.begin() as connection:
        await connection.execute(table.update().values(expires_at=table.c.expires_at + back))
    await second.maintain(["rating/0"])
    assert second.held(["rating/0"]) == [Lease("rating/0", 2)]
    with pytest.raises(LeaseLost, match="rating/0"):
        async with database.begin() as connection:
            await fence(connection, mine)
    await hanging.close()
    await second.close()
