"""A real agent that is killed in the middle of a log, again and again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.edge.agent import RunningAgent
from tests.edge.collect.kept import spooled
from tests.edge.collect.logs import FORMAT, line

LINES = 6_000
KILLS = 5


async def test_each_line_is_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "page_log"
    files = {"cups": {"vendor": "cups", "path": str(path), "options": {"format": FORMAT}}}
    nowhere = {"METER_EDGE_GATEWAY__HTTP_URL": "http://127.0.0.1:9", "METER_EDGE_FILES": json.dumps(files)}
    agent = RunningAgent(tmp_path / "edge", env=nowhere)
    async with agent:
        for turn in range(KILLS):
            written = range(turn * LINES // KILLS, (turn + 1) * LINES // KILLS)
            with path.open("ab") as log:
                for number in written:
                    log.write(line(number))
            if turn == 2:
                path.rename(tmp_path / "page_log.1")
            async with asyncio.timeout(30):
                # Some of it is committed and some is not.
                while (await agent.get("/v1/status"))["spooled"] <= written[0] and turn != 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await agent.kill()
            await agent.start()
        async with asyncio.timeout(60):
            while (await agent.get("/v1/status"))["spooled"] < LINES:  # noqa: ASYNC110 -- another process
                await asyncio.sleep(0.05)
        assert (await agent.get("/v1/status"))["collectors"]["file:cups"]["state"] == "running"
    assert sorted(event["data"]["number"] for event in spooled(tmp_path / "edge")) == [*range(LINES)]
