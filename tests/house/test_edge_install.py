"""The agent alone: installed from its own lock in an empty environment, it runs, small, without the gateway's parts."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.agent import free_port
from tests.edge.told import environment_of
from tests.house.installed import installed_from

# What it may have with every collector but SNMP, on a Raspberry Pi as here.
_RSS_BYTES_MAX = 60_000_000
_GATEWAYS_OWN = [
    "alembic",
    "asyncpg",
    "prometheus_client",
    "pydantic",
    "pyarrow",
    "rich",
    "sqlalchemy",
    "typer",
    "yaml",
]
_START_TIMEOUT_S = 120


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that holds the agent and what its lock names, made as docs/edge.md says."""
    return installed_from("edge.txt", tmp_path_factory.mktemp("installed"))


@pytest.fixture
def told(tmp_path: Path) -> dict[str, str]:
    """Settings of an agent that reaches nobody."""
    return environment_of(data_dir=str(tmp_path), http=f"127.0.0.1:{free_port()}")


def run(program: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], env=env, capture_output=True, text=True, check=False, timeout=120)


def test_it_says_who_it_is_and_looks_around(installed: Path, told: dict[str, str]) -> None:
    assert run(installed / "meter-edge", "--version").stdout.startswith("meter-edge ")
    checked = run(installed / "meter-edge", "check", env=told)
    assert checked.returncode == 1
    assert "ok    settings: site berlin" in checked.stdout
    assert "FAULT gateway: http://127.0.0.1:9/v1/clock does not answer" in checked.stdout
    enrolled = run(installed / "meter-edge", "enroll", "http://127.0.0.1:9", "CODE", env=told)
    assert (enrolled.returncode, "does not answer" in enrolled.stderr) == (os.EX_UNAVAILABLE, True)


@pytest.mark.parametrize("name", _GATEWAYS_OWN)
def test_nothing_is_there_that_only_the_gateway_needs(installed: Path, name: str) -> None:
    assert "ModuleNotFoundError" in run(installed / "python", "-c", f"import {name}").stderr


@pytest.fixture
def agent(installed: Path, told: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`meter-edge run`, once it hears devices."""
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([installed / "meter-edge", "run"], env=told, stderr=log, cwd=tmp_path)
    try:
        end_s = time.monotonic() + _START_TIMEOUT_S
        while not _hears(told["METER_EDGE_HTTP"]):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end_s
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def _hears(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_it_runs_small_and_ends_when_asked(agent: subprocess.Popen[bytes]) -> None:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{agent.pid}/status").read_text().splitlines())
    assert int(status["VmRSS"].split()[0]) * 1024 < _RSS_BYTES_MAX
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(60) == 0
