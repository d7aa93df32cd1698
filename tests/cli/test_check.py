"""`meter check` and the commands beside it on what is not ready: a fault in a line, never a traceback."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from meter.cli import app
from meter.model.errors import Unavailable


async def meter(*arguments: str) -> Any:
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, arguments))


async def test_a_database_without_a_schema_is_a_line_of_its_own(
    empty_database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", empty_database_url)
    monkeypatch.setenv("METER_MQTT_URL", broker_url)
    result = await meter("check", "--json")
    assert result.exit_code == 1, result.exception
    parts = {item["part"]: item["ok"] for item in json.loads(result.stdout)}
    assert [part for part, ok in parts.items() if not ok] == ["schema", "catalog"]
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
