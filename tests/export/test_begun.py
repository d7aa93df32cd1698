"""Settings that change under a target that has begun: what may, what is refused, and that nothing is told twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog

from meter.config import TargetSettings
from meter.export.gather.at_once import Entries
from meter.export.gather.gatherer import Gatherer
from meter.export.gather.invoicing import Codes
from meter.export.gather.lines import Lines
from meter.export.gather.shape import Shape
from meter.export.gather.spans import Grain
from meter.export.role import begun_of, dispatcher_of
from meter.export.targets.setups import Targets
from meter.model.errors import BadInput
from meter.store.gathering import read_export_cursor
from tests.booking.space import Space, open_space, pages
from tests.export.gathering import customers
from tests.export.test_gatherer import KNOWN, gather, owed, sent


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url, KNOWN) as opened:
        yield opened


def lines(grain: Grain) -> Lines:
    return Lines(
        target="stripe", customers=customers(), grain=grain, codes=Codes(), replaces=True, notices=grain == "charge"
    )


def gatherer(
    space: Space,
    shape: Shape,
    *,
    kind: str = "stripe",
    mode: str | None = "invoices",
    company: str | None = None,
    start: date | None = None,
) -> Gatherer:
    return Gatherer(
        space.database,
        operator="northside",
        target="stripe",
        shape=shape,
        clock=lambda: space.now,
        kind=kind,
        mode=mode,
        company=company,
        past=True,
        start=start,
    )


@pytest.mark.parametrize("then", ["charge", "hour", "period"])
async def test_a_grain_may_change_with_a_sum_on_its_way(space: Space, then: Grain) -> None:
    await space.take(pages("p1", "02T10:00", 150))
    await gather(space, gatherer(space, lines("day")))
    await space.rows("UPDATE outbox SET state = 'uncertain' RETURNING 1")
    await space.take(pages("p2", "02T11:00", 20))
    await gather(space, gatherer(space, lines("day")))
    await space.rows("UPDATE outbox SET state = 'delivered' RETURNING 1")
    await space.take(pages("p3", "02T12:00", 30))
    await gather(space, gatherer(space, lines(then)))
    assert await sent(space) == await owed(space)
    await space.take(pages("p4", "02T13:00", 40))
    await gather(space, gatherer(space, lines("day")))
    assert await sent(space) == await owed(space)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": Entries()}, "fed with entries"),
        ({"shape": lines("day"), "mode": "journals"}, "mode journals"),
        ({"shape": lines("day"), "kind": "square"}, "kind square"),
    ],
)
async def test_what_counts_otherwise_is_refused_and_moves_nothing(
    space: Space, change: dict[str, Any], said: str
) -> None:
    await space.take(pages("p1", "02T10:00", 150))
    await gather(space, gatherer(space, lines("day")))
    await space.take(pages("p2", "03T10:00", 20))
    with pytest.raises(BadInput) as refused:
        await gather(space, gatherer(space, **change))
    assert refused.value.code == "target_changed"
    assert said in refused.value.detail
    assert await gather(space, gatherer(space, lines("day"))) == 1
    assert await sent(space) == await owed(space)


async def test_another_company_is_refused_and_the_first_one_goes_on(space: Space) -> None:
    """What one company was told would be passed over in the other's books, and credited where it never was."""
    await space.take(pages("p1", "02T10:00", 150))
    await gather(space, gatherer(space, lines("day"), company="realm-1"))
    await space.take(pages("p2", "03T10:00", 20))
    with pytest.raises(BadInput) as refused:
        await gather(space, gatherer(space, lines("day"), company="realm-2"))
    assert refused.value.code == "target_changed"
    assert "company realm-1, fed with charges and is set to" in refused.value.detail
    assert "company realm-2" in refused.value.detail
    assert await gather(space, gatherer(space, lines("day"), company="realm-1")) == 1
    assert await sent(space) == await owed(space)


