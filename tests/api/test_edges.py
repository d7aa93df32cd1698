"""Agents on site as the gateway shows them: what is missing, how they are, what stays open for whom, who is gone."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from meter.model.instant import instant_text, parse_instant
from tests.api.conftest import Api, Gateway
from tests.booking.closes import ACME_MARCH, Closes, heartbeat
from tests.booking.space import LATER, Space, pages

COLLECTORS = {"mqtt": {"state": "up", "detail": "12 devices", "last": "2026-04-02T08:00:00Z"}, "snmp": {"state": "off"}}
SAID: dict[str, Any] = {
    "spooled": 12,
    "spooled_bytes": 4096,
    "oldest": "2026-04-02T07:00:00Z",
    "refused": 3,
    "clock_offset_ms": -2_001,
    "ntp": False,
    "version": "0.1.0",
    "collectors": COLLECTORS,
    "faults": ["the disk is nearly full"],
}


def saying(body: bytes, **said: Any) -> bytes:
    """A heartbeat that says more of its agent."""
    envelope = json.loads(body)
    return json.dumps(envelope | {"data": envelope["data"] | said}).encode()


def marked(number: int, edge: str = "edge-1", boot: int = 1) -> bytes:
    envelope = json.loads(pages(f"{edge}-{boot}-{number}", "02T09:00", 1))
    return json.dumps(envelope | {"edge": edge, "boot": boot, "sequence": number}).encode()


async def edges(gateway: Gateway, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await gateway.api.get("/v1/edges", **options)).json["edges"]
    return found


async def sites(gateway: Gateway, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await gateway.api.get("/v1/edges", **options)).json["sites"]
    return found


async def test_the_gateways_clock_is_told_to_every_key(api: Api) -> None:
    for scope in ("events:write", "usage:read"):
        told = (await api.get("/v1/clock", key=await api.key(scope, site="berlin"))).json
        assert abs(parse_instant(told["time"]) - api.services.clock()) < timedelta(minutes=10)
        assert told["time"].endswith("Z")
    assert (await api.get("/v1/clock", key=None)).status == 401


async def test_an_agent_is_told_what_of_it_is_stored(gateway: Gateway) -> None:
    await gateway.space.accept([marked(number) for number in (1, 2, 4, 5, 9)])

    async def stored(path: str, **options: Any) -> Any:
        return (await gateway.api.get(f"/v1/edges/{path}", **options)).json

    own = await gateway.api.key("events:write", site="berlin")
    told = {"boot": 1, "up_to": 2, "beyond": [[4, 5], [9, 9]]}
    assert await stored("berlin/edge-1/stored?boot=1", key=own) == told
    assert await stored("berlin/edge-1/stored?boot=2", key=own) == {"boot": 2, "up_to": 0, "beyond": []}
    assert await stored("berlin/edge-2/stored?boot=1", key=own) == {"boot": 1, "up_to": 0, "beyond": []}
    other = await gateway.api.key("events:write", site="hamburg")
    assert (await stored("berlin/edge-1/stored?boot=1", key=other))["code"] == "forbidden"


async def test_an_agent_says_how_it_is(gateway: Gateway) -> None:
    await gateway.space.accept([marked(1), marked(4), saying(heartbeat(LATER, sequence=9), **SAID)])
    (found,) = await edges(gateway)
    assert found == {
        "site": "berlin",
        "edge": "edge-1",
        "boot": 1,
        "current": True,
        "last_sequence": 9,
        "up_to": 1,
        "holes": [[2, 3], [5, 8]],
        "missing": 6,
        "complete_until": None,
        "clock_offset_ms": -2_001,
        "drifts": True,
        "last": instant_text(LATER),
        "heartbeat": instant_text(LATER),
        "offline_since": None,
        "retired": None,
        "revoked": None,
        **{name: value for name, value in SAID.items() if name != "clock_offset_ms"},
        "collectors": {name: {"detail": None, "last": None} | one for name, one in COLLECTORS.items()},
    }
    assert await edges(gateway, key=await gateway.api.key("usage:read", site="hamburg")) == []
    assert len(await edges(gateway, key=await gateway.api.key("usage:read", site="berlin"))) == 1


async def test_of_what_an_agent_has_not_said_nothing_is_told(gateway: Gateway) -> None:
    envelope = json.loads(marked(1)) | {"edgeoffsetms": 40}
    await gateway.space.accept([json.dumps(envelope).encode()])
    (found,) = await edges(gateway)
    assert (found["clock_offset_ms"], found["drifts"], found["heartbeat"]) == (40, False, None)
    assert {name for name in SAID if found[name]} == {"clock_offset_ms"}


@pytest.mark.parametrize(("silence_s", "offline"), [(299, False), (300, True)])
async def test_an_agent_that_is_silent_too_long_is_offline(gateway: Gateway, silence_s: int, *, offline: bool) -> None:
    await gateway.space.accept([heartbeat(LATER, sequence=1), heartbeat(LATER, sequence=1, boot=2), marked(2, boot=2)])
    gateway.space.now = LATER + timedelta(seconds=silence_s)
    newest, before = await edges(gateway)
    assert newest["offline_since"] == (instant_text(LATER) if offline else None)
    assert (newest["current"], before["current"], before["offline_since"]) == (True, False, None)
    # Events alone are no sign that all of it lives, and for one without heartbeats they are all there is.
    await gateway.space.accept([marked(3, boot=2), marked(1, "silent")])
    assert [one["offline_since"] is not None for one in await edges(gateway)] == [offline, False, False]


async def test_the_boot_that_was_heard_of_last_is_the_agent(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool that was made before its machine knew the time has a lower number than the one that was lost."""
    monkeypatch.setattr("meter.api.metrics.CACHE_TTL_S", 0.0)
    await gateway.space.accept([saying(heartbeat(LATER, sequence=1, boot=900), spooled=70)])
    gateway.space.now = LATER + timedelta(hours=1)
    await gateway.space.accept([saying(heartbeat(LATER, sequence=1, boot=7), spooled=2), marked(1, boot=900)])
    assert [(one["boot"], one["current"], one["offline_since"]) for one in await edges(gateway)] == [
        (900, False, None),
        (7, True, None),
    ]
    found = await measured(gateway.space, gateway.api)
    assert (found["up berlin"], found["spooled_events berlin"]) == (1.0, 2.0)


