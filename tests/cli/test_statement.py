"""`meter statement` over a real database, run as from a shell but in a thread of this process."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial

import pytest
import pytest_asyncio

from meter.cli import statement as statement_module
from meter.model.errors import BadInput
from tests.booking.space import Space, open_space, pages, sale
from tests.cli import command

meter = partial(command.meter, "statement")
done = partial(command.done, "statement")


@pytest_asyncio.fixture
async def space(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "160")
    async with open_space(database_url) as opened:
        await opened.take(
            pages("1", "02T09:00", 120),
            sale("s1", "04T12:00", "3.00", "badge:ADA1"),
            sale("s2", "05T12:00", "8.40", "badge:ADA1", "account"),
        )
        yield opened


@pytest.mark.usefixtures("space")
async def test_the_table_says_what_is_due_and_what_was_paid() -> None:
    printed = await done("acme", "--period", "2026-03")
    rows = [" ".join(line.split()) for line in printed.splitlines()]
    assert rows[0] == "ACME (acme), 2026-03: 2026-03-01 to 2026-03-31, Europe/Berlin"
    assert "usage: print-pages 120 page 100 1.00 EUR 0.19 EUR" in rows
    assert "acme-flex/pages/2026-03 100 100 0 page" in rows
    assert "vat19 19 % 9.40 EUR 1.79 EUR" in rows
    assert "due on account 9.40 EUR 1.79 EUR 11.19 EUR" in rows
    assert "paid at the till 3.00 EUR 0.57 EUR 3.57 EUR" in rows


@pytest.mark.usefixtures("space")
async def test_machines_get_the_apis_forms() -> None:
    told = json.loads(await done("acme", "--period", "2026-03", "--json"))
    assert (told["account"], told["period"]["name"], told["totals"]["due"]) == ("acme", "2026-03", "11.19")
    rows = list(csv.DictReader(io.StringIO(await done("acme", "--period", "2026-03", "--csv"))))
    assert [row["total"] for row in rows if row["section"] == "totals"] == ["11.19"]


@pytest.mark.usefixtures("space")
async def test_without_a_period_it_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_module, "now", lambda: datetime(2026, 3, 31, 22, tzinfo=UTC))
    assert json.loads(await done("acme", "--json"))["period"]["name"] == "2026-04"


@pytest.mark.usefixtures("space")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nobody",), "not_found"),
        (("acme", "--period", "march"), "bad_period"),
        (("acme", "--csv", "--json"), "bad_option"),
    ],
)
async def test_what_cannot_be_shown_is_named(arguments: tuple[str, ...], code: str) -> None:
    result = await meter(*arguments)
    assert isinstance(result.exception, BadInput)
    assert result.exception.code == code
