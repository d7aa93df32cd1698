"""Authorisations that were over long ago are removed, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
import pytest_asyncio

from meter.booking import forgetting
from meter.booking.forgetting import AUTHORIZATIONS_KEPT, Forgetter
from meter.store.authorizations import list_authorizations, release_authorization
from tests.booking.asking import Asking, printed, strict
from tests.booking.space import CATALOG, open_space


@pytest_asyncio.fixture
async def asking(database_url: str) -> AsyncIterator[Asking]:
    async with open_space(database_url, strict(CATALOG)) as space:
        yield Asking(space)


async def left(asking: Asking) -> set[str]:
    async with asking.space.database.begin() as connection:
        return {one.id for one in await list_authorizations(connection, "northside", limit=100)}


def forgetter(asking: Asking, at: datetime) -> Forgetter:
    return Forgetter(database=asking.space.database, operator="northside", clock=lambda: at)


async def test_what_was_over_long_ago_is_removed(asking: Asking) -> None:
    start = asking.space.now
    for name in ("came", "late", "let-go", "expired"):
        await asking.ask(name)
    await asking.ask("refused", 11)
    await asking.ask("long", expires_s=86_400)
    async with asking.space.database.begin() as connection:
        await release_authorization(connection, "northside", "let-go", at=start)
    await asking.space.accept([printed("j1", 1, settles="came")])
    asking.space.now = start + timedelta(days=2)
    await asking.space.accept([printed("j2", 1, settles="late")])
    await asking.ask("new")
    everything = {"came", "late", "let-go", "expired", "refused", "long", "new"}
    assert not await forgetter(asking, start + AUTHORIZATIONS_KEPT).step()
    assert await left(asking) == everything
    assert not await forgetter(asking, start + AUTHORIZATIONS_KEPT + timedelta(hours=1)).step()
    assert await left(asking) == {"long", "late", "new"}
    # What is asked under an id that was forgotten is a new ask.
    assert not (await asking.ask("came", 11)).repeated


async def test_it_goes_on_at_once_while_there_is_more(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "ROWS_MAX", 2)
    for number in range(5):
        await asking.ask(f"a{number}", identity="badge:NOBODY")
        asking.space.now += timedelta(seconds=1)
    one = forgetter(asking, asking.space.now + AUTHORIZATIONS_KEPT + timedelta(hours=1))
    found = [(await one.step(), len(await left(asking))) for _ in range(4)]
    assert found == [(True, 3), (True, 1), (False, 0), (False, 0)]
