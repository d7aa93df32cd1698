"""A canary in every secret setting: whatever fails, none of them is seen in a log, a figure, an answer or a check."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import aiohttp
import pytest
from pydantic import BaseModel, SecretStr

from meter.config import EdgesSettings, HttpTlsSettings, Settings, TargetSettings, WebhookSettings, load_settings
from meter.export.targets.registry import KINDS
from meter.rotation import secrets_in
from meter.rundir import admin_key
from tests.e2e.test_badge_changes_hands import CATALOG, visit
from tests.gateway import RunningGateway

WITHIN_S = 60
MARK = "cAnArY"
NOWHERE = "http://127.0.0.1:9"
BADGE = "badge:04A2991B5C6D80"
# Who cannot be asked or told anything: every kind of call fails.
SOURCES = ("kisi", "brivo", "square", "salto_ks", "unifi_access", "stripe")
# Their own tests walk through the failures of these: the parts here are embedded.
ELSEWHERE = {("database_url",), ("mqtt_url",), ("edges", "ca_key"), ("admin_key",), ("identity_key",)}
ELSEWHERE |= {("http_tls", "cert"), ("http_tls", "key")}


def secret_fields(model: type[BaseModel]) -> Iterator[str]:
    """The fields of a model that hold a secret, alone or in a list."""
    for name, field in model.model_fields.items():
        if SecretStr in {field.annotation, *get_args(field.annotation)}:
            yield name


def environment() -> dict[str, str]:
    """Settings with another canary in each secret."""
    made: dict[str, str] = {}

    def put(place: str, model: type[BaseModel]) -> None:
        for name in secret_fields(model):
            canary = f"{MARK}-{len(made)}-{name}"
            made[f"{place}__{name.upper()}"] = json.dumps([canary]) if name == "secrets" else canary

    for kind in KINDS:
        place = f"METER_TARGETS__{kind.upper().replace('-', '_')}"
        if kind not in {"ledger", "files"}:
            put(place, TargetSettings)
            made |= {f"{place}__BASE_URL": NOWHERE, f"{place}__COMPANY": "1", f"{place}__CLIENT_ID": "me"}
    for vendor in SOURCES:
        place = f"METER_WEBHOOKS__{vendor.upper()}__MAIN"
        put(place, WebhookSettings)
        made |= {f"{place}__SITE": "berlin", f"{place}__API_BASE": NOWHERE, f"{place}__EVERY_S": "5"}
    return {**made, "METER_IDENTITY_KEY": f"{MARK}-identity-key", "METER_LOG_LEVEL": "debug"}


def test_every_secret_setting_has_a_canary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    placed = dict(secrets_in(load_settings()))
    assert all(MARK in text for text in placed.values())
    held = {place[-1] if isinstance(place[-1], str) else place[-2] for place in placed}
    named = set(secret_fields(TargetSettings)) | set(secret_fields(WebhookSettings))
    assert named <= held
    others = {(name,) for name in secret_fields(Settings)} | {("edges", name) for name in secret_fields(EdgesSettings)}
    others |= {("http_tls", name) for name in secret_fields(HttpTlsSettings)}
    assert others == ELSEWHERE, "a new secret setting: plant a canary in it here"


async def test_no_canary_is_seen_wherever_calls_fail(data_dir: Path) -> None:
    (data_dir / "catalog.yaml").write_text(CATALOG)
    gateway = RunningGateway(data_dir, arguments=("--catalog", str(data_dir / "catalog.yaml")), env=environment())
    seen: list[str] = []
    async with gateway:
        seen += await _answers(gateway)
        async with asyncio.timeout(WITHIN_S):
            while not any("meter_source_requests_total{" in text for text in seen[-1:]):
                await asyncio.sleep(0.2)
                seen.append(await _metrics(gateway))
        for command in (["check"], ["deliveries", "list", "--json"], ["sources", "--json"]):
            seen.append(await gateway.said(*command))
    seen.append(gateway.log.read_text())
    assert any("127.0.0.1" in text for text in seen), "nothing was ever asked"
    planted = [MARK, admin_key(data_dir)]
    assert [text[:200] for text in seen for canary in planted if canary in text] == []


async def _answers(gateway: RunningGateway) -> list[str]:
    """What all sorts of callers get: let in, wrong, forged, unreadable."""
    calls: list[tuple[str, str, str | None, Any]] = [
        ("POST", "/v1/events", admin_key(gateway.data_dir), [visit("a", "02T10:00:00", BADGE)]),
        ("POST", "/v1/events", admin_key(gateway.data_dir), {"id": 1}),
        ("GET", "/v1/deliveries", admin_key(gateway.data_dir), None),
        ("GET", "/v1/charges", "wrong", None),
        *(("POST", f"/hooks/{vendor.replace('_', '-')}/main", "forged", {"x": 1}) for vendor in SOURCES),
        ("GET", "/openapi.json", None, None),
        ("GET", "/health/ready", None, None),
        ("GET", "/metrics", None, None),
    ]
    told = []
    async with aiohttp.ClientSession(gateway.addresses.http) as client:
        for method, path, key, body in calls:
            headers = {"Content-Type": "application/cloudevents-batch+json"}
            headers |= {} if key is None else {"Authorization": f"Bearer {key}"}
            data = None if body is None else json.dumps(body)
            async with client.request(method, path, headers=headers, data=data) as answer:
                told.append(await answer.text())
    return told


async def _metrics(gateway: RunningGateway) -> str:
    async with aiohttp.ClientSession(gateway.addresses.http) as client, client.get("/metrics") as answer:
        return await answer.text()


@pytest.mark.parametrize("name", ["admin_key", "database_url", "mqtt_url", "identity_key"])
def test_a_fault_of_the_settings_shows_no_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"METER_{name.upper()}", f"{MARK}:{name}")
    monkeypatch.setenv("METER_MAX_AGE_DAYS", "many")
    with pytest.raises(Exception, match="METER_MAX_AGE_DAYS") as caught:
        load_settings()
    assert MARK not in f"{caught.value}{caught.value!r}{caught.value.__cause__}"
