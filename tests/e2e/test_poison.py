"""A thousand poisonous bodies among good ones, by both ways in, through a whole gateway."""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from tests.booking.space import CATALOG, pages
from tests.gateway import RunningGateway
from tests.ingest.bodies import poisonous
from tests.ingest.gateway import message, publish

BAD = 1000
GOOD = 1000
_SITE = "berlin"
_IN_FLIGHT = 20


def _good(number: int) -> bytes:
    return pages(f"good-{number}", f"{2 + number // 200:02}T{8 + number % 12:02}:10", 1)


async def _post(gateway: RunningGateway, bodies: list[bytes]) -> list[int]:
    """Post each body by itself and return the answers' statuses."""
    room = asyncio.Semaphore(_IN_FLIGHT)
    headers = {"Content-Type": "application/cloudevents+json"}
    async with gateway.client() as client:

        async def post(content: bytes) -> int:
            async with room, client.post("/v1/events", data=content, headers=headers) as response:
                return response.status

        return await asyncio.gather(*map(post, bodies))


async def _rejections(gateway: RunningGateway) -> list[dict[str, Any]]:
    """What `meter rejections` says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "meter", "rejections", "list", "--json", stdout=asyncio.subprocess.PIPE,
        env={**gateway.env, "METER_DATABASE_URL": gateway.addresses.database},
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0
    found: list[dict[str, Any]] = json.loads(said)["rejections"]
    return found


@pytest.mark.slow
async def test_a_thousand_poisonous_bodies_cost_no_good_event(data_dir: Path) -> None:
    catalog = data_dir / "catalog.yaml"
    catalog.write_text(CATALOG)
    # What a topic must not say for another site, an administrator may: over HTTP a source must be bad by itself.
    poison = [poisonous(number, _SITE) for number in range(BAD // 2)]
    poison += [poisonous(number, _SITE).replace(b"other/x", b"/x") for number in range(BAD // 2, BAD)]
    mixed = [body for pair in zip(poison, map(_good, range(GOOD)), strict=True) for body in pair]
    async with RunningGateway(data_dir, arguments=("--catalog", str(catalog))) as gateway:
        assert gateway.addresses.mqtt is not None
        by_mqtt = [message(_SITE, body) for body in mixed[: len(mixed) // 2]]
        statuses, _ = await asyncio.gather(
            _post(gateway, mixed[len(mixed) // 2 :]), publish(gateway.addresses.mqtt, by_mqtt)
        )
        assert set(statuses) == {200, 400}
        await gateway.settled(events=GOOD)
        (rated,) = await gateway.rows("SELECT sum(quantity) FROM charges WHERE account = 'acme'")
        assert rated == (GOOD,)
        refused = await _rejections(gateway)
        log = gateway.log.read_text()
    assert {b64decode(item["body_base64"]) for item in refused} == set(poison)
    assert all(item["code"] and item["detail"] and item["origin"] for item in refused)
    assert len({item["code"] for item in refused}) > 10
    # Each kind is told of, and a flood of them does not flood the log.
    assert 10 < log.count("event_rejected") < BAD / 4
    assert "Traceback" not in log
