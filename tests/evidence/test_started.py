"""What a gateway was set to is recorded as it starts: a digest and names, no value and nothing of a secret."""

from __future__ import annotations

import asyncio

from pydantic import SecretStr

from meter.app import Gateway, Parts
from meter.config import Settings
from meter.model.hashing import PLAIN
from tests.booking.space import open_space


async def started(database_url: str, settings: Settings) -> None:
    stop = asyncio.Event()

    async def ready(_addresses: object) -> None:
        stop.set()

    parts = Parts(database_url=database_url, mqtt_url=None)
    gateway = Gateway(settings, parts, roles=("api",), admin_key="k" * 32, hasher=PLAIN)
    await gateway.run(stop=stop, ready=ready)


async def test_each_start_is_recorded_with_what_was_set(database_url: str) -> None:
    async with open_space(database_url) as space:
        first = Settings(http="127.0.0.1:0", admin_key=SecretStr("canary-" * 5))
        for settings in (
            first,
            first.model_copy(update={"admin_key": SecretStr("another-" * 5)}),
            first.model_copy(update={"max_age_days": 30}),
        ):
            await started(database_url, settings)
        rows = await space.rows(
            "SELECT actor, kind, detail->>'digest', detail->'fields', detail::text FROM audit"
            " WHERE action = 'started' ORDER BY seq"
        )
    assert [row[:2] for row in rows] == [("system", "gateway")] * 3
    before, rotated, other = (row[2] for row in rows)
    assert before == rotated == first.digest()
    assert other != before
    assert {"http", "admin_key"} <= set(rows[0][3])
    assert "canary" not in str(rows)
