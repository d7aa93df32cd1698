"""Prometheus and Grafana are given files that hold: valid, consistent, and about metrics that the gateway has."""

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from http import HTTPStatus
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from meter.embedded.broker import EmbeddedBroker
from meter.embedded.child import Child, Program
from meter.embedded.partdir import LOOPBACK, choose_port
from meter.embedded.runas import RunAs
from meter.telemetry import Telemetry
from tests.deploy.parts import DEPLOY, compose
from tests.tools import need_tool

RULES = DEPLOY / "prometheus" / "rules" / "meter.yml"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "meter.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
ALERTS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]


def _expressions() -> list[str]:
    panels = [target["expr"] for panel in PANELS for target in panel["targets"]]
    return panels + [alert["expr"] for alert in ALERTS]


def _series() -> dict[str, set[str]]:
    """The names under which the gateway's metrics are queried, with their labels."""
    found: dict[str, set[str]] = {}
    for value in vars(Telemetry()).values():
        if isinstance(value, MetricWrapperBase):
            labels, name = set(value._labelnames), value._name
            if value._type == "counter":
                found[f"{name}_total"] = labels
            elif value._type == "histogram":
                found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
            else:
                found[name] = labels
    return found | {"meter_build_info": {"version"}}


@pytest.mark.parametrize("expression", _expressions())
def test_an_expression_names_metrics_and_labels_of_the_gateway(expression: str) -> None:
    series = _series()
    names = re.findall(r"\bmeter_\w+", expression)
    assert set(names) <= series.keys()
    known = set().union({"job", "instance"}, *(series[name] for name in names))
    grouped = [label.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for label in by.split(",")]
    matched = re.findall(r"[{,]\s*(\w+)\s*[=!]", expression)
    assert {*grouped, *matched} <= known


def test_the_dashboard_shows_what_operators_ask_for() -> None:
    shown = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    for name in (
        "meter_events_total", "meter_publish_to_rated_seconds", "meter_rating_lag_seconds", "meter_unresolved_events",
        "meter_rejections_total", "meter_outbox_pending", "meter_outbox_oldest_seconds", "meter_deliveries_total",
        "meter_mqtt_connected", "meter_delivery_lag_seconds", "meter_gather_lag_seconds", "meter_target_open",
        "meter_target_throttled_total", "meter_suspense_entries_total", "meter_oauth_refreshes_total",
        "meter_oauth_authorisation_seconds", "meter_edge_up", "meter_edge_spooled_events", "meter_edge_holes",
        "meter_edge_clock_offset_seconds", "meter_authorizations_total", "meter_authorization_seconds",
    ):  # fmt: skip
        assert name in shown, name


def test_the_panels_use_the_provisioned_source_and_do_not_overlap() -> None:
    sources = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text())
    (source,) = sources["datasources"]
    asked = {panel["datasource"]["uid"] for panel in PANELS}
    asked |= {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]}
    assert asked == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


def test_grafana_finds_what_is_mounted() -> None:
    mounts = dict(volume.split(":")[:2] for volume in compose()["services"]["grafana"]["volumes"])
    (provider,) = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "dashboards" / "meter.yml").read_text())[
        "providers"
    ]
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"


def test_the_expressions_of_the_dashboard_are_promql(tmp_path: Path) -> None:
    promtool = need_tool("promtool")
    expressions = [target["expr"].replace("$__rate_interval", "1m") for panel in PANELS for target in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    promtool = need_tool("promtool")
    tests = Path(__file__).with_name("meter_rules_test.yml")
    done = subprocess.run([promtool, "test", "rules", str(tests)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    named = {
        case["alertname"] for test in yaml.safe_load(tests.read_text())["tests"] for case in test["alert_rule_test"]
    }
    assert named == {alert["alert"] for alert in ALERTS}


async def test_prometheus_starts_with_its_command_line_and_loads_the_alerts(data_dir: Path) -> None:
    program, port = need_tool("prometheus"), choose_port(LOOPBACK, given=None, remembered=None)
    shutil.copytree(DEPLOY / "prometheus", data_dir / "etc")
    service = compose()["services"]["prometheus"]
    paths = {"/etc/prometheus": str(data_dir / "etc"), "=/prometheus": f"={data_dir / 'data'}"}
    arguments = list(service["command"])
    for inside, outside in paths.items():
        assert any(inside in argument for argument in arguments)
        arguments = [argument.replace(inside, outside) for argument in arguments]
    child = Child(
        Program(
            name="prometheus",
            argv=[program, *arguments, f"--web.listen-address={LOOPBACK}:{port}"],
            cwd=data_dir,
            log=data_dir / "log",
            run_as=RunAs(),
            stop=EmbeddedBroker.stop_signals,
        )
    )
    child.start()
    try:
        while (groups := _rule_groups(port)) is None:
            assert await child.ended(within_s=0.05) is None, child.obituary()
        assert [rule["name"] for rule in groups[0]["rules"]] == [alert["alert"] for alert in ALERTS]
    finally:
        await child.stop()


def _rule_groups(port: int) -> list[dict[str, Any]] | None:
    """The groups that a Prometheus has loaded; None while it does not listen, or says with 503 that it is not ready."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/api/v1/rules", timeout=20) as answer:
            groups: list[dict[str, Any]] = json.load(answer)["data"]["groups"]
            return groups
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.SERVICE_UNAVAILABLE:
            return None
        raise
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            return None
        raise
