"""`meter journal` over a real database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from tests.booking.journals import at
from tests.booking.space import CATALOG, Space, open_space, pages, sale
from tests.cli import command

meter = partial(command.meter, "journal")
done = partial(command.done, "journal")


@pytest_asyncio.fixture
async def space(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "250")
    ledger = "ledger: {unmapped: suspense, revenue: {print-pages: 'income:print'}}\n"
    async with open_space(database_url, CATALOG + ledger) as opened:
        opened.now = at("2026-03-09T12:00")
        await opened.take(pages("p1", "02T10:00", 140), pages("p2", "03T10:00", 100), sale("s1", "04T12:00", "2.00"))
        yield opened


async def test_entries_are_listed_by_day(space: Space) -> None:
    found = json.loads(await done("list", "--json"))["entries"]
    assert [(one["day"], one["suspense"]) for one in found] == [
        ("2026-03-02", False),
        ("2026-03-03", False),
        ("2026-03-04", True),
    ]
    shown = await done()
    assert "print-pages 140 page" in shown
    assert "-2.00" in shown
    assert "acme berlin" in shown


async def test_entries_are_chosen_by_day_by_account_and_by_suspense(space: Space) -> None:
    for options, days in (
        (("--day", "2026-03-03"), ["2026-03-03"]),
        (("--since", "2026-03-03"), ["2026-03-03", "2026-03-04"]),
        (("--until", "2026-03-02"), ["2026-03-02"]),
        (("--account", "income"), ["2026-03-02", "2026-03-03"]),
        (("--suspense",), ["2026-03-04"]),
        (("--limit", "1"), ["2026-03-04"]),
    ):
        found = json.loads(await done("list", *options, "--json"))["entries"]
        assert [one["day"] for one in found] == days, options
    assert "equity:suspense" in await done("--suspense")
    assert "income:print" not in await done("--suspense")


async def test_the_trial_balance(space: Space) -> None:
    shown = json.loads(await done("balances", "--json"))["balances"]
    assert {one["account"]: one["amount"] for one in shown} == {
        "assets:clearing": "2.38",
        "assets:receivable": "7.37",
        "equity:suspense": "-2",
        "income:print": "-6.19",
        "liabilities:tax": "-1.56",
    }
    assert "-6.19" in await done("balances")
    assert "income:print" in await done("balances", "--at", "2026-03-02")
    assert await done("balances", "--at", "2026-03-01") == ""


async def test_a_day_that_is_none_is_said(space: Space) -> None:
    result = await meter("list", "--day", "march")
    assert result.exit_code == 1
    assert "write a date" in str(result.exception)