async def test_a_site_names_its_slowest_agent_and_what_stays_open_for_it(gateway: Gateway) -> None:
    closes = await Closes.of(gateway.space, since=ACME_MARCH.start)
    mark = ACME_MARCH.end - timedelta(days=3)
    await gateway.space.take(pages("1", "02T09:00", 10), heartbeat(LATER, "edge-1"), heartbeat(mark, "edge-2"))
    gateway.space.now = ACME_MARCH.end + timedelta(hours=1)
    await closes.sweep()
    assert await sites(gateway) == [
        {
            "site": "berlin",
            "complete_until": instant_text(mark),
            "slowest": "edge-2",
            "holds": {"accounts": 1, "since": instant_text(ACME_MARCH.end)},
        }
    ]
    await gateway.space.take(heartbeat(ACME_MARCH.end, "edge-2"), heartbeat(ACME_MARCH.end, "edge-1"))
    assert [one["holds"] for one in await sites(gateway)] == [None]
    assert await sites(gateway, key=await gateway.api.key("usage:read", site="hamburg")) == []
    never = heartbeat(LATER, "edge-3", sequence=7)
    await gateway.space.take(never)
    (said_nothing,) = await sites(gateway)
    assert (said_nothing["complete_until"], said_nothing["slowest"]) == (None, "edge-3")
    assert said_nothing["holds"] is not None


async def retire(gateway: Gateway, edge: str, *, site: str = "berlin", **body: Any) -> Any:
    return await gateway.api.call("POST", f"/v1/edges/{site}/{edge}/retire", json=body)


async def open_for_the_dead(gateway: Gateway) -> Closes:
    """March is over, `edge-1` is complete, and `edge-2` was last heard of on the 20th."""
    closes = await Closes.of(gateway.space, since=ACME_MARCH.start)
    died_at = datetime.fromisoformat("2026-03-20T12:00:00+00:00")
    gateway.space.now = died_at
    await gateway.space.take(pages("1", "02T09:00", 10), heartbeat(died_at, "edge-2"))
    gateway.space.now = ACME_MARCH.end + timedelta(minutes=1)
    await gateway.space.take(heartbeat(ACME_MARCH.end, "edge-1"))
    await closes.sweep()
    assert await closes.closed() == []
    return closes


async def test_nothing_waits_for_an_agent_that_is_gone_for_good(gateway: Gateway) -> None:
    closes = await open_for_the_dead(gateway)
    done = await retire(gateway, "edge-2", reason="stolen on the 20th")
    (retired,) = done.json["edges"]
    assert retired["retired"] == {
        "at": instant_text(gateway.space.now),
        "reason": "stolen on the 20th",
        "by": "METER_ADMIN_KEY",
    }
    assert (retired["offline_since"], retired["complete_until"]) == (None, "2026-03-20T12:00:00Z")
    assert [(one["slowest"], one["holds"]) for one in await sites(gateway)] == [("edge-1", None)]
    await closes.sweep()
    assert [start for start, _ in await closes.closed()] == [ACME_MARCH.start]


async def test_who_is_heard_of_again_counts_again(gateway: Gateway) -> None:
    closes = await open_for_the_dead(gateway)
    await retire(gateway, "edge-2", reason="stolen")
    gateway.space.now += timedelta(seconds=1)
    await gateway.space.accept([marked(1, "edge-2", boot=2)])
    assert [one["retired"] for one in await edges(gateway)] == [None, None, None]
    assert [one["slowest"] for one in await sites(gateway)] == ["edge-2"]
    await closes.sweep()
    assert await closes.closed() == []


