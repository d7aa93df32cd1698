"""What is wrong with a collector's settings is told before it runs, and `meter-edge check` looks at what it needs."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edge.check import check
from edge.collect import check as looking
from edge.config.faults import ConfigFault
from edge.config.settings import EdgeSettings
from edge.sources import configured_broker, configured_logs
from meter.model.errors import BadInput
from tests.edge.agent import RunningAgent
from tests.edge.collect.broker import mosquitto
from tests.edge.collect.logs import FORMAT, line
from tests.edge.told import told_settings


def settings(tmp_path: Path, **more: Any) -> EdgeSettings:
    return told_settings(data_dir=str(tmp_path), **more)


def log(**more: Any) -> dict[str, Any]:
    return {"files": {"hall": {"vendor": "cups", "path": "/var/log/cups/page_log", **more}}}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (log(vendor="kisi"), "FILES__HALL__VENDOR: 'kisi' writes no log that is read here; there are cups, papercut"),
        (log(path="page_log"), "FILES__HALL__PATH"),
        (log(path="/var/*/page_log"), "FILES__HALL__PATH"),
        (log(timezone="Berlin"), "FILES__HALL__TIMEZONE"),
        (log(options={"format": "%p"}), "FILES__HALL__OPTIONS: the option format needs"),
        (log(options={"colour": "red"}), "FILES__HALL__OPTIONS"),
        (log(vendor="papercut", options={"read": "table"}), "FILES__HALL__OPTIONS: read"),
    ],
)
def test_a_log_that_cannot_be_meant_is_named(tmp_path: Path, given: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        configured_logs(settings(tmp_path, **given))
    assert named in caught.value.detail


async def findings(told: EdgeSettings) -> dict[str, tuple[bool, str]]:
    return {finding.about: (finding.good, finding.detail) for finding in await check(told)}


async def test_the_files_of_a_log_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "page_log"
    told = settings(tmp_path, **log(path=str(path)))
    assert (await findings(told))["log hall"] == (True, f"{path}: 0 files")
    path.touch()
    (tmp_path / "page_log.1").touch()
    assert (await findings(told))["log hall"] == (True, f"{path}: 2 files")
    missing = settings(tmp_path, **log(path=str(tmp_path / "none" / "page_log")))
    good, detail = (await findings(missing))["log hall"]
    assert not good
    assert "No such file" in detail


def broker(**topic: Any) -> dict[str, Any]:
    topics = [{"topic": "doors/#", "decoder": "zigbee2mqtt", **topic}]
    return {"broker": {"url": "mqtt://127.0.0.1:9", "topics": topics}}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (broker(decoder="kisi"), "BROKER__TOPICS: topics[0].decoder: no decoder is called 'kisi'"),
        (broker(timezone="Berlin"), "BROKER__TOPICS: topics[0].timezone"),
        (broker(options={"colour": "red"}), "BROKER__TOPICS: topics[0].options"),
        ({"broker": {"url": "http://127.0.0.1"}}, "BROKER__URL"),
    ],
)
def test_a_broker_that_cannot_be_meant_is_named(tmp_path: Path, given: dict[str, Any], named: str) -> None:
    with pytest.raises(BadInput) as caught:
        configured_broker(settings(tmp_path, **given))
    assert named in caught.value.detail


async def test_the_site_s_broker_is_looked_at(tmp_path: Path) -> None:
    good, detail = (await findings(settings(tmp_path, **broker())))["site's broker"]
    assert not good
    assert "METER_EDGE_BROKER__URL" in detail
    async with mosquitto(tmp_path / "mosquitto") as running:
        told = settings(tmp_path, broker={"url": running.url})
        assert (await findings(told))["site's broker"] == (True, f"{running.url} lets us in")


async def test_a_radius_port_for_nobody_is_told(tmp_path: Path) -> None:
    good, detail = (await findings(settings(tmp_path, radius="127.0.0.1:1813")))["radius"]
    assert (good, "METER_EDGE_SOURCES__RADIUS__NAME__SECRETS" in detail) == (False, True)
    told = settings(tmp_path, radius="127.0.0.1:1813", sources={"radius": {"aps": {"secrets": ["s"]}}})
    assert (await findings(told))["radius"] == (True, "127.0.0.1:1813 (UDP), aps")


async def test_a_reader_that_is_not_there_is_told(tmp_path: Path) -> None:
    device = tmp_path / "event-kbd"
    told = settings(tmp_path, readers={"front": {"device": str(device), "door": "main"}})
    assert (await findings(told))["reader front"][0] is False
    device.touch()
    assert (await findings(told))["reader front"] == (True, str(device))


async def test_what_is_attached_is_listed_with_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by its maker, and set by whatever name: they are one device."""
    by_id, device = tmp_path / "by-id", tmp_path / "ttyUSB0"
    by_id.mkdir()
    device.touch()
    (by_id / "usb-ACME_Reader").symlink_to(device)
    monkeypatch.setattr(looking, "_ATTACHED", ((str(by_id), "*"), (str(tmp_path / "none"), "*")))
    about = f"attached {by_id / 'usb-ACME_Reader'}"
    assert (await findings(settings(tmp_path)))[about] == (
        True,
        "nothing reads it; METER_EDGE_READERS__NAME__DEVICE would",
    )
    told = settings(tmp_path, readers={"front": {"device": str(device), "door": "main"}})
    assert (await findings(told))[about] == (True, "reader front")


async def test_a_port_that_somebody_else_has_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        good, detail = (await findings(settings(tmp_path, http=address)))["port http"]
    assert (good, "METER_EDGE_HTTP" in detail) == (False, True)
    assert (await findings(settings(tmp_path, http=address)))["port http"] == (True, f"{address} is free")


async def test_a_running_agent_tells_which_devices_it_hears(tmp_path: Path) -> None:
    directory = tmp_path / "edge"
    cups = {"hall": {"secrets": ["s"], "options": {"format": FORMAT}}, "attic": {"secrets": ["s"]}}
    env = {"METER_EDGE_GATEWAY__HTTP_URL": "http://127.0.0.1:9", "METER_EDGE_SOURCES": json.dumps({"cups": cups})}
    async with RunningAgent(directory, env=env) as agent:
        told = told_settings(data_dir=str(directory), http=f"127.0.0.1:{agent.port}", sources={"cups": cups})
        assert (await findings(told))["collector http"] == (True, "running; nothing heard yet")
        door = {"specversion": "1.0", "id": "1", "source": "berlin/door/main", "type": "door.access"}
        elsewhere = door | {"source": "munich/door/main"}
        await agent.post([door | {"data": {"door": "main", "granted": True}}, elsewhere])
        url = f"http://127.0.0.1:{agent.port}/hooks/cups/hall"
        headers = {"Authorization": "Bearer s"}
        async with aiohttp.ClientSession(headers=headers) as client, client.post(url, data=line(1)) as answer:
            assert answer.status == 200, await answer.text()
        found = await findings(told)
    good, detail = found["device berlin/door/main"]
    assert good
    assert detail.startswith("1 events over POST /v1/events, last 20")
    good, detail = found["device munich/door/main"]
    assert not good
    assert "1 that cannot be read" in detail
    assert found["collector http"][1].startswith("running; last 20")
    assert "port http" not in found
    assert found["device berlin/print/cups-hall"][1].startswith("1 events over POST /hooks/cups/hall, last 20")
    assert "webhook cups/hall" not in found
    assert found["webhook cups/attic"][1] == "nothing was posted to /hooks/cups/attic since the agent started"
