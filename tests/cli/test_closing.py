"""`meter close` over a real database, run as from a shell but in a thread of this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from meter.cli import closing as closing_module
from meter.model.errors import BadInput
from tests.booking.closes import ACME_MARCH, Closes, heartbeat
from tests.booking.space import CATALOG, Space, open_space, pages
from tests.cli import command

meter = partial(command.meter, "close")
machine = partial(command.machine, "close")


@pytest_asyncio.fixture
async def space(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("METER_RATING_SHARDS", "4")
    monkeypatch.setenv("COLUMNS", "250")
    catalog = CATALOG.replace('unit_price: "25.00"', 'unit_price: "25.00", period_minimum: {amount: "40.00"}')
    async with open_space(database_url, catalog) as opened:
        monkeypatch.setattr(closing_module, "now", lambda: opened.now)
        monkeypatch.setattr(closing_module, "_RATED_WAIT_S", 0.2)
        await Closes.of(opened)
        yield opened


async def closes(space: Space) -> list[tuple[Any, ...]]:
    return await space.rows("SELECT account, period_start, reason FROM closes ORDER BY 1, 2")


async def test_a_complete_period_is_closed_once(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 10), heartbeat(ACME_MARCH.end))
    first = await machine("acme", "--period", "2026-03")
    assert [(one["account"], one["status"], one["missing"]) for one in first["accounts"]] == [("acme", "closed", [])]
    assert await closes(space) == [("acme", ACME_MARCH.start, None)]
    await space.rate()
    again = await machine("acme", "--period", "2026-03", "--reason", "again")
    assert [one["status"] for one in again["accounts"]] == ["already_closed"]
    assert await closes(space) == [("acme", ACME_MARCH.start, None)]


async def test_the_preview_names_the_true_ups_that_closing_books(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 10), heartbeat(ACME_MARCH.end))
    preview = await machine("acme", "--period", "2026-03", "--dry-run")
    assert preview["applied"] is False
    (one,) = preview["accounts"]
    assert one["status"] == "would_close"
    assert [(t["meter"], t["price"], t["rounded"], t["tax"]) for t in one["true_ups"]] == [
        ("day-passes", "day", "40", "7.6")
    ]
    assert await closes(space) == []
    closed = await machine("acme", "--period", "2026-03")
    assert closed["accounts"][0]["true_ups"] == one["true_ups"]
    await space.rate()
    assert await space.rows(
        "SELECT trim_scale(rounded), trim_scale(tax_amount) FROM charges WHERE kind = 'minimum'"
    ) == [(Decimal(40), Decimal("7.6"))]


async def test_what_is_not_complete_is_refused_by_site_edge_and_mark(space: Space) -> None:
    mark = datetime(2026, 3, 20, tzinfo=UTC)
    await space.take(pages("1", "02T09:00", 10), heartbeat(ACME_MARCH.end), heartbeat(mark, edge="edge-2"))
    refused = await meter("acme", "--period", "2026-03")
    assert refused.exit_code == 1
    for fact in ("acme", "2026-03", "berlin", "edge-2", "2026-03-20T00:00:00Z", "--force"):
        assert fact in refused.stderr
    assert "edge-1" not in refused.stderr
    told = await machine("acme", "--period", "2026-03", exit_code=1)
    assert told["accounts"][0]["status"] == "refused"
    assert told["accounts"][0]["missing"] == [
        {"kind": "site", "site": "berlin", "edge": "edge-2", "complete_until": "2026-03-20T00:00:00Z"}
    ]
    assert await closes(space) == []
    forced = await machine("acme", "--period", "2026-03", "--force", "--reason", "the agent was stolen")
    assert forced["accounts"][0]["status"] == "closed"
    assert await closes(space) == [("acme", ACME_MARCH.start, "the agent was stolen")]


async def test_all_closes_what_is_complete_and_refuses_the_rest(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 10))
    space.now = ACME_MARCH.end + timedelta(hours=1)
    told = await machine("--all", "--period", "2026-03", exit_code=1)
    # Of three accounts the walk-in one has nothing to bill, ever; the others' minimums are due since January.
    assert [(one["account"], one["status"]) for one in told["accounts"]] == [("acme", "refused"), ("solo", "refused")]
    assert told["accounts"][0]["missing"] == [{"kind": "waiting", "until": "2026-04-01T22:00:00Z"}]
    space.now = ACME_MARCH.end + timedelta(hours=24)
    told = await machine("--all", "--period", "2026-03")
    assert [(one["account"], one["status"]) for one in told["accounts"]] == [("acme", "closed"), ("solo", "closed")]
    assert [account for account, _, _ in await closes(space)] == ["acme", "solo"]


async def test_what_is_not_rated_yet_is_not_complete(space: Space) -> None:
    await space.take(heartbeat(ACME_MARCH.end))
    await space.accept([pages("1", "02T09:00", 10)])
    told = await machine("acme", "--period", "2026-03", exit_code=1)
    assert [obstacle["kind"] for obstacle in told["accounts"][0]["missing"]] == ["unrated"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--period", "2026-03"), "bad_option"),
        (("acme", "--all", "--period", "2026-03"), "bad_option"),
        (("acme", "--period", "2026-03", "--force"), "bad_option"),
        (("acme", "--period", "2026-03", "--force", "--reason", " "), "bad_option"),
        (("acme", "--period", "March"), "bad_period"),
        (("nobody", "--period", "2026-03"), "not_found"),
    ],
)
async def test_wrong_use_is_invalid_input(space: Space, arguments: tuple[str, ...], code: str) -> None:
    result = await meter(*arguments)
    assert isinstance(result.exception, BadInput)
    assert result.exception.code == code
    assert await closes(space) == []
