"""`meter simulate` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from meter.cli.simulate import simulate
from meter.model.errors import BadInput
from meter.rundir import Addresses, admin_key, write_addresses
from meter.simulate import Sent

app = typer.Typer()
app.command()(simulate)


def run(*arguments: str) -> bytes:
    result = CliRunner().invoke(app, ["--start", "2026-11-18", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout_bytes


def test_the_standard_output_is_events_and_nothing_else() -> None:
    lines = run("--members", "10").splitlines()
    assert {json.loads(line)["specversion"] for line in lines} == {"1.0"}


def test_the_same_seed_writes_the_same_file_and_another_one_another(tmp_path: Path) -> None:
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        run("--seed", seed, "--out", str(tmp_path / name))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_clean_means_each_event_once() -> None:
    ids = [json.loads(line)["id"] for line in run("--days", "3", "--clean").splitlines()]
    repeated = [json.loads(line)["id"] for line in run("--days", "3").splitlines()]
    assert len(set(ids)) == len(ids) < len(repeated)
    assert set(ids) == set(repeated)


def test_the_catalog_written_beside_the_events_knows_the_sites(tmp_path: Path) -> None:
    run("--sites", "3", "--members", "5", "--catalog", str(tmp_path / "c.yaml"))
    loaded = yaml.safe_load((tmp_path / "c.yaml").read_text(encoding="utf-8"))
    assert list(loaded["sites"]) == ["berlin", "lisbon", "athens"]
    assert loaded["operator"] == "northside"


def test_a_rate_for_a_file_is_refused() -> None:
    result = CliRunner().invoke(app, ["--rate", "5"])
    assert isinstance(result.exception, BadInput)


def test_it_finds_the_gateway_that_runs_on_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_DATA_DIR", str(tmp_path))
    given: list[tuple[str, str]] = []

    async def post(deliveries: object, *, url: str, key: str, pace: object) -> Sent:
        given.append((url, key))
        return Sent()

    async def publish(deliveries: object, *, url: str, pace: object) -> Sent:
        given.append((url, ""))
        return Sent()

    monkeypatch.setattr("meter.cli.simulate.to_http", post)
    monkeypatch.setattr("meter.cli.simulate.to_mqtt", publish)
    for sink in ("http", "mqtt"):
        assert isinstance(CliRunner().invoke(app, ["--to", sink]).exception, BadInput)
    write_addresses(tmp_path, Addresses(http="http://h:1", mqtt="mqtt://h:2", database="postgresql://h:3/d", pid=4))
    run("--to", "http")
    run("--to", "mqtt")
    assert given == [("http://h:1", admin_key(tmp_path)), ("mqtt://h:2", "")]
