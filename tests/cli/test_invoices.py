"""`meter invoices` over a real database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from meter.model.errors import BadInput
from tests.booking.space import Space, open_space
from tests.cli import command
from tests.store.test_invoices import STORY, tell

meter = partial(command.meter, "invoices")
done = partial(command.done, "invoices")


@pytest_asyncio.fixture
async def space(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "250")
    async with open_space(database_url) as opened:
        yield opened


async def test_the_list_shows_how_invoices_stand(space: Space) -> None:
    assert await done() == ""
    for news in STORY:
        await tell(space.database, *news)
    shown = await done()
    assert "ACME-0001" in shown
    assert "11.9 EUR" in shown
    [invoice] = json.loads(await done("--account", "acme", "--status", "paid", "--json"))["invoices"]
    assert (invoice["status"], invoice["remote_id"]) == ("paid", "in_1")
    assert json.loads(await done("--status", "void", "--json")) == {"invoices": []}


@pytest.mark.usefixtures("space")
async def test_a_status_that_there_is_not_is_refused() -> None:
    refused = await meter("--status", "lost")
    assert isinstance(refused.exception, BadInput)
    assert "uncollectible" in refused.exception.detail
