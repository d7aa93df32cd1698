"""`meter check` and the commands beside it on what is not ready: a fault in a line, never a traceback."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from meter.model.errors import Unavailable
from tests.booking.space import entry, open_space
from tests.booking.uncounted import NO_START, SPACE, door
from tests.cli.command import meter
from tests.targets.cases.quickbooks import fake as quickbooks
from tests.targets.cases.quickbooks import setup as quickbooks_setup
from tests.targets.fakes.quickbooks import TOKEN_PATH


async def test_a_database_without_a_schema_is_a_line_of_its_own(
    empty_database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", empty_database_url)
    monkeypatch.setenv("METER_MQTT_URL", broker_url)
    result = await meter("check", "--json")
    assert result.exit_code == 1, result.exception
    parts = {item["part"]: item["ok"] for item in json.loads(result.stdout)}
    assert [part for part, ok in parts.items() if not ok] == ["schema", "catalog", "identities"]
    listing = await meter("charges")
    assert isinstance(listing.exception, Unavailable)
    assert "meter migrate" in listing.exception.detail


async def test_webhooks_that_could_never_arrive_are_named(
    empty_database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", empty_database_url)
    monkeypatch.setenv("METER_MQTT_URL", broker_url)
    monkeypatch.setenv("METER_WEBHOOKS__SQUARE__TILL__SECRETS", '["hush"]')
    monkeypatch.setenv("METER_WEBHOOKS__NOBODY__X__SECRETS", '["hush"]')
    result = await meter("check", "--json")
    assert result.exit_code == 1
    (detail,) = [item["detail"] for item in json.loads(result.stdout) if item["part"] == "settings"]
    for name in ("METER_WEBHOOKS__SQUARE__TILL: ", "METER_WEBHOOKS__NOBODY: "):
        assert name in detail
    assert "hush" not in result.output


async def test_a_targets_tokens_are_those_of_the_gateway(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that refreshed for itself would use up the refresh token that the gateway lives on."""
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("METER_MQTT_URL", broker_url)
    async with quickbooks() as vendor, open_space(database_url, SPACE) as space:
        given = quickbooks_setup(vendor.url)
        target = {
            "kind": given.kind,
            "base_url": given.base_url,
            "company": given.company,
            "client_id": given.client_id,
            "client_secret": given.client_secret,
            "refresh_token": given.refresh_token,
            "options": given.options,
        }
        monkeypatch.setenv("METER_TARGETS", json.dumps({"books": target}))
        for _ in range(2):
            told = {item["part"]: item["detail"] for item in json.loads((await meter("check", "--json")).stdout)}
            assert told["target books"] is None
        async with space.database.begin() as connection:
            kept = (await connection.execute(text("SELECT operator, refresh_token FROM oauth_tokens"))).all()
    assert [tuple(row) for row in kept] == [("northside", "refresh-1")]
    assert len(vendor.calls("POST", TOKEN_PATH)) == 1


async def test_a_deep_check_names_what_is_booked_or_listed_otherwise(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("METER_MQTT_URL", broker_url)
    async with open_space(database_url, SPACE) as space:
        await space.take(entry("1", "02T08:00"), door("out", "03T12:00", "out"))
        good = await meter("check", "--deep", "--json")
        assert good.exit_code == 0, good.output
        assert json.loads(good.stdout)[-1] == {"part": "books of 3 accounts", "ok": True, "detail": None}
        async with space.database.begin() as connection:
            await connection.execute(text("UPDATE charges SET amount = amount + 1 WHERE event_id = '1'"))
            await connection.execute(text("UPDATE unread SET code = 'unread', reason = 'made up'"))
        bad = await meter("check", "--deep", "--json")
    assert bad.exit_code == 1
    told = {item["part"]: item["detail"] for item in json.loads(bad.stdout) if not item["ok"]}
    assert set(told) == {"books of acme", "sums of acme", "unread of acme"}
    assert "1 line differs by -1 EUR" in told["books of acme"]
    assert told["unread of acme"] == (
        "1 entry differs; the first, presence of 2026-03-03T12:00:00Z (berlin/door/main out), is listed with "
        f"unread: made up and comes to orphan: {NO_START}"
    )