async def test_no_clock_decides_whether_it_was_heard_of_since(gateway: Gateway) -> None:
    """Whoever retires it may sit at a machine whose clock is ahead of the gateways'."""
    await gateway.space.accept([heartbeat(LATER, "edge-2")])
    gateway.space.now = LATER + timedelta(hours=3)
    await retire(gateway, "edge-2", reason="stolen")
    gateway.space.now = LATER + timedelta(seconds=1)
    assert [one["retired"] is None for one in await edges(gateway)] == [False]
    await gateway.space.accept([marked(1, "edge-2", boot=0)])
    assert [one["retired"] is None for one in await edges(gateway)] == [True]
    gateway.space.now += timedelta(hours=2)
    await retire(gateway, "edge-2", reason="stolen again")
    assert [one["retired"]["reason"] for one in await edges(gateway)] == ["stolen again"]


async def test_a_site_whose_agents_are_all_gone_is_one_without(gateway: Gateway) -> None:
    closes = await open_for_the_dead(gateway)
    for edge in ("edge-1", "edge-2"):
        await retire(gateway, edge, reason="the site was sold", force=True)
    assert await sites(gateway) == []
    await closes.sweep()
    assert await closes.closed() == []
    gateway.space.now = ACME_MARCH.end + timedelta(hours=24)
    await closes.sweep()
    assert len(await closes.closed()) == 1


async def test_nobody_retires_what_lives_or_is_not_there_by_mistake(gateway: Gateway) -> None:
    await gateway.space.accept([heartbeat(LATER, "edge-1")])
    gateway.space.now = LATER + timedelta(minutes=59)
    for edge, body, status in (
        ("edge-1", {"reason": "old"}, 409),
        ("edge-1", {"reason": " ", "force": True}, 422),
        ("edge-1", {}, 422),
        ("edge-9", {"reason": "old", "force": True}, 404),
    ):
        assert (await retire(gateway, edge, **body)).status == status, (edge, body)
    assert (await retire(gateway, "edge-1", site="prague", reason="old", force=True)).status == 404
    assert [one["retired"] for one in await edges(gateway)] == [None]
    assert (await retire(gateway, "edge-1", reason="old", force=True)).status == 200
    again = await retire(gateway, "edge-1", reason="twice")
    assert [one["retired"]["reason"] for one in again.json["edges"]] == ["old"]
    key = await gateway.api.key("usage:read", "events:write", "catalog:write")
    refused = await gateway.api.call("POST", "/v1/edges/berlin/edge-1/retire", key=key, json={"reason": "x"})
    assert refused.status == 403


def answers(untold: int, risk_used: str) -> dict[str, Any]:
    """What an agent says of its answers to asks."""
    return {"authorizations": {"untold": untold, "refused": 0, "risk": {"EUR": "5"}, "risk_used": risk_used}}


async def measured(space: Space, api: Api) -> dict[str, float]:
    await api.get("/metrics")
    return {
        f"{family.name.removeprefix('meter_edge_')} {sample.labels['site']}": sample.value
        for family in api.services.telemetry.registry.collect()
        if family.name.startswith("meter_edge_")
        for sample in family.samples
    }


async def test_the_metrics_are_a_sites_and_never_an_agents(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meter.api.metrics.CACHE_TTL_S", 0.0)
    space = gateway.space
    space.now = LATER - timedelta(minutes=6)
    await space.accept(
        [saying(heartbeat(LATER, "edge-2", sequence=3), spooled=5, clock_offset_ms=400, **answers(2, "0.25"))]
    )
    space.now = LATER
    old = saying(heartbeat(LATER, "edge-1", sequence=8), spooled=99, clock_offset_ms=9_000, faults=["x"])
    new = saying(
        heartbeat(LATER, "edge-1", sequence=1, boot=2),
        spooled=7,
        clock_offset_ms=-2_500,
        faults=["a", "b"],
        **answers(1, "0.5"),
    )
    await space.accept([old, new, marked(3, boot=2), marked(7, boot=2), heartbeat(LATER, "edge-9", site="prague")])
    assert await measured(space, gateway.api) == {
        "up berlin": 0.0,
        "spooled_events berlin": 12.0,
        "clock_offset_seconds berlin": -2.5,
        "holes berlin": 3.0,
        "faults berlin": 2.0,
        "untold_answers berlin": 3.0,
        "risk_used_ratio berlin": 0.5,
        "up prague": 1.0,
        "spooled_events prague": 0.0,
        "holes prague": 0.0,
        "faults prague": 0.0,
        "untold_answers prague": 0.0,
        "risk_used_ratio prague": 0.0,
    }
    await retire(gateway, "edge-2", reason="gone", force=True)
    found = await measured(space, gateway.api)
    assert (found["up berlin"], found["spooled_events berlin"], found["holes berlin"]) == (1.0, 7.0, 2.0)