async def test_a_target_that_an_older_version_began_is_of_the_company_that_it_is_next_set_to(space: Space) -> None:
    await space.take(pages("p1", "02T10:00", 150))
    await gather(space, gatherer(space, lines("day")))
    await space.take(pages("p2", "03T10:00", 20))
    assert await gather(space, gatherer(space, lines("day"), company="realm-1")) == 1
    await space.take(pages("p3", "04T10:00", 20))
    with pytest.raises(BadInput, match="company realm-1"):
        await gather(space, gatherer(space, lines("day"), company="realm-2"))


def test_only_a_kind_that_is_sent_to_a_company_goes_by_it(tmp_path: Path) -> None:
    given = {
        "books": {"kind": "xero", "client_id": "c", "client_secret": "s", "company": "tenant-1"},
        "cards": {"kind": "stripe", "api_key": "sk_test_1", "company": "whatever"},
    }
    found = Targets(
        {name: TargetSettings.model_validate(one) for name, one in given.items()}, operator="o", data_dir=tmp_path
    )
    assert {target.setup.name: begun_of(target).company for target in found} == {"books": "tenant-1", "cards": None}


async def test_a_start_that_comes_later_is_told_once_and_the_first_one_kept(space: Space) -> None:
    await space.take(pages("p1", "02T10:00", 150))
    await gather(space, gatherer(space, lines("day")))
    late = gatherer(space, lines("day"), start=date(2026, 1, 1))
    with structlog.testing.capture_logs() as told:
        await space.take(pages("p2", "03T10:00", 20))
        await gather(space, late)
        await gather(space, late)
    [entry] = [one for one in told if one["event"] == "start_ignored"]
    assert "start = 2026-01-01" in entry["detail"]
    assert "with what was booked from then on" in entry["detail"]
    async with space.database.begin() as conn:
        cursor = await read_export_cursor(conn, "northside", "stripe")
    assert cursor is not None
    assert cursor.begun.start is None


def targets(tmp_path: Path, dataset: str) -> Targets:
    settings = {"kind": "files", "grain": "charge", "start": "2026-01-01", "options": {"dataset": dataset}}
    given = {"lake": TargetSettings.model_validate(settings)}
    return Targets(given, operator="northside", data_dir=tmp_path)


async def worked(
    space: Space, tmp_path: Path, dataset: str, *, until: Callable[[Sequence[Any]], Awaitable[bool]]
) -> Any:
    """Run the role until its log, or the outbox, tells that it has done what it does; return the log."""
    with structlog.testing.capture_logs() as told:
        dispatcher = dispatcher_of(
            targets(tmp_path, dataset),
            space.database,
            operator="northside",
            telemetry=space.telemetry,
            clock=lambda: space.now,
        )
        running = asyncio.create_task(dispatcher.run())
        try:
            async with asyncio.timeout(30):
                while not await until(told):  # noqa: ASYNC110 -- the role tells nobody
                    await asyncio.sleep(0.05)
        finally:
            running.cancel()
            await asyncio.wait([running])
    return told


async def test_the_role_leaves_a_target_alone_whose_dataset_was_changed(space: Space, tmp_path: Path) -> None:
    """A cursor counts places of charges: among entries it would stand anywhere."""

    def delivered(count: int) -> Callable[[Sequence[Any]], Awaitable[bool]]:
        async def look(_told: Sequence[Any]) -> bool:
            return await space.rows("SELECT count(*) FROM outbox WHERE state = 'delivered'") == [(count,)]

        return look

    async def refused(told: Sequence[Any]) -> bool:
        return any(one["event"] == "lane_refused" for one in told)

    await space.take(pages("p1", "02T10:00", 150))
    await worked(space, tmp_path, "charges", until=delivered(1))
    await space.take(pages("p2", "03T10:00", 20))
    before = await space.rows("SELECT xid, seq FROM export_cursors")
    told = await worked(space, tmp_path, "journal", until=refused)
    [entry, *_] = [one for one in told if one["event"] == "lane_refused"]
    assert "fed with charges and is set to kind files, fed with entries" in entry["detail"]
    assert await space.rows("SELECT xid, seq FROM export_cursors") == before
    assert await space.rows("SELECT 1 FROM outbox WHERE operation = 'journal'") == []
    await worked(space, tmp_path, "charges", until=delivered(2))
