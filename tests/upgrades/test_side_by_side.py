"""Real gateways of the previous release and of this one on one migrated database: both at once, and back again."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from meter.store import migrate
from meter.store.engine import Database
from tests.door_catalog import door_catalog
from tests.gateway import RunningGateway
from tests.upgrades.previous import ROOT, running

CATALOG = door_catalog()


def entry(number: int) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"entry-{number}",
        "source": "berlin/door/main",
        "type": "door.access",
        "time": f"2026-03-02T{8 + number // 60:02}:{number % 60:02}:00Z",
        "subject": "badge:04A2991B",
        "data": {"door": "main", "direction": "in", "granted": True},
    }


async def post(gateway: RunningGateway, numbers: range) -> None:
    body = json.dumps([entry(number) for number in numbers])
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    async with gateway.client() as client, client.post("/v1/events", data=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        results = (await answer.json())["results"]
    assert {result["status"] for result in results} <= {"accepted", "duplicate"}


async def ready(gateway: RunningGateway) -> bool:
    async with gateway.client() as client, client.get("/health/ready") as answer:
        return answer.status == 200


async def exact(gateway: RunningGateway, events: int) -> None:
    """Wait for the books; each event is charged once, and every entry is even."""
    await gateway.settled(events=events)
    [(lines, quantity, amount)] = await gateway.rows("SELECT count(*), sum(quantity), sum(amount) FROM charges")
    assert (lines, quantity, amount) == (events, events, events * Decimal("1.10"))
    assert await gateway.rows("SELECT source, id FROM events GROUP BY 1, 2 HAVING count(*) > 1") == []


@pytest.fixture
def gateways(
    previous: Path, empty_database_url: str, broker_url: str, data_dir: Path
) -> tuple[RunningGateway, RunningGateway]:
    """One of the previous release and one of this, neither started."""
    catalog = data_dir / "catalog.yaml"
    catalog.write_text(CATALOG)
    made = []
    for name, tree in (("old", previous), ("new", ROOT)):
        home = data_dir / name
        home.mkdir(mode=0o711)
        env = {
            "METER_CATALOG": str(catalog),
            "METER_DATABASE_URL": empty_database_url,
            "METER_MQTT_URL": broker_url,
            "METER_IDENTITY_KEY": "the same for every gateway",
        }
        made.append(RunningGateway(home, env={**env, **running(tree)}))
    old, new = made
    return old, new


async def served_by(url: str) -> tuple[str | None, str]:
    """How far the database is, and from where on it may be served."""
    database = Database(url, as_owner=True)
    try:
        async with database.begin() as connection:
            served = (await connection.exec_driver_sql("SELECT version_num FROM alembic_version")).scalar_one()
        return await migrate.revision(database), served
    finally:
        await database.dispose()


@pytest.mark.slow
async def test_both_serve_at_once_and_either_goes_on_alone(
    gateways: tuple[RunningGateway, RunningGateway], empty_database_url: str
) -> None:
    old, new = gateways
    async with old, new:
        await exact_after(old, range(10), events=10)
        # `new` has migrated when it started, beside the old one at work.
        assert await served_by(empty_database_url) == (migrate.head(), "0013")
        assert await ready(old)
        assert await ready(new)
        await asyncio.gather(post(old, range(10, 30)), post(new, range(10, 30)))
        await asyncio.gather(post(old, range(30, 35)), post(new, range(35, 40)))
        await exact(new, 40)
        await old.kill()
        await exact_after(new, range(30, 50), events=50)
        await old.start()
        await post(new, range(50, 55))
        await new.kill()
        await exact_after(old, range(40, 60), events=60)


@pytest.mark.slow
async def test_the_program_goes_back_without_the_schema(
    gateways: tuple[RunningGateway, RunningGateway], empty_database_url: str
) -> None:
    old, new = gateways
    turns = [old, new, old, new]
    for turn, gateway in enumerate(turns, start=1):
        async with gateway:
            # Its last events once more: who is not sure sends again.
            await exact_after(gateway, range(max(0, turn * 10 - 15), turn * 10), events=turn * 10)
            assert await ready(gateway)
    assert await served_by(empty_database_url) == (migrate.head(), "0013")


async def exact_after(gateway: RunningGateway, numbers: range, *, events: int) -> None:
    """Send events; the books are exact afterwards."""
    await post(gateway, numbers)
    await exact(gateway, events)
