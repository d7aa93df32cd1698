"""What plan, rerate and check --deep say is what booking does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.audit import audit
from meter.booking.preview import AccountPreview, facts_after, facts_with, previews
from meter.booking.rerate import rerate
from meter.catalog.load import read_catalog_text
from meter.model.errors import BadInput
from meter.store.apply import preview_catalog
from tests.booking.space import CATALOG, Space, entry, open_space, pages
from tests.owning import as_owner

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
DEARER = CATALOG.replace('"25.00"', '"30.00"')


@pytest.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url) as opened:
        await opened.take(
            pages("1", "02T09:00", 130),
            entry("2", "02T08:00"),
            entry("3", "03T08:00"),
            entry("4", "03T08:00", "badge:EFE1"),
        )
        yield opened


async def planned(space: Space, catalog: str) -> dict[str, AccountPreview]:
    loaded = read_catalog_text([("catalog.yaml", catalog)])
    facts = await facts_with(space.database, loaded, "northside", at=space.now)
    async with space.database.begin() as connection:
        outcome = await preview_catalog(connection, loaded, now=space.now)
    since = {touch.account: touch.since for touch in outcome.touches}
    return {one.account: one async for one in previews(space.database, "northside", facts, since, at=space.now)}


async def booked(space: Space) -> dict[str, Decimal]:
    return dict(await space.rows("SELECT account, sum(rounded) FROM charges GROUP BY 1"))


async def test_a_plan_tells_every_line_that_applying_books_and_changes_nothing(space: Space) -> None:
    dearer = DEARER + "effective: 2026-03-03\n"
    before, rows = await booked(space), await space.rows("SELECT count(*) FROM charges")
    found = await planned(space, dearer)
    assert await space.rows("SELECT count(*) FROM charges") == rows
    assert await space.rows("SELECT count(*) FROM catalogs") == [(1,)]
    assert {name: one.net for name, one in found.items() if one.charges} == {"acme": Decimal(5), "solo": Decimal(5)}
    (difference,) = found["acme"].differences
    assert difference.standing is not None
    assert difference.line is not None
    assert [difference.standing.line.amount, difference.line.amount] == [25, 30]
    await space.apply(dearer)
    await space.rate()
    after = await booked(space)
    assert {name: after[name] - before[name] for name in after} == {"acme": Decimal(5), "solo": Decimal(5)}


async def test_a_rerate_puts_the_catalog_of_today_into_force_since_then(space: Space) -> None:
    await space.apply(DEARER + "effective: 2026-05-01\n")
    await space.rate()
    assert await booked(space) == {"acme": Decimal("51.5"), "solo": Decimal(25)}

    async def again(connection: AsyncConnection) -> None:
        await rerate(connection, "northside", since=MARCH, account="acme", reason="a promise", now=space.now)

    _, facts = await facts_after(space.database, again, "northside")
    (found,) = [one async for one in previews(space.database, "northside", facts, {"acme": MARCH}, at=space.now)]
    assert found.net == 10
    assert await space.rows("SELECT count(*) FROM catalogs") == [(2,)]
    async with space.database.begin() as connection:
        await again(connection)
    await space.rate()
    assert await booked(space) == {"acme": Decimal("61.5"), "solo": Decimal(25)}
    assert await space.rows("SELECT DISTINCT reason FROM charges WHERE role <> 'original'") == [("a promise",)]
    # For all later folds too.
    await space.take(entry("late", "04T08:00"), entry("late-solo", "04T08:00", "badge:EFE1"))
    assert await booked(space) == {"acme": Decimal("91.5"), "solo": Decimal(50)}


async def test_a_rerate_overrides_what_took_effect_in_between(space: Space) -> None:
    await space.apply(CATALOG.replace('"25.00"', '"99.00"') + "effective: 2026-03-03\n")
    await space.apply(DEARER + "effective: 2026-05-01\n")
    await space.rate()
    async with space.database.begin() as connection:
        done = await rerate(connection, "northside", since=MARCH, account=None, reason="simpler", now=space.now)
    assert [version.effective for version in done.versions] == [MARCH, datetime(2026, 3, 2, 23, tzinfo=UTC)]
    await space.rate()
    assert await booked(space) == {"acme": Decimal("61.5"), "solo": Decimal(30)}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"reason": ""}, "bad_reason"),
        ({"since": datetime(2027, 1, 1, tzinfo=UTC)}, "bad_time"),
        ({"account": "nobody"}, "not_found"),
    ],
)
async def test_a_rerate_that_makes_no_sense_is_refused(space: Space, changes: dict[str, object], code: str) -> None:
    wanted = {"since": MARCH, "account": None, "reason": "why", "now": space.now} | changes
    with pytest.raises(BadInput) as caught:
        async with space.database.begin() as connection:
            await rerate(connection, "northside", **wanted)  # type: ignore[arg-type]
    assert caught.value.code == code


async def test_an_audit_finds_nothing_in_good_books_and_every_line_that_was_touched(space: Space) -> None:
    seen: list[tuple[int, int]] = []
    found = await audit(space.database, "northside", at=space.now, checked=lambda *how_far: seen.append(how_far))
    assert found
    assert seen[-1] == (3, 3)
    async with as_owner(space.database) as connection:
        await connection.execute(text("UPDATE charges SET amount = amount + 1 WHERE event_id = '2'"))
    found = await audit(space.database, "northside", at=space.now)
    assert [one.account for one in found.differing] == ["acme"]
    (fault,) = found.sums
    assert fault.account == "acme"
    assert [fault.booked, fault.expected] == [50, 51]
