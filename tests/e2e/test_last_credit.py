"""Two printers ask at two gateways for the last credit: one gets it; it comes back by itself, and is billed if late."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest_asyncio

from tests.booking.asking import strict
from tests.booking.space import CATALOG
from tests.gateway import RunningGateway

ROUNDS: Final = 10
KEY: Final = "an-admin-key-of-both"
ALL: Final = "10"  # pages of credit in a month


@pytest_asyncio.fixture
async def gateways(data_dir: Path, database_url: str) -> AsyncIterator[list[RunningGateway]]:
    """Two processes on one database."""
    catalog = data_dir / "catalog.yaml"
    catalog.write_text(strict(CATALOG))
    env = {
        "METER_DATABASE_URL": database_url,
        "METER_ADMIN_KEY": KEY,
        "METER_IDENTITY_KEY": "identities-of-one-database-have-one-key",
        "METER_CATALOG": str(catalog),
    }
    both = [RunningGateway(data_dir / name, env=env) for name in ("one", "two")]
    for gateway in both:
        gateway.data_dir.mkdir(mode=0o711)
    async with both[0], both[1]:
        yield both


async def call(gateway: RunningGateway, method: str, path: str, body: Any = None) -> Any:
    async with gateway.client() as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        kind = "application/cloudevents+json" if path == "/v1/events" else "application/json"
        headers = {} if body is None else {"Content-Type": kind}
        async with client.request(method, path, data=json.dumps(body), headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


async def ask(gateway: RunningGateway, name: str, *, expires_s: int = 300) -> Any:
    wanted = {"id": name, "identity": "badge:ADA1", "site": "berlin", "meter": "print-pages", "quantity": ALL}
    return await call(gateway, "POST", "/v1/authorizations", wanted | {"expires_s": expires_s})


async def printed(gateway: RunningGateway, name: str) -> None:
    """The job of an authorisation, done now."""
    event = {
        "specversion": "1.0",
        "id": f"job-{name}",
        "source": "berlin/print/hall",
        "type": "print.job",
        "subject": "badge:ADA1",
        "time": datetime.now(UTC).isoformat(),
        "data": {"printer": "hall", "job": name, "impressions": int(ALL), "status": "completed"},
        "authorization": name,
    }
    ((result),) = (await call(gateway, "POST", "/v1/events", event))["results"]
    assert result["status"] == "accepted"


async def test_one_of_two_printers_gets_the_last_credit(gateways: list[RunningGateway]) -> None:
    one, two = gateways
    for number in range(ROUNDS):
        asked = await asyncio.gather(ask(one, f"one-{number}"), ask(two, f"two-{number}"))
        allowed, refused = sorted(asked, key=lambda answer: not answer["allowed"])
        assert (allowed["allowed"], refused["allowed"]) == (True, False)
        assert refused["reasons"] == ["no_credit"]
        # What one gateway has promised, another lets go.
        other = two if allowed["id"].startswith("one") else one
        assert (await call(other, "DELETE", f"/v1/authorizations/{allowed['id']}"))["state"] == "released"


async def test_what_is_not_used_comes_back_and_what_comes_late_is_billed(gateways: list[RunningGateway]) -> None:
    one, two = gateways
    assert (await ask(one, "first", expires_s=1))["allowed"]
    async with asyncio.timeout(60):
        while (await call(two, "GET", "/v1/authorizations/first"))["state"] != "expired":  # noqa: ASYNC110 -- time passes
            await asyncio.sleep(0.05)
    assert (await ask(two, "second"))["allowed"]
    assert not (await ask(one, "third"))["allowed"]
    await printed(one, "first")
    await printed(two, "second")
    for gateway in gateways:
        states = [await call(gateway, "GET", f"/v1/authorizations/{name}") for name in ("first", "second")]
        assert [(one["state"], one["settled"]["late"]) for one in states] == [("settled", True), ("settled", False)]
    charges: list[Any] = []
    async with asyncio.timeout(60):
        while len(charges) < 2:
            charges = (await call(one, "GET", "/v1/charges"))["charges"]
    billed = {charge["event"]["id"]: (Decimal(charge["covered"]), Decimal(charge["amount"])) for charge in charges}
    # Both have printed, so both are billed: the credit was promised twice in turn, and covers one.
    assert billed == {"job-first": (Decimal(10), Decimal(0)), "job-second": (Decimal(0), Decimal("0.5"))}
