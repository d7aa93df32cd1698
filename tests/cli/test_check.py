"""`meter check` and the commands beside it on what is not ready: a fault in a line, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from meter.model.errors import Unavailable
from meter.store.gathering import Begun, write_export_cursor
from meter.store.usage import Cursor
from tests.booking.space import entry, open_space
from tests.booking.uncounted import NO_START, SPACE, door
from tests.cli.command import meter
from tests.owning import as_owner
from tests.targets.cases import stripe
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
    assert [part for part, ok in parts.items() if not ok] == ["schema", "walls", "catalog", "identities"]
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
        books = {"part": "books of 3 accounts", "ok": True, "state": "ok", "detail": None}
        told = json.loads(good.stdout)
        assert told[-1] == books
        assert {one["part"] for one in told} > {"backup", "credit", "seals", "places in the tail"}
        async with as_owner(space.database) as connection:
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


async def checked(monkeypatch: pytest.MonkeyPatch, url: str | None, targets: dict[str, Any]) -> dict[str, Any]:
    """What `meter check --json` says, by part."""
    if url is None:
        monkeypatch.delenv("METER_DATABASE_URL", raising=False)
    else:
        monkeypatch.setenv("METER_DATABASE_URL", url)
    monkeypatch.setenv("METER_TARGETS", json.dumps(targets))
    return {item["part"]: item for item in json.loads((await meter("check", "--json")).stdout)}


async def test_without_a_database_that_is_said_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("METER_DATA_DIR", str(tmp_path))
    found = await checked(monkeypatch, None, {"lake": {"kind": "files"}, "books": {"kind": "xero"}})
    assert sum("no database" in (item["detail"] or "") for item in found.values()) == 1
    rest = found["the rest"]
    assert (rest["ok"], rest["state"]) == (False, "not checked")
    assert rest["detail"] == "without the database: schema, walls, catalog, identities, target lake, target ledger"
    assert "METER_TARGETS__BOOKS: a target of kind xero needs" in found["target books"]["detail"]
    assert found["broker"]["state"] == "fault"


TAXED = SPACE.replace("taxes:\n", "taxes:\n  vat7: {rate: '0.07', inclusive: true}\n")


async def test_what_the_catalog_names_and_a_target_does_not_is_told_before_it_is_billed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stripe.CASE.fake() as vendor, open_space(database_url, TAXED):
        given = {"kind": "stripe", "base_url": vendor.url, "api_key": "sk_test_x"}
        found = await checked(monkeypatch, database_url, {"stripe": {**given, "options": {"tax_codes": {}}}})
        assert found["target stripe"]["state"] == "fault"
        assert "the target knows no tax called vat" in found["target stripe"]["detail"]
        assert "options.tax_codes" in found["target stripe"]["detail"]
        assert found["customers"]["state"] == "warning"
        assert "accounts.ID.stripe" in found["customers"]["detail"]
        codes = {"tax_codes": {"vat19": stripe.REDUCED, "vat7": stripe.REDUCED}}
        found = await checked(monkeypatch, database_url, {"stripe": {**given, "options": codes}})
        detail = found["target stripe"]["detail"]
        assert "vat19 is 19" in detail
        assert f"{stripe.REDUCED} at Stripe 7" in detail
        codes = {"tax_codes": {"vat19": stripe.VAT, "vat7": stripe.REDUCED}}
        found = await checked(monkeypatch, database_url, {"stripe": {**given, "options": codes}})
        assert found["target stripe"]["state"] == "ok"
        gone = {**given, "base_url": "http://127.0.0.1:9", "options": codes}
        found = await checked(monkeypatch, database_url, {"stripe": gone})
        assert "does not answer" in found["target stripe"]["detail"]
        assert "not compared" in found["target stripe"]["detail"]


async def test_a_setting_that_changed_under_a_target_is_told(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_space(database_url, SPACE) as space:
        async with space.database.begin() as conn:
            begun = Begun(kind="files", mode=None, reads="charges", start=None)
            await write_export_cursor(conn, "northside", "lake", Cursor(5, 0), begun=begun)
        found = await checked(monkeypatch, database_url, {"lake": {"kind": "files"}})
        assert found["target lake"]["state"] == "ok"
        late = await checked(monkeypatch, database_url, {"lake": {"kind": "files", "start": "2026-01-01"}})
        assert late["target lake"]["state"] == "warning"
        assert "start = 2026-01-01" in late["target lake"]["detail"]
        other = {"kind": "files", "options": {"dataset": "journal"}}
        found = await checked(monkeypatch, database_url, {"lake": other})
        assert found["target lake"]["state"] == "fault"
        assert "fed with charges and is set to kind files, fed with entries" in found["target lake"]["detail"]


async def test_a_deep_check_names_the_tie_that_is_broken_and_an_old_backup(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("METER_MQTT_URL", broker_url)
    async with open_space(database_url, SPACE) as space:
        await space.take(entry("1", "02T08:00"))
        async with as_owner(space.database) as connection:
            await connection.execute(text("DELETE FROM event_keys"))
            old = "INSERT INTO backups (name, started_at, seconds, bytes) VALUES ('x', now() - interval '3 d', 1, 1)"
            await connection.execute(text(old))
        found = await meter("check", "--deep", "--json")
    assert found.exit_code == 1
    told = {one["part"]: one for one in json.loads(found.stdout)}
    assert told["backup"]["state"] == "warning"
    assert "3 days old" in told["backup"]["detail"]
    tie = told["events and their keys"]
    assert tie["state"] == "fault"
    for said in ("is taken twice", "in 1 place", "the first: event berlin/door/main 1 has no key", "docs/backups.md"):
        assert said in tie["detail"]
