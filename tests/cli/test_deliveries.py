"""`meter deliveries` over a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from meter.cli import deliveries
from meter.config import load_settings
from meter.export.targets.files import FILES
from meter.export.targets.setups import Targets
from meter.export.targets.spec import Means
from meter.model.errors import BadInput
from meter.store.deliveries import states_of
from meter.store.lanes import Change, hold_lane, record
from meter.store.outbox import OutboxItem, add_items
from meter.telemetry import Telemetry
from tests.booking.space import Space, open_space
from tests.cli import command
from tests.export.books import entry, items_of
from tests.targets.cases import files as cases
from tests.targets.driving import driven

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
    [made] = json.loads(await done("retry", "3", "--no-wait", "--json"))["deliveries"]
    assert (made["revision"], made["asked_by"]) == (1, "command line")
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


async def test_the_list_says_whose_it_is_and_why_in_short(space: Space) -> None:
    item = OutboxItem(operator="northside", target="t", operation="invoice", batch="b", key="k", payload=b"{}")
    async with space.database.begin() as conn:
        await add_items(conn, [replace(item, stream="acme", dead_because="no customer " * 30)])
    assert json.loads(await done("list", "--limit", "1", "--json"))["deliveries"][0]["account"] == "acme"
    shown = " ".join((await done("list", "--limit", "1")).split())
    assert "acme" in shown
    assert shown.count("no customer") < 20


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A files target with what it was delivered."""
    monkeypatch.setenv("METER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("METER_TARGETS", json.dumps({"lake": {"kind": "files"}}))
    return tmp_path


def parts(lake: Path) -> list[Path]:
    return sorted(lake.rglob("part-*.csv"))


async def test_what_was_lost_is_sent_again_once_somebody_says_so(space: Space, lake: Path) -> None:
    [found] = [
        one for one in Targets(load_settings().targets, operator="northside", data_dir=lake) if one.kind is FILES
    ]
    exporter = found.kind.open(found.setup, Means(database=space.database, telemetry=Telemetry()))
    days = ["--since", "2026-01-01", "--until", "2026-12-31"]
    missing = ["--missing", "--target", "lake", *days]
    async with driven(space.database, exporter, "lake") as lane:
        async with space.database.begin() as conn:
            await record(conn, "northside", [Change(id=4, state="delivered")])
        await lane.add(cases.items(4, 1))
        await lane.drain()
        first, *rest = parts(lake)
        written = first.read_bytes()
        first.unlink()
        report = await command.meter("reconcile", "lake", *days)
        assert report.exit_code == 1
        assert f"meter deliveries resend {' '.join(missing)}" in report.stdout
        assert (await meter("resend", *missing)).exit_code == 1  # nobody says yes
        assert "nothing is dead" not in await done("resend", *missing, "--yes", "--no-wait")
        [asked] = json.loads(await done("list", "--state", "uncertain", "--json"))["deliveries"]
        assert (asked["revision"], asked["attempts"], asked["asked_by"]) == (1, 0, "command line")
        await lane.drain()
        assert first.read_bytes() == written
        assert parts(lake) == [first, *rest]
    await command.done("reconcile", "lake", *days)
    assert await done("resend", *missing) == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the deliveries"),
        (["1", "--missing", "--target", "lake"], "name the deliveries"),
        (["--missing"], "name the deliveries"),
        (["2", "--since", "2026-01-01"], "name the deliveries"),
        (["2", "--json"], "--yes"),
        (["1", "--yes"], "delivery 1 is dead"),
        (["99", "--yes"], "there is no delivery 99"),
        (["--missing", "--target", "ledger"], "cannot say what it holds"),
    ],
)
async def test_what_cannot_be_sent_again_says_why(space: Space, arguments: list[str], message: str) -> None:
    result = await meter("resend", *arguments)
    assert isinstance(result.exception, BadInput)
    assert message in result.exception.detail


async def test_what_the_ledger_was_delivered_stays_as_it_is(space: Space) -> None:
    refused = await meter("resend", "2", "--yes")
    assert refused.exit_code == 1
    assert "2 is not sent again: the files name entries by the key" in refused.stderr
    assert (await states())["2"] == "delivered"
