"""docs/ledger.md says what the code does."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from meter.catalog.load import read_catalog_text
from meter.export.journal import DEFAULT_ACCOUNTS
from meter.export.targets.ledger.text import beancount_account, hledger_account

DOCUMENT = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The table below `heading`, without its head."""
    section = DOCUMENT.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_chart_lists_every_default() -> None:
    listed = {row[1].strip("`") for row in rows("The chart of accounts") if row[1].startswith("`")}
    landlord = DEFAULT_ACCOUNTS["landlord"]
    assert listed == {*DEFAULT_ACCOUNTS.values(), "income:METER", "income:membership", f"{landlord}:PARTY"} - {landlord}


def test_the_chart_to_start_from_fits_the_example() -> None:
    ledger = DOCUMENT.split("```yaml\n")[1].split("```")[0]
    example = (Path(__file__).parents[2] / "examples" / "northside.yaml").read_text()
    before, _, rest = example.partition("\nledger:\n")
    _, _, behind = rest.partition("\n\n")
    loaded = read_catalog_text([("northside.yaml", f"{before}\n{ledger}\n{behind}")])
    assert loaded.warnings == read_catalog_text([("northside.yaml", example)]).warnings
    assert loaded.catalog.ledger.locked == date(2026, 2, 28)


def test_names_are_spelled_as_the_table_says() -> None:
    names = [[cell.strip("`") for cell in row] for row in rows("Names")]
    assert len(names) == 3
    for name, in_hledger, in_beancount in names:
        assert (hledger_account(name), beancount_account(name)) == (in_hledger, in_beancount)


def test_only_modules_that_exist_are_named() -> None:
    readme = (Path(__file__).parents[2] / "meter" / "export" / "README.md").read_text()
    named = set(re.findall(r"`(\w+\.py)`", readme))
    there = {path.name for path in (Path(__file__).parents[2] / "meter" / "export").glob("*.py")}
    assert named == there - {"__init__.py"}
