"""`meter edges` over a real database: who is on site, what is missing, and who is gone for good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from meter.model.instant import instant_text
from tests.api.test_edges import COLLECTORS, SAID, marked, saying
from tests.booking.closes import ACME_MARCH, Closes, heartbeat
from tests.booking.space import Space, open_space, pages
from tests.cli.command import done, machine, meter


@pytest_asyncio.fixture
async def space(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "250")
    async with open_space(database_url) as opened:
        monkeypatch.setattr("meter.cli.edges.now", lambda: opened.now)
        yield opened


async def test_agents_are_listed_for_people_with_what_is_wrong(space: Space) -> None:
    assert "no agent was heard of" in (await meter("edges")).output
    await space.accept([marked(1), marked(4), saying(heartbeat(space.now, sequence=9), **SAID)])
    space.now, here = space.now - timedelta(hours=1), space.now
    await space.accept([heartbeat(space.now, "edge-2", sequence=1), marked(1, "edge-2", boot=0)])
    silent_since, space.now = space.now, here
    shown = await done("edges", "list")
    row, _, state, silent = (line for line in shown.splitlines() if line.strip().startswith("berlin/"))
    for fact in ("berlin/edge-1", f"{instant_text(space.now)[:16]}Z", " 6 ", " 12"):
        assert fact in row, fact
    whole = "the disk is nearly full; mqtt up; snmp off; clock -2.001 s; version 0.1.0"
    assert state == f"berlin/edge-1: {whole}"
    assert silent.startswith(f"berlin/edge-2: offline since {instant_text(silent_since)}")
    assert "the clock of edge-1 at berlin is -2001 ms off" in shown
    listed = await machine("edges", "list")
    assert [(one["edge"], one["boot"], one["current"]) for one in listed["edges"]] == [
        ("edge-1", 1, True),
        ("edge-2", 1, True),
        ("edge-2", 0, False),
    ]
    assert listed["sites"][0]["slowest"] == "edge-1"


async def test_one_agent_is_shown_whole(space: Space) -> None:
    await space.accept([marked(1), marked(4), saying(heartbeat(space.now, sequence=9), **SAID)])
    shown = await done("edges", "show", "berlin", "edge-1")
    for fact in ("2-3, 5-8 (6 missing)", "spooled_bytes  4096", "ntp  False", "mqtt: up 12 devices", "drifts  True"):
        assert fact in shown, fact
    (whole,) = (await machine("edges", "show", "berlin", "edge-1"))["edges"]
    assert whole["collectors"]["mqtt"] == COLLECTORS["mqtt"]
    assert (await meter("edges", "show", "prague", "edge-1")).exit_code != 0


async def test_the_silence_after_which_an_agent_is_offline_is_a_setting(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    await space.accept([heartbeat(space.now, sequence=1)])
    space.now += timedelta(minutes=10)
    for silence_s, offline in (("300", True), ("3600", False)):
        monkeypatch.setenv("METER_OFFLINE_AFTER_S", silence_s)
        (listed,) = (await machine("edges", "list"))["edges"]
        assert (listed["offline_since"] is not None) is offline


async def test_what_an_agent_keeps_open_is_told_until_it_is_retired(space: Space) -> None:
    closes = await Closes.of(space, since=ACME_MARCH.start)
    mark = ACME_MARCH.end - timedelta(days=3)
    space.now = mark
    await space.take(pages("1", "02T09:00", 10), heartbeat(mark))
    space.now = ACME_MARCH.end + timedelta(hours=30)
    await closes.sweep()
    told = f"berlin is complete up to {instant_text(mark)} by edge-1: periods of 1 accounts stay open"
    assert told in await done("edges", "list")
    assert (await meter("edges", "retire", "berlin", "edge-1")).exit_code != 0
    gone = await meter("edges", "retire", "berlin", "edge-1", "--reason", "stolen")
    assert gone.exit_code == 0, gone.output
    shown = await done("edges", "list")
    assert "stay open" not in shown
    assert ": stolen" in shown
    (listed,) = (await machine("edges", "show", "berlin", "edge-1"))["edges"]
    assert (listed["retired"]["reason"], listed["retired"]["by"]) == ("stolen", "command line")
    await closes.sweep()
    assert len(await closes.closed()) == 1


async def test_an_agent_that_lives_is_retired_only_on_purpose(space: Space) -> None:
    await space.accept([heartbeat(space.now, sequence=1)])
    refused = await meter("edges", "retire", "berlin", "edge-1", "--reason", "old")
    assert refused.exit_code != 0
    (done_,) = (await machine("edges", "retire", "berlin", "edge-1", "--reason", "old", "--yes"))["edges"]
    assert done_["retired"]["reason"] == "old"
