"""A badge that changes hands on the 10th: the old holder pays until then, the new one after, whenever what is known."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.gateway import RunningGateway
from tests.ingest.gateway import publish

CATALOG = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites: {berlin: {name: Berlin}}
meters:
  visits: {event: door.access, where: {granted: true}, aggregate: count, unit: visit}
plans:
  acme-plan: {prices: {visits: [{id: visit, model: per_unit, unit_price: "3.00"}]}}
  beta-plan: {prices: {visits: [{id: visit, model: per_unit, unit_price: "5.00"}]}}
accounts:
  acme: {name: ACME, subscriptions: [{id: acme, plan: acme-plan, from: 2026-01-01}]}
  beta: {name: Beta, subscriptions: [{id: beta, plan: beta-plan, from: 2026-01-01}]}
members:
  ada: {account: acme, name: Ada, identities: [{id: "badge:04:a2:99:1b:5c:6d:80", from: 2026-03-01}]}
  bob: {account: beta, name: Bob}
"""
# Seven bytes, as the card sends them; the other reader spells them in its own way.
BADGE = "badge:04A2991B5C6D80"
SPELLED = "badge:04-a2-99-1b-5c-6d-80"
# Another card: its first four bytes alone are no badge of anybody's.
SHORT = "badge:04A2991B"


def visit(event_id: str, time: str, subject: str = BADGE) -> dict[str, Any]:
    """A door opened in March, in Berlin's winter time."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "berlin/door/main",
        "type": "door.access",
        "subject": subject,
        "time": f"2026-03-{time}+01:00",
        "data": {"door": "main", "granted": True},
    }


async def post(gateway: RunningGateway, *events: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    async with gateway.client() as client, client.post("/v1/events", json=events, headers=headers) as answer:
        assert answer.status == 200
        assert {result["status"] for result in (await answer.json())["results"]} == {"accepted"}


async def claim(gateway: RunningGateway, member: str, **span: str) -> None:
    body = {"member": member, **span}
    async with gateway.client() as client, client.put(f"/v1/identities/{SPELLED}", json=body) as answer:
        assert answer.status == 200, await answer.text()


async def billed(gateway: RunningGateway) -> dict[str, dict[str, Decimal]]:
    """What stands for each event, by the member who pays."""
    found: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for charge in (await gateway.get("/v1/charges", limit="1000"))["charges"]:
        found[charge["member"]][charge["event"]["id"]] += Decimal(charge["amount"])
    standing = {who: {event: amount for event, amount in lines.items() if amount} for who, lines in found.items()}
    return {who: lines for who, lines in standing.items() if lines}


async def test_the_old_holder_pays_until_the_10th_and_the_new_one_after(data_dir: Path) -> None:
    catalog = data_dir / "catalog.yaml"
    catalog.write_text(CATALOG)
    ada, bob = Decimal("3.00"), Decimal("5.00")
    async with RunningGateway(data_dir, env={"METER_CATALOG": str(catalog)}) as gateway:
        mqtt = gateway.addresses.mqtt
        assert mqtt is not None
        await post(gateway, visit("03rd", "03T09:00:00"), visit("last", "09T23:59:59.999999"))
        by_mqtt = [visit("first", "10T00:00:00"), visit("12th", "12T18:30:00", SPELLED)]
        await publish(
            mqtt, [{"topic": "spaces/berlin/door/main", "payload": json.dumps(one), "qos": 1} for one in by_mqtt]
        )
        await gateway.settled(events=4)
        # Nobody has said anything yet: all is Ada's.
        assert await billed(gateway) == {"ada": {"03rd": ada, "last": ada, "first": ada, "12th": ada}}

        # On the 20th it is said that the badge has been Bob's since the 10th.
        await claim(gateway, "bob", **{"from": "2026-03-10"})
        await gateway.settled(events=4)
        assert await billed(gateway) == {"ada": {"03rd": ada, "last": ada}, "bob": {"first": bob, "12th": bob}}
        moved = [charge for charge in (await gateway.get("/v1/charges", limit="1000"))["charges"] if charge["corrects"]]
        assert sorted((charge["member"], charge["event"]["id"], charge["amount"]) for charge in moved) == [
            ("ada", "12th", "-3"),
            ("ada", "first", "-3"),
        ]

        # On the 20th come visits of before and after, in whatever order.
        await post(gateway, visit("late-11th", "11T10:00:00", SPELLED), visit("late-9th", "09T10:00:00"))
        await gateway.settled(events=6)
        before = {"03rd": ada, "last": ada, "late-9th": ada}
        after = {"first": bob, "12th": bob, "late-11th": bob}
        assert await billed(gateway) == {"ada": before, "bob": after}

        # A reader that shows four of the seven bytes names another badge, and nobody pays on a guess.
        await post(gateway, visit("short", "13T10:00:00", SHORT))
        await gateway.settled(events=7)
        assert await billed(gateway) == {"ada": before, "bob": after}
        unresolved = await gateway.get("/v1/unresolved")
        assert [found["identity"] for found in unresolved["identities"]] == [SHORT]

        # Ada comes back to it on the 12th, half a day: what was said of the 10th still holds until then.
        await claim(gateway, "ada", **{"from": "2026-03-12T12:00:00+01:00"})
        await gateway.settled(events=7)
        assert await billed(gateway) == {
            "ada": before | {"12th": ada},
            "bob": {"first": bob, "late-11th": bob},
        }
        [charge] = [
            one
            for one in (await gateway.get("/v1/charges", account="beta", limit="1000"))["charges"]
            if one["event"]["id"] == "first"
        ]
        explained = await gateway.get(f"/v1/charges/{charge['id']}/explain")
        assert explained["resolution"]["claim"] == {"member": "bob", "from": "2026-03-09T23:00:00Z", "to": None}
        assert explained["recomputed"]["agrees"]
