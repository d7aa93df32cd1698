from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from meter.cli import rejections as rejections_module
from tests.booking.space import Space, open_space
from tests.cli import command
from tests.ingest.bodies import acceptor, arrival

meter = partial(command.meter, "rejections")


@pytest_asyncio.fixture
async def space(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr(rejections_module, "_PAGE", 7)
    async with open_space(database_url) as opened:
        yield opened


async def listed(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await command.machine("rejections", "list", *arguments))["rejections"]
    return found


async def test_every_refusal_is_listed_with_its_reason_and_bytes(space: Space) -> None:
    bodies = [b"\xff bad %d" % number for number in range(30)]
    await acceptor(space.database).accept([arrival(body) for body in bodies])
    found = await listed()
    assert {b64decode(item["body_base64"]) for item in found} == set(bodies)
    assert all(item["code"] == "not_json" and item["detail"] for item in found)
    assert len(await listed("--limit", "10")) == 10
    table = await meter("list", "--limit", "10")
    assert table.stdout.count("not_json") == 10
    raw = await meter("show", "--raw", str(found[0]["id"]))
    assert raw.stdout_bytes == b64decode(found[0]["body_base64"])


async def test_they_are_handed_in_again_or_put_aside(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    old = arrival(id="old", time="2020-01-01T00:00:00Z")
    await acceptor(space.database).accept([old, arrival(type="?")])
    items = {item["code"]: str(item["id"]) for item in await listed()}
    again = await meter("retry", *items.values())
    assert again.exit_code == 1
    assert "too_old" in again.stdout
    monkeypatch.setenv("METER_MAX_AGE_DAYS", "20000")
    taken = await meter("retry", items["too_old"])
    assert taken.exit_code == 0, taken.output
    assert (await meter("discard", items["bad_type"])).exit_code == 0
    assert await listed() == []
    assert {item["status"] for item in await listed("--all")} == {"retried", "discarded"}
