"""What a running agent has loaded: nothing that only the gateway needs, nothing for collectors that are not set."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.edge.told import environment_of

# They are installed here and not on site: the agent finds none of them. structlog, for one, takes rich where it is.
_ABSENT: Final = [
    *("alembic", "asyncpg", "cryptography", "hypothesis", "prometheus_client", "pyarrow", "pyasn1", "pydantic"),
    *("pysnmp", "rich", "sqlalchemy", "square", "stripe", "typer", "yaml"),
]
_RUN: Final = """
import asyncio, json, sys
for name in json.loads(sys.argv[1]):
    sys.modules[name] = None
from edge.app import agent
from edge.config.loading import load_settings
from meter.log import configure_logging

async def main():
    async with agent(load_settings()):
        print(json.dumps(sorted({name.partition(".")[0] for name, module in sys.modules.items() if module})))

configure_logging()
asyncio.run(main())
"""
EVERYTHING: Final[dict[str, Any]] = {
    "radius": "127.0.0.1:0",
    "sources": {
        "radius": {"aps": {"secrets": ["s"]}},
        "ipp": {"hall": {"api_base": "ipp://127.0.0.1:9/ipp/print"}},
        "kisi": {"main": {"secrets": ["s"]}},
    },
    "files": {"hall": {"vendor": "cups", "path": "/none/page_log"}},
    "broker": {"url": "mqtt://127.0.0.1:9", "topics": [{"topic": "z/#", "decoder": "zigbee2mqtt"}]},
    "readers": {"front": {"device": "/dev/none", "door": "front"}},
}


@pytest.mark.parametrize("more", [{}, EVERYTHING], ids=["least", "everything"])
def test_an_agent_runs_without_what_only_the_gateway_has(tmp_path: Path, more: dict[str, Any]) -> None:
    gateway = {"http_url": "http://127.0.0.1:9", "mqtt_url": "mqtt://127.0.0.1:9"}
    told = environment_of(data_dir=str(tmp_path), http="127.0.0.1:0", gateway=gateway, **more)
    command = [sys.executable, "-c", _RUN, json.dumps(_ABSENT)]
    run = subprocess.run(command, env=told, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    # The agent's log is on the other stream.
    (line,) = run.stdout.splitlines()
    loaded = set(json.loads(line))
    assert {"aiohttp", "msgspec", "paho"} <= loaded
    assert "edge_running" in run.stderr
