"""One real gateway that vendors of every kind send to, and what it books for each member.

Every test has members of its own, so that one gateway serves them all.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp

from tests.gateway import RunningGateway
from tests.ingest.gateway import publish

KEY = "the-active-key"
SETTLE_TIMEOUT_S = 20
SQUARE_URL = "https://meter.example/hooks/square/till"

_UNSETTLED = """
    SELECT EXISTS (SELECT 1 FROM refolds)
        OR EXISTS (SELECT 1 FROM wifi_due)
        OR EXISTS (SELECT 1 FROM events AS e WHERE (e.xid, e.seq) > (
               SELECT xid, seq FROM rating_cursors ORDER BY xid, seq LIMIT 1))
        OR NOT EXISTS (SELECT 1 FROM rating_cursors)
"""

METERS: dict[str, Any] = {
    "visits": {
        "event": "door.access",
        "where": {"granted": True},
        "aggregate": "count",
        "unit": "visit",
        "debounce": "30s",
    },
    "pages": {
        "event": "print.job",
        "where": {"status": "completed"},
        "aggregate": "sum",
        "value": "impressions",
        "unit": "page",
    },
    "wifi-data": {
        "event": "wifi.session",
        "aggregate": "counter",
        "value": "bytes_in",
        "key": "session",
        "from_zero": True,
        "reset": "none",
        "scale": "1e-6",
        "unit": "MB",
    },
    "wifi-time": {
        "event": "wifi.session",
        "aggregate": "duration",
        "key": "session",
        "start": {"status": "start"},
        "end": {"status": "stop"},
        "unit": "hour",
        "increment": "1s",
        "max": "24h",
        "missing_end": "last_seen",
    },
    "cafe": {"event": "pos.sale", "aggregate": "sum", "value": "lines.amount", "unit": "EUR"},
    "rooms": {
        "event": "room.booking",
        "where": {"status": "booked"},
        "aggregate": "sum",
        "value": "hours",
        "unit": "hour",
    },
}


def catalog(members: Mapping[str, Sequence[Any]], mqtt: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A catalog with an account of the same name for each member, and a price of 1.00 for everything."""
    prices: dict[str, Any] = {
        meter: [{"id": meter, "model": "per_unit", "unit_price": "1.00"}] for meter in METERS if meter != "cafe"
    }
    prices["cafe"] = [{"id": "cafe", "model": "pass_through"}]
    return {
        "operator": "northside",
        "currency": "EUR",
        "timezone": "Europe/Berlin",
        "default_plan": "all",
        "sites": {"berlin": {"name": "Berlin", "closes": "22:00", "walk_in": "walk-in-berlin"}},
        "meters": METERS,
        "plans": {"all": {"name": "All", "prices": prices}},
        "accounts": {name: {"name": name} for name in members},
        "members": {
            name: {"account": name, "name": name, "identities": list(identities)}
            for name, identities in members.items()
        },
        "mqtt": list(mqtt),
    }


class Site:
    """The gateway with its vendors."""

    def __init__(self, running: RunningGateway) -> None:
        self.running = running

    # --- what vendors do ----------------------------------------------------------------------------------------------

    async def post(
        self,
        source: str,
        body: bytes | Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Post to `/hooks/{source}` as a vendor does, without any key of ours."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"{self.running.addresses.http}/hooks/{source}" + (f"?{urlencode(query)}" if query else "")
        async with (
            aiohttp.ClientSession() as client,
            client.post(url, data=content, headers=dict(headers or {})) as answer,
        ):
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read()

    async def post_and_go(self, source: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Post, and be gone before the answer: the connection is cut as soon as the request is out."""
        address = self.running.addresses.http.removeprefix("http://")
        host, _, port = address.rpartition(":")
        _reader, writer = await asyncio.open_connection(host, int(port))
        lines = [f"POST /hooks/{source} HTTP/1.1", f"Host: {address}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        writer.transport.abort()

    async def signed(self, vendor: str, body: bytes | Mapping[str, Any]) -> list[dict[str, Any]]:
        """Post with the vendor's signature; the results, all of which were stored."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        source, headers, query = signature(vendor, content)
        status, _, answered = await self.post(source, content, headers=headers, query=query)
        assert status in {200, 204}, (status, answered)
        results = json.loads(answered)["results"] if answered else []
        assert all(result["status"] != "rejected" for result in results), results
        found: list[dict[str, Any]] = results
        return found

    async def publish(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        """Publish as a device does."""
        content = payload if isinstance(payload, bytes) else payload.encode()
        url = self.running.addresses.mqtt
        assert url is not None
        await publish(url, [{"topic": topic, "payload": content, "qos": 1, "retain": retain}])

    # --- what the gateway makes of it ---------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Wait until all that is stored is derived from and rated."""
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            while (await self.running.rows(_UNSETTLED))[0][0]:  # noqa: ASYNC110 -- another process tells nobody
                await asyncio.sleep(0.05)

    async def charges(self, member: str) -> list[dict[str, Any]]:
        """Every booked line of the member's account, reversals included."""
        await self.settled()
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = await self.running.get("/v1/charges", cursor=cursor, account=member, limit="1000")
            found += page["charges"]
            if not page["charges"] or page["next"] == cursor:
                return found
            cursor = page["next"]

    async def bill(self, member: str) -> dict[str, Decimal]:
        """The quantity of each meter that is billed to the member; of refunds, the amount."""
        billed: Counter[str] = Counter()
        for charge in await self.charges(member):
            amount = Decimal(charge["amount"] if charge["meter"] in {"cafe", None} else charge["quantity"])
            billed[charge["meter"] or "refund"] += amount  # type: ignore[assignment]  # Decimals add up in a Counter, too
        return {meter: Decimal(total) for meter, total in billed.items() if total}

    async def until(self, member: str, expected: Mapping[str, Decimal]) -> None:
        """Wait until the member's bill is `expected`: for what comes by a broker, which tells nobody."""
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            while await self.bill(member) != expected:  # noqa: ASYNC110 -- another process tells nobody
                await asyncio.sleep(0.1)

    async def unresolved(self) -> set[str]:
        """Every identity that nobody has claimed."""
        answer = await self.running.get("/v1/unresolved", limit="1000")
        return {found["identity"] for found in answer["identities"]}


def signature(vendor: str, body: bytes) -> tuple[str, dict[str, str], dict[str, str]]:
    """Where a body goes, and the headers and the query with which its vendor shows that it is its own."""
    match vendor:
        case "square":
            mac = hmac.new(KEY.encode(), SQUARE_URL.encode() + body, hashlib.sha256).digest()
            return "square/till", {"x-square-hmacsha256-signature": base64.b64encode(mac).decode()}, {}
        case "unifi-access":
            at = str(int(time.time()))
            mac = hmac.new(KEY.encode(), f"{at}.".encode() + body, hashlib.sha256).digest()
            return "unifi-access/main", {"Signature": f"t={at},v1={mac.hex()}"}, {}
        case "kisi":
            return "kisi/main", {"X-Signature": hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()}, {}
        case _:
            return f"{vendor}/main", {}, {"token": KEY}


def write_catalog(path: Path, content: Mapping[str, Any]) -> Path:
    """A catalog file; JSON is YAML."""
    file = path / "catalog.yaml"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file
