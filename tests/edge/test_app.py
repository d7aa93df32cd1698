"""An agent of which a part has ended is none: it ends as a whole, and is started anew, but for a wrong setting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.app import run
from edge.config.loading import load_settings
from edge.uplink.pump import Pump
from meter.model.errors import Broken
from tests.edge.agent import free_port


async def test_a_part_that_ends_by_itself_ends_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def let_go(_pump: Pump) -> None:
        raise LookupError("planted")

    monkeypatch.setattr(Pump, "let_go", let_go)
    told = {
        "METER_EDGE_SITE": "berlin",
        "METER_EDGE_DATA_DIR": str(tmp_path),
        "METER_EDGE_HTTP": f"127.0.0.1:{free_port()}",
        "METER_EDGE_GATEWAY__HTTP_URL": "http://127.0.0.1:9",
    }
    with pytest.raises(Broken, match="planted"):
        await run(load_settings(environment=told))


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("HTTP", "192.0.2.77:8490", os.EX_UNAVAILABLE),  # a router gives the machine its address later
        ("DATA_DIR", "/dev/null/edge", os.EX_UNAVAILABLE),
        ("SITE", "ber lin", os.EX_CONFIG),
    ],
)
def test_only_a_setting_that_stays_wrong_is_called_so(name: str, value: str, code: int, tmp_path: Path) -> None:
    told = {"SITE": "berlin", "DATA_DIR": str(tmp_path), "GATEWAY__HTTP_URL": "http://127.0.0.1:9", name: value}
    env = {**os.environ, **{f"METER_EDGE_{setting}": given for setting, given in told.items()}}
    command = [sys.executable, "-m", "edge", "run"]
    ended = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, check=False)
    assert ended.returncode == code, ended.stderr
