"""`meter deliveries` over a real database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from meter.model.errors import BadInput
from meter.store.deliveries import Change, record
from meter.store.outbox import add_items
from tests.booking.space import Space, open_space
from tests.cli import command
from tests.export.books import entry, items_of

meter = partial(command.meter, "deliveries")
done = partial(command.done, "deliveries")


@pytest_asyncio.fixture
async def space(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "250")
    async with open_space(database_url) as opened:
        async with opened.database.begin() as conn:
            await add_items(conn, items_of(*(entry(f"ch_{n}") for n in range(4))))
            dead = [Change(id=n, state="dead", fault="no such [customer]") for n in (1, 3)]
            await record(conn, "northside", [*dead, Change(id=2, state="delivered")])
        yield opened


async def states() -> dict[str, str]:
    return {one["id"]: one["state"] for one in json.loads(await done("list", "--json"))["deliveries"]}


async def test_the_list_shows_states_and_reasons(space: Space) -> None:
    assert await states() == {"4": "pending", "3": "dead", "2": "delivered", "1": "dead"}
    shown = await done()
    assert shown.count("no such [customer]") == 2
    only = json.loads(await done("list", "--state", "dead", "--target", "ledger", "--limit", "1", "--json"))
    assert [one["id"] for one in only["deliveries"]] == ["3"]


async def test_one_is_shown_with_its_payload(space: Space) -> None:
    shown = json.loads(await done("show", "1", "--json"))
    assert shown["payload"]["entries"][0]["id"] == "ch_0"
    assert "no such [customer]" in await done("show", "1")


async def test_the_dead_are_sent_again_one_or_all(space: Space) -> None:
    assert json.loads(await done("retry", "3", "--json"))["deliveries"][0]["revision"] == 1
    assert await done("retry", "--all", "--target", "xero") == ""
    assert "1 to be sent again: 6" in await done("retry", "--all")
    assert await states() == {
        "6": "pending",
        "5": "pending",
        "4": "pending",
        "3": "superseded",
        "2": "delivered",
        "1": "superseded",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["retry", "1", "2"], "delivery 2 is delivered"),
        (["retry"], "name the deliveries"),
        (["retry", "1", "--all"], "name the deliveries"),
        (["show", "99"], "there is no delivery 99"),
        (["list", "--state", "lost"], "there are pending"),
    ],
)
async def test_what_cannot_be_done_says_why_and_changes_nothing(
    space: Space, arguments: list[str], message: str
) -> None:
    result = await meter(*arguments)
    assert isinstance(result.exception, BadInput)
    assert message in result.exception.detail
    assert await states() == {"4": "pending", "3": "dead", "2": "delivered", "1": "dead"}
