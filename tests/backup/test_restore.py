"""A backup that is made beside a running gateway, and what is restored from it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from meter.rundir import admin_key
from tests.door_catalog import door_catalog
from tests.gateway import RunningGateway

pytestmark = pytest.mark.slow

CATALOG = door_catalog()
# Each block that can fail is a transaction of its own, with an id.
_BUSY = """
DO $$ BEGIN
    CREATE TEMPORARY TABLE busy (number integer);
    FOR number IN 1..50000 LOOP
        BEGIN INSERT INTO busy VALUES (number); EXCEPTION WHEN division_by_zero THEN NULL; END;
    END LOOP;
END $$
"""


def door(number: int) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"d-{number}",
        "source": "berlin/door/main",
        "type": "door.access",
        "time": f"2026-03-02T{8 + number // 600:02}:{number // 10 % 60:02}:{number % 10:02}Z",
        "subject": "badge:04A2991B",
        "data": {"door": "main", "direction": "in", "granted": True},
    }


async def post(gateway: RunningGateway, numbers: range) -> None:
    async with gateway.client() as client:
        body = json.dumps([door(number) for number in numbers])
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        async with client.post("/v1/events", data=body, headers=headers) as response:
            assert response.status == 200, await response.text()


async def meter(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """The exit code and what a command prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "meter", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **(env or {})},
    )  # fmt: skip
    printed, faults = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode(), faults.decode()


async def done(*arguments: str, env: dict[str, str] | None = None) -> Any:
    code, printed, faults = await meter(*arguments, "--json", env=env)
    assert code == 0, faults
    return json.loads(printed)


@pytest_asyncio.fixture
async def gateway(data_dir: Path) -> AsyncIterator[RunningGateway]:
    home = data_dir / "old"
    home.mkdir(mode=0o711)
    catalog = data_dir / "catalog.yaml"
    catalog.write_text(CATALOG)
    async with RunningGateway(home, env={"METER_CATALOG": str(catalog)}) as running:
        yield running


async def charges(gateway: RunningGateway, cursor: str | None = None) -> Any:
    given = {} if cursor is None else {"cursor": cursor}
    return await gateway.get("/v1/charges", limit="1000", **given)


async def test_a_restored_gateway_tells_every_line_behind_any_cursor(gateway: RunningGateway, data_dir: Path) -> None:
    await post(gateway, range(50))
    await gateway.settled(events=50)
    before = await charges(gateway)
    made = await done("backup", str(data_dir / "kept"), "--data-dir", str(gateway.data_dir))
    assert made["totals"]["rows"]["events"] == 50
    assert made["totals"]["rounded"] == {"EUR": "55"}
    # What the backup misses, told to customers all the same: their cursors are ahead of it, by a busy day.
    await gateway.rows(_BUSY)
    await post(gateway, range(50, 90))
    await gateway.settled(events=90)
    lost = await charges(gateway, before["next"])
    assert len(lost["charges"]) == 40
    key = admin_key(gateway.data_dir)
    assert await gateway.stop() == 0

    new = data_dir / "new"
    restored = await done("restore", str(data_dir / "kept"), "--data-dir", str(new))
    assert restored["name"] == made["name"]
    assert admin_key(new) == key
    assert sorted(path.name for path in new.iterdir()) == ["admin.key", "identity.key", "postgres"]
    async with RunningGateway(new, env=gateway.env) as again:
        assert len((await charges(again))["charges"]) == 50
        # An agent replays what is missing, some of it new.
        await post(again, range(45, 95))
        await again.settled(events=95)
        found = await charges(again, lost["next"])
        told = {charge["id"]: charge["amount"] for charge in found["charges"]}
        assert {charge["event"]["id"] for charge in found["charges"]} == {f"d-{number}" for number in range(50, 95)}
        assert {charge["id"] for charge in lost["charges"]} < told.keys()
        assert len(told) == 45
        assert (await charges(again, found["next"]))["charges"] == []
        # An older cursor is as good as before.
        assert len((await charges(again, before["next"]))["charges"]) == 45
        # The ledger's files, which no backup holds, are whole again.
        (text,) = [path.read_text() for path in (new / "ledger" / "beancount").rglob("*berlin*")]
        assert text.count("d-") >= 95 or text.count("1.10 EUR") >= 95
        code, printed, faults = await meter("check", "--deep", "--json", env={"METER_DATA_DIR": str(new)})
        assert code == 0, printed + faults
        states = {one["part"]: one["state"] for one in json.loads(printed)}
        assert states["backup"] == "warning", "it knows of no backup of its own"
        assert [states[part] for part in ("events and their outcome", "books and charges", "seals")] == ["ok"] * 3
