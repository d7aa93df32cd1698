"""Another number of shards: no account's event is missed or rated by two, whatever each shard had read before."""

import asyncio

import pytest
from structlog.testing import capture_logs

from meter.booking import runner
from meter.booking.runner import RatingRunner
from meter.model.errors import Unavailable
from meter.store.leases import LeaseKeeper, LeaseLost
from meter.store.shards import ShardsDiffer
from tests.booking.space import Space, open_space, pages
from tests.booking.test_turns import CROWD, NAMES

DUE = [(name, 12) for name in NAMES]


async def crowd_in(space: Space) -> None:
    await space.apply(CROWD)
    await space.rate()  # what the directory's changes ask for would otherwise fold everyone
    await space.leases.close()
    await space.accept(
        [pages(f"{n}-{hour}", f"02T{hour:02}:00", 3, f"badge:{n}") for n in NAMES for hour in range(8, 12)]
    )


async def printed(space: Space) -> list[tuple[str, int]]:
    return await space.rows("SELECT account, sum(quantity)::int FROM charges GROUP BY 1 ORDER BY 1")


@pytest.mark.parametrize(("former", "count"), [(4, 3), (3, 5), (6, 1), (1, 6), (4, 8)])
@pytest.mark.parametrize("ahead", [0, 1])
async def test_an_account_that_comes_into_a_shard_that_is_ahead_misses_nothing(
    space: Space, former: int, count: int, ahead: int
) -> None:
    first = space.new_worker(shards=former)
    await first.settle()
    await crowd_in(space)
    # Only every other shard has read; the others' holder never came.
    await space.leases.maintain(first.shards.lease_names[ahead::2])
    while await first.step():
        pass
    assert await printed(space) != DUE or former == 1
    await space.leases.close()

    second = space.new_worker(LeaseKeeper(space.database), shards=count)
    await second.settle()
    space.leases = second.shards._leases
    await space.rate()
    assert await printed(space) == DUE
    assert await space.rows("SELECT shard FROM rating_cursors ORDER BY 1") == [(shard,) for shard in range(count)]
    assert await space.rows("SELECT count(DISTINCT (xid, seq)) FROM rating_cursors") == [(1,)]
    await space.leases.close()


async def test_nothing_changes_while_another_gateway_rates(space: Space) -> None:
    await space.worker.settle()
    await crowd_in(space)
    await space.leases.maintain(space.worker.shards.lease_names)
    other = space.new_worker(LeaseKeeper(space.database), shards=3)
    with pytest.raises(
        Unavailable, match="METER_RATING_SHARDS is 3 here, and gateways at work rate in 4 shards"
    ) as told:
        await other.settle()
    assert told.value.code == "shards_differ"
    assert await space.rows("SELECT rating_shards FROM operators") == [(4,)]
    assert await space.rows("SELECT count(*) FROM rating_cursors") == [(4,)]


async def test_who_was_overtaken_writes_nothing(space: Space) -> None:
    old = space.worker
    await old.settle()
    await crowd_in(space)
    await space.leases.maintain(old.shards.lease_names)
    await space.rows("UPDATE leases SET expires_at = now() - interval '1 s' RETURNING 1")
    new = space.new_worker(LeaseKeeper(space.database), shards=3)
    await new.settle()
    with pytest.raises(LeaseLost):
        await old.step()
    await space.leases.maintain(old.shards.lease_names)
    with pytest.raises(ShardsDiffer, match="METER_RATING_SHARDS is 4 here, and another gateway has taken over with 3"):
        await old.step()
    assert await printed(space) == []


async def test_a_runner_waits_until_the_others_have_stopped_and_ends_where_it_was_overtaken(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RECOVERY_PAUSE_S", 0.02)
    async with open_space(database_url) as space:
        await space.worker.settle()
        await crowd_in(space)
        await space.leases.maintain(space.worker.shards.lease_names)
        leases = LeaseKeeper(space.database)
        changed = RatingRunner(space.new_worker(leases, shards=3), leases)
        with capture_logs() as told:
            rating = asyncio.create_task(changed.run())
            keeping = asyncio.create_task(leases.run())
            async with asyncio.timeout(30):
                while not told:  # noqa: ASYNC110 -- it tells nobody else
                    await asyncio.sleep(0.02)
                assert await printed(space) == []
                await space.leases.close()
                while await printed(space) != DUE:  # noqa: ASYNC110 -- as above
                    await asyncio.sleep(0.02)
                await space.rows("UPDATE operators SET rating_shards = 5 RETURNING 1")
                await space.accept([pages("late", "03T08:00", 1, "badge:a0")])
                changed.wake()
                with pytest.raises(ShardsDiffer):
                    await rating
        keeping.cancel()
        await asyncio.wait([keeping])
        await leases.close()
    assert [one["event"] for one in told if one["log_level"] == "warning"] == ["rating_waits", "rating_shards_changed"]
