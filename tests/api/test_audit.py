"""Who read and who changed what is told to administrators, without a value of a person (decision 0020)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from meter.api import readings
from meter.api.app import ROUTES
from meter.api.readings import _IMPERSONAL, is_personal
from tests.api.conftest import Api
from tests.booking.space import CATALOG


async def records(api: Api, count: int, **wanted: str) -> list[dict[str, Any]]:
    """The records that fit, as soon as there are `count`."""
    query = "&".join(f"{name}={value}" for name, value in wanted.items())
    async with asyncio.timeout(30):
        while len(found := (await api.call("GET", f"/v1/audit?{query}")).json["records"]) < count:  # noqa: ASYNC110 -- another task
            await asyncio.sleep(0.05)
    return list(found)


async def test_who_reads_is_recorded_once_a_second_and_without_values(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "INTERVAL_S", 0.2)
    for _ in range(3):
        assert (await api.call("GET", "/v1/charges?account=acme&meter=print-pages")).status == 200
    found = await records(api, 1, actor="METER_ADMIN_KEY", kind="GET%20/v1/charges")
    assert {(one["action"], one["object"], tuple(one["fields"])) for one in found} == {
        ("read", "", ("account", "meter", "account=acme"))
    }
    assert sum(one["times"] for one in found) <= 3


async def test_who_changes_is_recorded_by_the_key(api: Api) -> None:
    answer = await api.call("PUT", "/v1/catalog", data=CATALOG, headers={"Content-Type": "application/yaml"})
    assert answer.status == 200, answer.text
    [found] = await records(api, 1, kind="members", member="eve")
    assert (found["actor"], found["action"]) == ("METER_ADMIN_KEY", "made")
    assert found["object"] == found["member"] != "eve"


async def test_what_cannot_be_recorded_in_time_is_not_answered(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that is full pushes back: nobody reads unrecorded."""
    monkeypatch.setattr(readings, "WAITING_MAX", 0)
    monkeypatch.setattr(readings, "ROOM_TIMEOUT_S", 0.01)
    answer = await api.call("GET", "/v1/charges")
    assert (answer.status, answer.json["code"]) == (503, "audit_behind")


async def test_each_reading_route_is_recorded_or_named_as_about_no_person(api: Api) -> None:
    reading = [route for route in api.app[ROUTES] if route.method == "GET" and route.scope in {"usage:read", "admin"}]
    assert {route.path for route in reading if not is_personal(route)} <= _IMPERSONAL
    assert {route.path for route in api.app[ROUTES]} >= _IMPERSONAL, "named, and not served"
    assert sum(map(is_personal, reading)) > 10
