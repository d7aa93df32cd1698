"""What people are called and carry is seen in no log and no figure, whatever fails. Ids of members may be."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from meter import log
from tests.e2e.test_badge_changes_hands import visit
from tests.gateway import RunningGateway

WITHIN_S = 60
NAME, MAIL, BADGE, STRANGER, NOTE, PERSON = (
    "Zsazsa-Canary", "canary-mail@example.org", "04CA4A2991B5C6", "04BADCA4A2991B", "canary-note", "canary-person"
)  # fmt: skip
CANARIES = (NAME, MAIL, BADGE, STRANGER, NOTE, PERSON)
CATALOG = f"""
operator: northside
currency: EUR
timezone: Europe/Berlin
sites: {{berlin: {{name: Berlin}}}}
meters:
  visits: {{event: door.access, where: {{granted: true}}, aggregate: count, unit: visit, group_by: [guest]}}
plans:
  acme-plan: {{prices: {{visits: [{{id: visit, model: per_unit, unit_price: "3.00"}}]}}}}
accounts:
  acme: {{name: "{NAME}", subscriptions: [{{id: acme, plan: acme-plan, from: 2026-01-01}}]}}
members:
  ada: {{account: acme, name: "{NAME}", email: "{MAIL}", identities: [{{id: "badge:{BADGE}", from: 2026-03-01}}]}}
"""


def told_of_people() -> list[dict[str, Any]]:
    """Events: one that is billed, strangers', one whose content is another under the same id, and odd ones."""
    good = visit("good", "02T10:00:00", f"badge:{BADGE}")
    good["data"] |= {"guest": PERSON, "note": NOTE}
    return [
        good,
        {**good, "data": {**good["data"], "note": f"{NOTE}, again"}},
        visit("stranger", "02T11:00:00", f"badge:{STRANGER}"),
        visit("gone", "02T11:00:00", f"member:{PERSON}"),
        {**visit("when", "02T11:00:00", f"badge:{BADGE}"), "time": f"{PERSON} at noon"},
        {**visit(f"{NOTE} ", "02T11:00:00", f"email:{MAIL}"), "data": NOTE},
        {**good, "id": "kind", "type": f"door {PERSON}"},
        {**good, "id": "none", "source": f"nowhere/{PERSON}/x", "granted": {NOTE: NOTE}},
    ]


async def echo(request: web.Request) -> web.Response:
    """A target that fails, and says what it was told."""
    return web.Response(status=500, text=await request.text())


async def test_nothing_of_a_person_is_in_logs_and_figures(data_dir: Path) -> None:
    (data_dir / "catalog.yaml").write_text(CATALOG)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", echo)
    runner = web.AppRunner(application)
    await runner.setup()
    target = web.TCPSite(runner, "127.0.0.1", 0)
    await target.start()
    host, port = runner.addresses[0][:2]
    env = {
        "METER_LOG_LEVEL": "debug",
        "METER_CATALOG": str(data_dir / "catalog.yaml"),
        "METER_TARGETS__HOOK__KIND": "webhook",
        "METER_TARGETS__HOOK__BASE_URL": f"http://{host}:{port}/hook",
        "METER_TARGETS__HOOK__SECRETS": '["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]',
        "METER_WEBHOOKS__SQUARE__MAIN__SITE": "berlin",
        "METER_WEBHOOKS__SQUARE__MAIN__URL": "https://meter.example/hooks/square/main",
        "METER_WEBHOOKS__SQUARE__MAIN__SECRETS": '["a-secret-long-enough"]',
    }
    try:
        async with RunningGateway(data_dir, env=env) as gateway:
            await tell(gateway)
            async with asyncio.timeout(WITHIN_S):
                while not await gateway.rows("SELECT 1 FROM outbox WHERE attempts > 0"):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            await look_up(gateway)
            figures = await said_by(gateway, "/metrics")
            checked = await gateway.said("check")
    finally:
        await runner.cleanup()
    seen = {"log": gateway.log.read_text(encoding="utf-8"), "figures": figures}
    seen["check"] = checked
    assert seen["log"].count("\n") > 5
    assert "meter_events_total" in figures
    assert leaks(seen) == []


def leaks(seen: dict[str, str]) -> list[str]:
    """Return the lines that show a canary, in whichever way it is spelled."""
    marks = [mark.lower() for mark in (*CANARIES, "04:ca:4a", "04:ba:dc")]
    return [
        f"{place}: {line[:300]}"
        for place, text in seen.items()
        for line in text.splitlines()
        if any(mark in line.lower() for mark in marks)
    ]


@pytest.mark.parametrize("spelled", [NAME.upper(), "04:ca:4a:29", MAIL])
def test_a_leak_would_be_found(capfd: pytest.CaptureFixture[str], spelled: str) -> None:
    log.log.warning("planted", detail=f"for {spelled}")
    assert len(leaks({"log": "".join(capfd.readouterr())})) == 1


async def tell(gateway: RunningGateway) -> None:
    """Send all of it: a batch, each alone, unreadable, forged, by a stranger and to the broker."""
    batch = {"Content-Type": "application/cloudevents-batch+json"}
    async with gateway.client() as client:
        async with client.post("/v1/events", json=told_of_people(), headers=batch) as answer:
            assert "accepted" in await answer.text()
        for body in (f'{{"name": "{NAME}"', f"[{NAME}]", json.dumps({"subject": MAIL}), f'{{"{PERSON}": 1e9999}}'):
            await client.post("/v1/events", data=body, headers=batch)
        await client.post(
            "/hooks/square/main", data=json.dumps({"buyer": NAME}), headers={"x-square-hmacsha256-signature": NAME}
        )
        await client.post(f"/hooks/square/{PERSON}", data=NAME)
        await client.put(f"/v1/identities/badge:{STRANGER}", json={"member": PERSON})
        await client.post("/v1/authorizations", json={"identity": f"badge:{STRANGER}", "note": NOTE})
    async with aiohttp.ClientSession(gateway.addresses.http) as client:
        await client.post("/v1/events", json=told_of_people(), headers={**batch, "Authorization": f"Bearer {PERSON}"})


async def look_up(gateway: RunningGateway) -> None:
    """Ask for people in every way that an address allows."""
    async with gateway.client() as client:
        for path in (
            f"/v1/identities/badge:{BADGE}",
            f"/v1/charges?member={PERSON}",
            f"/v1/{NAME}",
            f"/v1/accounts/{NAME}",
        ):
            await client.get(path, headers={"User-Agent": NAME, "Referer": f"https://x/{MAIL}"})


async def said_by(gateway: RunningGateway, path: str) -> str:
    async with aiohttp.ClientSession(gateway.addresses.http) as client, client.get(path) as answer:
        return await answer.text()
