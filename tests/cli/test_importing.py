"""`meter import`, and the examples of its page."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from meter.catalog.mapping import read_mapping
from meter.ingest.importing.rows import extract
from meter.model.errors import BadInput
from tests.booking.space import Space, open_space
from tests.cli import command
from tests.sources.cases.papercut import LOG

PAGE: Final = Path(__file__).parents[2] / "docs" / "import.md"
EXAMPLES: Final = re.findall(r"```yaml\n(.*?)```\n\n```csv\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
MAPPING: Final = "members: {id: Nr, name: Name, account: Firma, identities: [{kind: badge, column: Karte}]}"
TABLE: Final = "Nr;Name;Firma;Karte\nnina;Nina;acme;04AA\n"


@pytest_asyncio.fixture
async def space(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("METER_MAX_AGE_DAYS", "20000")
    monkeypatch.setenv("COLUMNS", "250")
    async with open_space(database_url) as opened:
        yield opened


def test_the_pages_examples_can_be_taken_in() -> None:
    assert len(EXAMPLES) == 3
    for mapping, table in EXAMPLES:
        found = extract([("table.csv", table.encode())], read_mapping(mapping, file="map.yaml"), site="berlin")
        assert found.faults.issues == []
        assert len(found.entries) + len(found.events) >= table.count("\n") - 1


async def test_a_table_is_previewed_taken_in_and_known(space: Space, tmp_path: Path) -> None:
    table, mapping = tmp_path / "members.csv", tmp_path / "map.yaml"
    table.write_bytes(b"\xef\xbb\xbf" + TABLE.encode())
    mapping.write_text("\ufeff" + MAPPING, encoding="utf-8")
    arguments = ("import", str(table), "--map", str(mapping))
    foreseen = await command.meter(*arguments, "--dry-run")
    assert (foreseen.exit_code, "this was a preview" in foreseen.stderr) == (0, True)
    assert "line 2: nina: name Nina" in foreseen.stdout
    told = await command.machine(*arguments)
    assert (told["written"], told["rows"], told["faults"]) == (True, 1, [])
    assert told["kinds"]["members"] == {"new": 1, "changed": 0, "unchanged": 0}
    again = await command.machine(*arguments)
    assert again["kinds"]["members"] == {"new": 0, "changed": 0, "unchanged": 1}
    assert "1 rows are in" in (await command.meter(*arguments)).stderr


async def test_faults_are_said_where_they_are_and_may_be_left_out(space: Space, tmp_path: Path) -> None:
    table, mapping = tmp_path / "members.csv", tmp_path / "map.yaml"
    table.write_text(TABLE + ";Nobody;acme;04BB\nnils;Nils;nowhere;04CC\n", encoding="utf-8")
    mapping.write_text(MAPPING, encoding="utf-8")
    arguments = ("import", str(table), "--map", str(mapping))
    refused = await command.meter(*arguments)
    assert refused.exit_code == 2
    assert "members.csv:3: Nr: is empty" in refused.stderr
    assert "members.csv:4: Firma: names the account 'nowhere'" in refused.stderr
    assert "2 faults; nothing was changed" in refused.stderr
    taken = await command.meter(*arguments, "--skip-faults")
    assert (taken.exit_code, "2 faults; 2 rows were left out" in taken.stderr) == (0, True)
    assert (await command.machine(*arguments, exit_code=2))["kinds"] == {}


async def test_a_mapping_that_does_not_hold_is_told_by_its_lines(space: Space, tmp_path: Path) -> None:
    table, mapping = tmp_path / "members.csv", tmp_path / "map.yaml"
    table.write_text(TABLE, encoding="utf-8")
    mapping.write_text("members:\n  nr: Nr\n", encoding="utf-8")
    result = await command.meter("import", str(table), "--map", str(mapping))
    assert (result.exit_code, "map.yaml:2: members.nr" in result.stderr) == (2, True)
    mapping.write_bytes(b"\xff\xfe\xfd")
    assert (await command.machine("import", str(table), "--map", str(mapping), exit_code=2))["written"] is False


async def test_a_file_that_a_source_reads(space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_WEBHOOKS__PAPERCUT__HALL__SITE", "berlin")
    log = tmp_path / "printlog_2026_03_02.log"
    log.write_text("\n".join(LOG) + "\n", encoding="utf-8")
    arguments = ("import", str(log), "--source", "papercut/hall")
    told = await command.machine(*arguments)
    assert told["kinds"] == {"events": {"new": 2, "changed": 0, "unchanged": 0}}
    assert (await command.machine(*arguments))["kinds"]["events"]["unchanged"] == 2
    log.write_text("\n".join([*LOG, "2026-03-02\tnonsense"]) + "\n", encoding="utf-8")
    refused = await command.meter(*arguments)
    assert (refused.exit_code, "printlog_2026_03_02.log" in refused.stderr) == (2, True)
    assert (await command.meter(*arguments, "--skip-faults")).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["TABLE"],
        ["TABLE", "--map", "x", "--source", "papercut/hall"],
        ["nowhere.csv", "--map", "TABLE"],
        ["TABLE", "--source", "papercut/nowhere"],
    ],
)
async def test_what_cannot_be_meant_is_wrong_usage(space: Space, tmp_path: Path, arguments: list[str]) -> None:
    table = tmp_path / "members.csv"
    table.write_text(TABLE, encoding="utf-8")
    result = await command.meter("import", *(str(table) if word == "TABLE" else word for word in arguments))
    assert isinstance(result.exception, BadInput)
