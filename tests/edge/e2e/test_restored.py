"""A gateway whose database was restored from an older backup: its agents send again what it has lost."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from meter.rundir import admin_key
from tests.door_catalog import door_catalog
from tests.edge.agent import RunningAgent
from tests.edge.e2e.test_way import door, over_http, over_mqtt
from tests.gateway import RunningGateway

pytestmark = pytest.mark.slow

CATALOG = door_catalog("1.00")
FOUND_S = 90


@pytest_asyncio.fixture
async def gateway(data_dir: Path) -> AsyncIterator[RunningGateway]:
    catalog = data_dir / "catalog.yaml"
    catalog.write_text(CATALOG)
    async with RunningGateway(data_dir, env={"METER_CATALOG": str(catalog)}) as running:
        yield running


async def stopped(gateway: RunningGateway) -> Path:
    """Stop it and return where its database is; the next start is at the same address."""
    gateway.env["METER_HTTP"] = gateway.addresses.http.removeprefix("http://")
    assert await gateway.stop() == 0
    return gateway.data_dir / "postgres" / "home" / "cluster"


async def back_up(gateway: RunningGateway, backup: Path) -> None:
    cluster = await stopped(gateway)
    shutil.copytree(cluster, backup, symlinks=True)
    await gateway.start()


async def restore(gateway: RunningGateway, backup: Path) -> None:
    cluster = await stopped(gateway)
    owner = cluster.stat()
    shutil.rmtree(cluster)
    shutil.copytree(backup, cluster, symlinks=True)
    for path in (cluster, *cluster.rglob("*")):
        shutil.chown(path, owner.st_uid, owner.st_gid)
    await gateway.start()


async def doors(gateway: RunningGateway) -> list[str]:
    rows = await gateway.rows("SELECT id FROM events WHERE type = 'door.access'")
    return sorted(row[0] for row in rows)


@pytest.mark.parametrize("way", [over_mqtt, over_http])
async def test_what_was_acknowledged_after_the_backup_is_there_again_and_billed_once(
    gateway: RunningGateway, tmp_path: Path, way: Any
) -> None:
    key = admin_key(gateway.data_dir)
    async with RunningAgent(tmp_path / "edge", env=way(gateway)) as agent:
        await agent.post([door(number) for number in range(20)])
        await agent.drained()
        await back_up(gateway, tmp_path / "backup")
        await agent.post([door(number) for number in range(20, 60)])
        await agent.drained()
        assert len(await doors(gateway)) == 60
        await restore(gateway, tmp_path / "backup")
        assert admin_key(gateway.data_dir) == key
        await agent.post([door(number) for number in range(60, 65)])
        async with asyncio.timeout(FOUND_S):
            while len(await doors(gateway)) < 65:  # noqa: ASYNC110 -- another process tells nobody
                await asyncio.sleep(0.2)
        await agent.drained()
        (fault,) = (await agent.get("/v1/status"))["faults"]
        assert "restored from a backup" in fault
        (edge,) = [one for one in (await gateway.get("/v1/edges"))["edges"] if one["current"]]
        assert edge["holes"] == []
    assert await doors(gateway) == sorted(f"d-{number}" for number in range(65))
    (stored,) = await gateway.rows("SELECT count(*) FROM events")
    await gateway.settled(events=stored[0])
    charges = (await gateway.get("/v1/charges", limit="1000"))["charges"]
    assert sorted(charge["event"]["id"] for charge in charges) == sorted(f"d-{number}" for number in range(65))
    assert {(charge["amount"], charge["member"], charge["kind"]) for charge in charges} == {("1", "ada", "usage")}
