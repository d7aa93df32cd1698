"""`meter-edge spool` and `spool replay`: by the running agent and in the file; what goes again keeps its numbers."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from meter.clock import now
from meter.model.instant import instant_text
from tests.edge.agent import RunningAgent, free_port


@dataclass
class Gateway:
    """Takes everything over HTTP, says that it holds all, and forgets nothing."""

    got: list[tuple[int, int, str]] = field(default_factory=list)
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        events = msgspec.json.decode(await request.read())
        self.got += [
            (event["boot"], event["sequence"], event["id"]) for event in events if event["type"] != "edge.heartbeat"
        ]
        return web.json_response({"results": [{"status": "accepted"} for _ in events]})

    async def tell_time(self, _request: web.Request) -> web.Response:
        return web.json_response({"time": instant_text(now())})

    async def holds(self, request: web.Request) -> web.Response:
        return web.json_response({"boot": int(request.query["boot"]), "up_to": 1_000_000, "beyond": []})


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Gateway]:
    gateway, app = Gateway(), web.Application()
    app.router.add_post("/v1/events", gateway.take)
    app.router.add_get("/v1/clock", gateway.tell_time)
    app.router.add_get("/v1/edges/berlin/berlin-edge/stored", gateway.holds)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    gateway.url = "http://{}:{}".format(*runner.addresses[0][:2])
    yield gateway
    await runner.cleanup()


def door(number: int) -> dict[str, Any]:
    data = {"door": "main", "granted": True}
    return {
        "specversion": "1.0",
        "id": f"d-{number}",
        "source": "berlin/door/main",
        "type": "door.access",
        "data": data,
    }


async def spool(agent: RunningAgent, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Exit code of `meter-edge spool ...` and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge", "spool", *arguments, env={**agent.env, **(env or {})},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode()


async def sent(gateway: Gateway, count: int) -> list[tuple[int, int, str]]:
    async with asyncio.timeout(30):
        while len(gateway.got) < count:  # noqa: ASYNC110 -- another process
            await asyncio.sleep(0.05)
    return gateway.got


async def test_a_running_agent_sends_again_what_it_is_asked_for(gateway: Gateway, tmp_path: Path) -> None:
    async with RunningAgent(tmp_path / "edge", env={"METER_EDGE_GATEWAY__HTTP_URL": gateway.url}) as agent:
        await agent.post([door(number) for number in range(5)])
        first = {id: (boot, sequence) for boot, sequence, id in await sent(gateway, 5)}
        await agent.drained()
        boot, third = first["d-3"]
        gateway.got.clear()
        code, printed = await spool(agent, "replay", "--boot", str(boot), "--from", str(third), "--to", str(third))
        assert (code, printed.partition(" ")[0]) == (0, "1"), printed
        assert await sent(gateway, 1) == [(boot, third, "d-3")]
        await agent.drained()
        gateway.got.clear()
        code, printed = await spool(agent, "replay", "--since", "2026-01-01T00:00:00Z")
        assert code == 0
        assert {id: (boot, sequence) for boot, sequence, id in await sent(gateway, 5)} == first
        await agent.drained()
        code, printed = await spool(agent, "replay", "--since", "2999-01-01T00:00:00Z")
        assert (code, printed.partition(" ")[0]) == (0, "0")
        assert "online       True" in (await spool(agent))[1]
        code, printed = await spool(agent, "replay", env={"METER_EDGE_HTTP": f"127.0.0.1:{free_port()}"})
        assert code == os.EX_UNAVAILABLE, "the file is the agent's while it runs"


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
async def test_no_page_in_a_browser_on_the_machine_can_ask(gateway: Gateway, tmp_path: Path, media: str) -> None:
    """These a browser sends for any page, without asking first; without tokens nothing else would be in the way."""
    async with (
        RunningAgent(tmp_path / "edge", env={"METER_EDGE_GATEWAY__HTTP_URL": gateway.url}) as agent,
        aiohttp.ClientSession(f"http://127.0.0.1:{agent.port}") as page,
    ):
        body = b'{"since": "2026-01-01T00:00:00Z"}'
        for path in ("/v1/replay", "/v1/authorizations", "/v1/events"):
            async with page.post(path, data=body, headers={"Content-Type": media}) as answer:
                code = (await answer.json(content_type=None))["code"]
                assert (answer.status, code) == (415, "unsupported_media_type"), path
        async with page.options("/v1/replay", headers={"Origin": "http://elsewhere.example"}) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers
        async with page.post("/v1/replay", data=body, headers={"Content-Type": "application/json"}) as answer:
            assert answer.status == 200


async def test_without_an_agent_it_is_written_in_the_file(gateway: Gateway, tmp_path: Path) -> None:
    agent = RunningAgent(tmp_path / "edge", env={"METER_EDGE_GATEWAY__HTTP_URL": gateway.url})
    async with agent:
        await agent.post([door(number) for number in range(3)])
        await sent(gateway, 3)
        await agent.drained()
    gateway.got.clear()
    code, printed = await spool(agent, "replay")
    assert code == 0
    assert "when the agent runs" in printed
    again, counted = int(printed.partition(" ")[0]), int(printed.partition("; ")[2].partition(" ")[0])
    assert again == counted >= 3
    code, printed = await spool(agent, "replay")
    assert (code, printed.partition(" ")[0]) == (0, "0"), "they wait already"
    async with agent:
        assert sorted(id for _, _, id in await sent(gateway, 3)) == ["d-0", "d-1", "d-2"]
        await agent.drained()
    assert len(gateway.got) == 3


@pytest.mark.parametrize(
    "arguments",
    [["--since", "yesterday"], ["--from", "3"], ["--boot", "1", "--since", "2026-01-01T00:00:00Z"], ["--boot", "x"]],
)
async def test_what_cannot_be_meant_is_wrong_usage(tmp_path: Path, arguments: list[str]) -> None:
    agent = RunningAgent(tmp_path, env={"METER_EDGE_GATEWAY__HTTP_URL": "http://127.0.0.1:9"})
    code, printed = await spool(agent, "replay", *arguments)
    assert code == 2, printed
