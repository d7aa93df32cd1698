"""The agent's unit: what systemd thinks of it, and that it means what the agent means."""

from __future__ import annotations

import os
import subprocess
from configparser import ConfigParser
from pathlib import Path

import msgspec
import pytest

from edge.__main__ import main
from edge.config.settings import EdgeSettings
from tests.deploy.parts import DEPLOY, REPOSITORY
from tests.tools import need_tool

UNIT = DEPLOY / "systemd" / "meter-edge.service"
DOCUMENT = (REPOSITORY / "docs" / "edge.md").read_text(encoding="utf-8")


def service() -> dict[str, str]:
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names are as systemd writes them
    parser.read(UNIT)
    return dict(parser["Service"])


def verified(unit: str, directory: Path) -> str:
    """What systemd has to say of a unit whose program is there."""
    program = directory / "meter-edge"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = directory / "meter-edge.service"
    path.write_text(unit.replace("/opt/meter/bin/meter-edge", str(program)))
    command = [need_tool("systemd-analyze"), "verify", "--man=no", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    # Of other units of the machine it speaks, too.
    return "\n".join(line for line in told.stderr.splitlines() if "meter-edge" in line)


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    unit = UNIT.read_text()
    assert verified(unit, tmp_path) == ""
    assert "Restrat" in verified(unit.replace("Restart=", "Restrat="), tmp_path)
    assert verified(unit.replace("adjtimex", "adjtimecks"), tmp_path)


def test_what_it_starts_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    program, *arguments = service()["ExecStart"].split()
    assert f"python3 -m venv {Path(program).parents[1]}" in DOCUMENT
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: meter-edge {arguments[0]}")


def test_its_directories_are_the_agents() -> None:
    settings = {field.name: field.default for field in msgspec.structs.fields(EdgeSettings)}
    assert settings["data_dir"] == f"/var/lib/{service()['StateDirectory']}"
    assert service()["WorkingDirectory"] == f"/etc/{service()['ConfigurationDirectory']}"
    assert f"useradd --system --home-dir {settings['data_dir']}" in DOCUMENT
    assert f"{service()['WorkingDirectory']}/meter-edge.toml" in DOCUMENT


def test_a_wrong_setting_is_not_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("METER_EDGE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("METER_EDGE_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["run"]) == int(service()["RestartPreventExitStatus"]) == os.EX_CONFIG


def test_it_runs_as_an_ordinary_user() -> None:
    assert service()["User"] not in {"", "root"}
    assert service()["CapabilityBoundingSet"] == ""
    assert f"useradd --system --home-dir /var/lib/meter-edge --create-home {service()['User']}" in DOCUMENT
