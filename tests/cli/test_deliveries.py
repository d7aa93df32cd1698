"""`meter deliveries` over a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from meter.cli import deliveries
from meter.model.errors import BadInput
from meter.store.deliveries import states_of
from meter.store.lanes import Change, hold_lane, record
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


async def pending(space: Space, numbers: list[int]) -> bool:
    async with space.database.begin() as conn:
        return await states_of(conn, "northside", numbers) == {"pending": len(numbers)}


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
    assert json.loads(await done("retry", "3", "--no-wait", "--json"))["deliveries"][0]["revision"] == 1
    assert await done("retry", "--all", "--target", "xero") == ""
    assert await done("retry", "--all", "--reason", "unknown") == ""
    assert "1 to be sent again: 6" in await done("retry", "--all", "--reason", "No Such", "--no-wait")
    assert await states() == {
        "6": "pending",
        "5": "pending",
        "4": "pending",
        "3": "superseded",
        "2": "delivered",
        "1": "superseded",
    }


async def test_it_waits_until_what_is_sent_again_is_delivered_or_dead(space: Space) -> None:
    retrying = asyncio.create_task(meter("retry", "--all"))
    async with asyncio.timeout(60):
        while not await pending(space, [5, 6]):  # noqa: ASYNC110 -- the command tells nobody
            await asyncio.sleep(0.05)
    async with space.database.begin() as conn:
        settled = [Change(id=5, state="delivered"), Change(id=6, state="dead", fault="no such customer")]
        await record(conn, "northside", settled)
    shown = await retrying
    assert "2 to be sent again: 5, 6" in shown.stdout
    assert "1 delivered, 1 dead" in shown.stdout
    assert "6 is dead again: no such customer" in shown.stderr
    assert shown.exit_code == 1


async def test_it_gives_up_waiting_where_nothing_moves(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "_STILL_S_MAX", 0.0)
    assert "1 pending; what waits goes on by itself" in await done("retry", "1")


async def test_a_target_that_the_gateway_found_down_is_not_in_order(
    space: Space, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("METER_DATA_DIR", str(tmp_path))
    assert "down since" not in (await command.meter("check")).output
    async with space.database.begin() as conn:
        await hold_lane(conn, "northside", "ledger", held_s=30.0, down=True, fault="connection refused")
    checked = await command.meter("check")
    assert checked.exit_code == 1
    assert "down since" in checked.output
    assert "connection refused; see meter deliveries summary" in checked.output


async def test_the_summary_counts_and_names_what_is_left_alone(space: Space) -> None:
    async with space.database.begin() as conn:
        await hold_lane(conn, "northside", "ledger", held_s=30.0, down=True, fault="connection [refused]")
    [found] = json.loads(await done("summary", "--json"))["targets"]
    assert found["states"] == {"pending": 1, "dead": 2, "delivered": 1}
    assert found["held"]["fault"] == "connection [refused]"
    shown = await done("summary")
    assert "down since" in shown
    assert "connection [refused]" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["retry", "1", "2"], "delivery 2 is delivered"),
        (["retry"], "name the deliveries"),
        (["retry", "1", "--all"], "name the deliveries"),
        (["retry", "1", "--reason", "x"], "name the deliveries"),
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
