"""From a device's post to the gateway's log, through kills on both sides: each event once, none lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from meter.rundir import admin_key
from tests.edge.agent import RunningAgent
from tests.gateway import RunningGateway

CATALOG = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin}
"""


@pytest_asyncio.fixture
async def gateway(data_dir: Path) -> AsyncIterator[RunningGateway]:
    catalog = data_dir / "catalog.yaml"
    catalog.write_text(CATALOG)
    async with RunningGateway(data_dir, env={"METER_CATALOG": str(catalog)}) as running:
        yield running


def over_mqtt(gateway: RunningGateway) -> dict[str, str]:
    mqtt = gateway.addresses.mqtt
    assert mqtt is not None
    return {"METER_EDGE_GATEWAY__MQTT_URL": mqtt}


def over_http(gateway: RunningGateway) -> dict[str, str]:
    return {
        "METER_EDGE_GATEWAY__HTTP_URL": gateway.addresses.http,
        "METER_EDGE_GATEWAY__API_KEY": admin_key(gateway.data_dir),
    }


def door(number: int, **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"d-{number}",
        "source": "berlin/door/main",
        "type": "door.access",
        "subject": "badge:04A2991B",
        "data": {"door": "main", "granted": True},
        **more,
    }


@pytest.mark.parametrize("way", [over_mqtt, over_http])
async def test_what_devices_were_told_is_stored_once(gateway: RunningGateway, tmp_path: Path, way: Any) -> None:
    env: Mapping[str, str] = way(gateway)
    async with RunningAgent(tmp_path / "edge", env=env) as agent:
        for first in range(0, 300, 50):
            results = await agent.post([door(number) for number in range(first, first + 50)])
            assert {result["status"] for result in results} == {"accepted"}
        await agent.kill()
        await agent.start()
        assert (await agent.post([door(0), door(300)]))[0]["status"] == "accepted"
        await agent.drained()
        (edge,) = [one for one in (await gateway.get("/v1/edges"))["edges"] if one["up_to"]]
        assert (edge["edge"], edge["holes"]) == ("berlin-edge", [])
        assert edge["up_to"] == edge["last_sequence"]
    rows = await gateway.rows("SELECT id FROM events WHERE type = 'door.access' ORDER BY received_at")
    assert sorted(row[0] for row in rows) == sorted(f"d-{number}" for number in range(301))


async def test_a_gateway_that_was_away_gets_everything(gateway: RunningGateway, tmp_path: Path) -> None:
    env = over_http(gateway)
    async with RunningAgent(tmp_path / "edge", env=env) as agent:
        await agent.post([door(0)])
        await agent.drained()
        http = gateway.addresses.http
        await gateway.kill()
        await agent.post([door(number) for number in range(1, 40)])
        gateway.env["METER_HTTP"] = http.removeprefix("http://")
        await gateway.start()
        await agent.drained()
    assert await gateway.rows("SELECT count(*) FROM events WHERE type = 'door.access'") == [(40,)]


async def test_what_cannot_be_read_is_told_to_the_device_and_kept_for_people(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async with RunningAgent(tmp_path / "edge", env=over_mqtt(gateway)) as agent:
        bad = door(1, data={"door": "main", "granted": "maybe"})
        other = door(2, source="hamburg/door/main")
        for _ in range(2):
            results = await agent.post([bad, door(3), other])
            assert [(result["status"], result.get("code")) for result in results] == [
                ("rejected", "bad_data"),
                ("accepted", None),
                ("rejected", "wrong_site"),
            ]
        await agent.drained()
    kept = await gateway.rows("SELECT code FROM rejections ORDER BY code")
    assert kept == [("bad_data",), ("wrong_site",)]


async def test_an_event_without_a_time_happened_when_the_agent_heard_of_it(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Its device says it again later: it is the same event, not a conflict."""
    nowhere = {"METER_EDGE_GATEWAY__HTTP_URL": "http://127.0.0.1:9"}
    async with RunningAgent(tmp_path / "edge", env=nowhere) as agent:
        await agent.post([door(1)])
        heard = await agent.get("/v1/status")
        assert heard["spooled"] == 1
        assert not heard["online"]
        await agent.post([door(1)])
    agent = RunningAgent(tmp_path / "edge", env=over_mqtt(gateway))
    async with agent:
        await agent.drained()
    ((time, timed, received),) = await gateway.rows(
        "SELECT time, timed, received_at FROM events WHERE type = 'door.access'"
    )
    assert not timed
    assert time < received
    assert await gateway.rows("SELECT count(*) FROM rejections") == [(0,)]
