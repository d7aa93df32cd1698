"""What is wrong with a collector's settings is told before it runs, and `meter-edge check` looks at what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.check import check
from edge.config.faults import ConfigFault
from edge.config.settings import EdgeSettings
from edge.sources import configured_broker, configured_logs
from meter.model.errors import BadInput
from tests.edge.collect.broker import mosquitto
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
