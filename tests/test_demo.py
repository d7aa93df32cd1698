"""`meter up --demo` as a user runs it: it ends with charges for every kind of event, and goes on the next time."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from tests.gateway import RunningGateway

KINDS = {"door.access", "print.job", "wifi.session", "pos.sale", "room.booking"}
END_TIMEOUT_S = 120

pytestmark = pytest.mark.slow


def demo(data_dir: Path) -> RunningGateway:
    return RunningGateway(data_dir, arguments=("--demo", "--demo-seconds", "3"))


async def played(gateway: RunningGateway) -> str:
    """What the demo prints, when it has ended."""
    stdout = gateway.process.stdout
    assert stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(END_TIMEOUT_S):
        while not (lines and lines[-1].startswith("demo finished")):
            line = await stdout.readline()
            assert line, "".join(lines) + gateway.log.read_text()[-4000:]
            lines.append(line.decode())
    return "".join(lines)


async def charges(gateway: RunningGateway) -> list[tuple[str, str, str]]:
    """Of each charge its id, its event's type and how the event came."""
    return [
        (charge, event_type, channel)
        for charge, event_type, channel in await gateway.rows(
            "SELECT c.id, c.event_type, e.channel FROM charges AS c"
            " JOIN events AS e ON e.operator = c.operator AND e.source = c.source AND e.id = c.event_id"
        )
    ]


async def assert_agent_lost_nothing(gateway: RunningGateway, said: str) -> None:
    """Every door went through the agent, which was cut off and killed; its events are there without a hole, once."""
    before, after = re.findall(r"(\d+) events waited with it when it was killed .* it has (\d+)$", said, re.MULTILINE)[
        0
    ]
    assert int(before) <= int(after)
    (told,) = re.findall(r"agent: what doors told it while it was cut off, (\d+) events, is stored", said)
    assert int(told) > 0
    (edge,) = (await gateway.get("/v1/edges"))["edges"]
    assert (edge["site"], edge["edge"], edge["holes"]) == ("berlin", "berlin-edge", [])
    counts = (
        "SELECT type, count(*) FROM events WHERE source LIKE 'berlin/door/%' OR type = 'edge.heartbeat' GROUP BY type"
    )
    stored = {row[0]: row[1] for row in await gateway.rows(counts)}
    assert stored["door.access"] + stored["edge.heartbeat"] <= edge["up_to"] == edge["last_sequence"]
    lines = [
        (charge["event"]["id"], charge["meter"], charge["role"])
        for charge in (await gateway.get("/v1/charges", limit="1000"))["charges"]
        if charge["event"] and charge["event"]["type"] == "door.access" and charge["role"] == "original"
    ]
    assert lines
    assert len(lines) == len(set(lines))


def processes_in(directory: Path) -> list[int]:
    """The processes that work below `directory`. Linux only."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink().is_relative_to(directory):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


async def test_a_demo_bills_every_kind_of_event_and_the_next_one_goes_on(data_dir: Path) -> None:
    async with demo(data_dir) as first:
        said = await played(first)
        pages = await first.get("/v1/charges", limit="1000")
        assert {charge["event"]["type"] for charge in pages["charges"] if charge["event"]} == KINDS
        without_event = {charge["meter"] for charge in pages["charges"] if not charge["event"]}
        assert without_event == {"membership", "credit"}
        assert f"{len(pages['charges'])} lines" in said, "the fees of a first demo are among its lines"
        assert "lines in all" not in said
        due = sum(Decimal(charge["rounded"]) for charge in pages["charges"] if charge["settlement"] != "paid")
        assert f" {due:.2f} EUR to invoice" in said
        explained = {charge["id"]: charge for charge in pages["charges"] if f"meter explain {charge['id']}" in said}
        assert {charge["meter"] for charge in explained.values()} == {"membership", "presence"}
        assert {charge["account"] for charge in explained.values()} == {"acme"}
        assert f"meter plan {data_dir / 'northside.yaml'}" in said
        assert (data_dir / "northside.yaml").exists()
        assert str(data_dir / "admin.key") in said
        assert "/docs" in said
        booked = await charges(first)
        assert {channel for _, _, channel in booked} == {"mqtt", "http", "webhook"}
        assert Counter(channel for _, _, channel in booked)["webhook"] == 1
        assert Counter(event_type for _, event_type, channel in booked if channel == "mqtt")["door.access"]
        await assert_agent_lost_nothing(first, said)
        assert processes_in(data_dir)
        assert await first.stop() == 0
    assert processes_in(data_dir) == []
    assert "Traceback" not in first.log.read_text()
    for book in ("beancount/main.beancount", "hledger/main.journal"):
        assert str(data_dir / "ledger" / book) in said
        assert (data_dir / "ledger" / book).exists()
    async with demo(data_dir) as second:
        assert "lines in all" in await played(second)
        again = await charges(second)
        assert {charge for charge, _, _ in booked} < {charge for charge, _, _ in again}
        assert len({charge for charge, _, _ in again}) == len(again)
        assert Counter(channel for _, _, channel in again)["webhook"] == 2
        days = await second.rows(
            "SELECT DISTINCT date(time AT TIME ZONE 'Europe/Berlin') FROM events WHERE type <> 'edge.heartbeat'"
        )
        assert len(days) == 2
        assert await second.stop() == 0


async def test_ctrl_c_while_it_plays_ends_everything_in_order_and_the_day_is_played_to_its_end_later(
    data_dir: Path,
) -> None:
    async with RunningGateway(data_dir, arguments=("--demo", "--demo-seconds", "600")) as broken_off:
        async with asyncio.timeout(END_TIMEOUT_S):
            while not (await broken_off.rows("SELECT count(*) FROM events"))[0][0]:  # noqa: ASYNC110 -- another process
                await asyncio.sleep(0.05)
        assert await broken_off.stop() == 0
    assert processes_in(data_dir) == []
    assert "Traceback" not in broken_off.log.read_text()
    async with demo(data_dir) as again:
        await played(again)
        assert (
            len(
                await again.rows(
                    "SELECT DISTINCT date(time AT TIME ZONE 'Europe/Berlin') FROM events WHERE type <> 'edge.heartbeat'"
                )
            )
            == 1
        )
        assert {event_type for _, event_type, _ in await charges(again)} == KINDS


async def test_a_kill_of_the_gateway_ends_its_agent_too(data_dir: Path) -> None:
    async with RunningGateway(data_dir, arguments=("--demo", "--demo-seconds", "600")) as gateway:
        async with asyncio.timeout(END_TIMEOUT_S):
            while not (await gateway.rows("SELECT count(*) FROM edges"))[0][0]:  # noqa: ASYNC110 -- another process
                await asyncio.sleep(0.05)
        await gateway.kill()
        async with asyncio.timeout(END_TIMEOUT_S):
            while processes_in(data_dir / "agent"):  # noqa: ASYNC110 -- it stops in order
                await asyncio.sleep(0.05)


async def test_without_a_demo_no_agent_runs(data_dir: Path) -> None:
    async with RunningGateway(data_dir):
        assert not (data_dir / "agent").exists()


async def test_it_does_not_play_into_the_books_of_another_operator(data_dir: Path) -> None:
    catalog = data_dir / "other.yaml"
    catalog.write_text("operator: other\ncurrency: EUR\ntimezone: UTC\n")
    gateway = RunningGateway(data_dir, arguments=("--demo", "--catalog", str(catalog)))
    await gateway.start()
    assert await asyncio.wait_for(gateway.process.wait(), END_TIMEOUT_S) == 2
    assert "(not_the_example)" in gateway.log.read_text()
