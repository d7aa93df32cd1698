"""The served OpenAPI document held against a gateway in a process of its own: what it says is so, and nothing is a 500.

`METER_TEST_FUZZ`: how many seconds to fuzz, with requests that follow from one another as well; without it a few
requests of every operation, the same each time. `METER_TEST_SEED`: the seed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from meter.rundir import admin_key
from meter.store.keys import Principal
from tests.api.conftest import ADMIN_KEY, Api, serving, the_services
from tests.booking.space import CATALOG, entry, pages, sale
from tests.gateway import RunningGateway

SETTINGS = Path(__file__).with_name("schemathesis.toml")
SECONDS = int(os.environ.get("METER_TEST_FUZZ", "0"))
SEED = os.environ.get("METER_TEST_SEED", "1")
PROGRAM = Path(sysconfig.get_path("scripts")) / "st"
# The edges of every schema, on a busy machine; the fuzzing has its own bound.
WITHIN_S = 300


@pytest_asyncio.fixture
async def gateway(data_dir: Path) -> AsyncIterator[RunningGateway]:
    """A gateway with an operator's catalog, members, charges, and what waits."""
    (data_dir / "gateway").mkdir()
    catalog = data_dir / "catalog.yaml"
    catalog.write_text(CATALOG)
    async with RunningGateway(data_dir / "gateway", arguments=("--catalog", str(catalog))) as running:
        told = [pages("p1", "02T08:00", 120), entry("d1", "02T09:00"), sale("s1", "02T10:00", "3.50")]
        told += [pages("p2", "03T08:00", 5, "badge:N0B0DY"), pages("p1", "02T08:00", 121)]
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        async with running.client() as client:
            answer = await client.post("/v1/events", json=[json.loads(one) for one in told], headers=headers)
            assert answer.status == 200
        yield running


@pytest_asyncio.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """The interface in this process, where faults can be planted."""
    async with serving(the_services(database_url)) as served:
        yield served


def held_against(address: str, key: str, directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run schemathesis on the document at `address`."""
    shutil.copy(SETTINGS, directory)
    command = [str(PROGRAM), "run", f"{address}/openapi.json", "--header", f"Authorization: Bearer {key}", "--no-color"]
    return subprocess.run(
        [*command, "--seed", SEED, *options],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S + SECONDS,
    )


async def test_the_gateway_does_what_its_document_says(gateway: RunningGateway, data_dir: Path) -> None:
    bounds: tuple[str, ...] = ("--phases", "examples,fuzzing", "--max-examples", "6", "--generation-deterministic")
    if SECONDS:
        bounds = ("--max-time", str(SECONDS), "--continue-on-failure")
    key = admin_key(gateway.data_dir)
    done = await asyncio.to_thread(held_against, gateway.addresses.http, key, data_dir, *bounds)
    assert done.returncode == 0, done.stdout
    print(done.stdout[-2_000:])  # noqa: T201 -- what was run, for docs/reliability.md
    log = gateway.log.read_text()
    assert "request_failed" not in log, log[-4_000:]


def _another_time(_given: object) -> int:
    return 7


def _fails(_given: object) -> str:
    raise ValueError


async def _everybody(_self: object, _request: object, _route: object) -> Principal:
    return Principal(key="anybody", scopes=frozenset({"admin"}))


@pytest.mark.parametrize(
    ("place", "fault", "found"),
    [
        ("meter.api.events.instant_text", _another_time, "Response violates schema"),
        ("meter.api.events.instant_text", _fails, "Server error"),
        ("meter.api.auth.Authenticator.admit", _everybody, "API accepts requests without authentication"),
    ],
)
async def test_a_planted_fault_is_found(
    api: Api, data_dir: Path, monkeypatch: pytest.MonkeyPatch, *, place: str, fault: object, found: str
) -> None:
    monkeypatch.setattr(place, fault)
    bounds = ("--include-path", "/v1/clock", "--phases", "fuzzing", "--max-examples", "2")
    done = await asyncio.to_thread(held_against, api.base, ADMIN_KEY, data_dir, *bounds)
    assert done.returncode == 1
    assert found in done.stdout, done.stdout
