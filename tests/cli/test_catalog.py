"""`meter apply` and `meter plan` over a real database, run as from a shell but in a thread of this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meter.examples import example_catalog
from meter.store.directory import load_directory
from meter.store.engine import Database
from tests.cli.command import machine, meter

CATALOG = """operator: northside
currency: EUR
timezone: Europe/Berlin
meters:
  pages: {event: print.job, aggregate: sum, value: impressions, unit: page}
plans:
  flex: {deposit: 5, prices: {pages: [{id: page, model: per_unit, unit_price: "0.05"}]}}
"""
PEOPLE = """accounts:
  acme: {subscriptions: [{id: s, plan: flex, from: 2026-03-01}]}
members:
  ada: {account: acme, identities: ["badge:1"]}
"""


@pytest.fixture
def files(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plans.yaml").write_text(CATALOG)
    (tmp_path / "people.yaml").write_text(PEOPLE)
    return tmp_path


async def test_apply_loads_and_says_what_it_did(files: Path, database: Database) -> None:
    result = await meter("apply", "plans.yaml", "people.yaml")
    assert result.exit_code == 0, result.output
    assert "northside: version 1 is in force since always" in result.stdout
    assert "plans.yaml:7: plans.flex.deposit: does nothing here" in result.stderr
    async with database.begin() as conn:
        assert set((await load_directory(conn, "northside")).accounts) == {"acme"}
    again = await meter("apply", "plans.yaml", "people.yaml")
    assert (again.exit_code, "nothing changes" in again.stdout) == (0, True)


async def test_plan_tells_and_changes_nothing(files: Path) -> None:
    for _ in range(2):
        planned = await machine("plan", "plans.yaml", "people.yaml")
        assert (planned["version"], planned["applied"]) == (1, False)
        assert planned["directory"]["identities"] == {"added": 1, "changed": 0}
    result = await meter("plan", "plans.yaml")
    assert "version 1 would be in force since always" in result.stdout
    assert "no booked line would change" in result.stdout


async def test_plan_shows_what_changes(files: Path) -> None:
    await machine("apply", "plans.yaml", "people.yaml")
    changed = CATALOG.replace("0.05", "0.06") + "taxes:\n  vat: {rate: '0.19'}\neffective: 2026-01-01\n"
    (files / "plans.yaml").write_text(changed)
    planned = await machine("plan", "plans.yaml")
    assert planned["sections"] == [
        {"section": "taxes", "added": ["vat"], "changed": [], "removed": []},
        {"section": "plans", "added": [], "changed": ["flex"], "removed": []},
    ]
    assert planned["needs_reason"] is True
    refused = await meter("apply", "plans.yaml")
    assert (refused.exit_code, "--reason" in refused.stderr) == (2, True)
    assert (await machine("apply", "plans.yaml", "--reason", "a wrong price"))["version"] == 2


async def test_entries_of_an_earlier_file_may_be_named(files: Path) -> None:
    await machine("apply", "plans.yaml", "people.yaml")
    (files / "more.yaml").write_text(CATALOG + "grants:\n  - {id: g, account: acme, unit: page, amount: 5}\n")
    assert (await machine("apply", "more.yaml"))["directory"] == {"grants": {"added": 1, "changed": 0}}


async def test_every_fault_stands_on_a_line_of_its_own(files: Path) -> None:
    (files / "people.yaml").write_text(PEOPLE.replace("plan: flex", "plan: flexi").replace("badge:1", "[b]badge"))
    result = await meter("apply", "plans.yaml", "people.yaml", "missing.yaml")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0].startswith("missing.yaml: cannot be read: No such file or directory")
    result = await meter("apply", "plans.yaml", "people.yaml")
    assert result.exit_code == 2
    first, second, summary = result.stderr.splitlines()
    assert first.startswith("people.yaml:2: accounts.acme.subscriptions[0].plan: ")
    assert "did you mean flex?" in first
    assert second.startswith("people.yaml:4: members.ada.identities[0]: '[b]badge' is no identity")
    assert summary == "2 faults; nothing was changed"
    for_machines = await meter("apply", "plans.yaml", "people.yaml", "--json")
    assert [issue["line"] for issue in json.loads(for_machines.stdout)["issues"]] == [2, 4]


async def test_the_example_applies_without_a_warning(files: Path) -> None:
    (files / "example.yaml").write_text(example_catalog())
    result = await meter("apply", "example.yaml")
    assert (result.exit_code, result.stderr) == (0, "")
