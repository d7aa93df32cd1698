"""A site that was offline for a week: its backlog is billed exactly, whatever happens there while it drains.

METER_TEST_BACKLOG is how many events wait, a million in the long form; -rP shows the figures.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import pytest_asyncio

from tests.edge.agent import RunningAgent
from tests.edge.e2e.backlog import drain, fill, is_flagged, keeping_commit_times
from tests.edge.e2e.test_way import over_http, over_mqtt
from tests.edge.e2e.week import FRESH, SPAN, TWICE_EVERY, Bill, Happened, Week
from tests.gateway import RunningGateway

EVENTS: Final = int(os.environ.get("METER_TEST_BACKLOG", "6000"))
# Offsets are sent in whole milliseconds.
_ACCURACY: Final = timedelta(milliseconds=1)

# A line that was corrected counts once: its original and replacements, less its reversals.
_OWED: Final = """
    SELECT account, to_char(period_start AT TIME ZONE 'Europe/Berlin', 'YYYY-MM'), meter,
           sum(CASE role WHEN 'reversal' THEN -1 ELSE 1 END), sum(amount), sum(rounded)
      FROM charges GROUP BY 1, 2, 3
"""


class Waiting(NamedTuple):
    """A week in an agent's spool."""

    week: Week
    directory: Path
    held: int


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def waiting(session_dir: Path) -> AsyncIterator[Waiting]:
    start = (datetime.now(UTC) - SPAN - timedelta(minutes=1)).replace(microsecond=0)
    week, directory = Week(events=EVENTS, start=start), session_dir / "week"
    yield Waiting(week, directory, await fill(directory, week))
    shutil.rmtree(directory)


@pytest.mark.slow
@pytest.mark.parametrize("way", [over_mqtt, over_http])
async def test_a_week_offline_is_billed_exactly_beside_what_is_new(waiting: Waiting, data_dir: Path, way: Any) -> None:
    week = waiting.week
    assert waiting.held == week.events + -(-week.events // TWICE_EVERY)
    catalog = data_dir / "catalog.yaml"
    catalog.write_text(week.catalog())
    await keeping_commit_times(data_dir)
    shutil.copytree(waiting.directory, data_dir / "edge")
    async with RunningGateway(data_dir, env={"METER_CATALOG": str(catalog)}) as gateway:
        agent = RunningAgent(data_dir / "edge", env=way(gateway))
        figures, fresh = await drain(gateway, agent, week, waiting.held)
        sys.stdout.write("\n".join(figures.lines()))
        await every_event_is_stored_once(gateway, week, fresh)
        await the_bill_is_right(gateway, week, fresh)
        (edge,) = [one for one in (await gateway.get("/v1/edges"))["edges"] if one["up_to"]]
        assert (edge["holes"], edge["up_to"]) == ([], edge["last_sequence"])
        # The rest are heartbeats.
        assert edge["last_sequence"] > waiting.held + len(fresh)
        assert await gateway.rows("SELECT count(*) FROM rejections") == [(0,)]
        assert await gateway.rows("SELECT count(*) FROM unresolved") == [(0,)]


async def every_event_is_stored_once(gateway: RunningGateway, week: Week, fresh: Sequence[Happened]) -> None:
    """Hold what is stored against what happened: which, and when it truly was; times that nobody knows are marked."""
    happened = {one.key: (one.time, one.timed) for one in chain(week.all(), fresh)}
    stored = await gateway.rows("SELECT source, id, time, timed FROM events WHERE type <> 'edge.heartbeat'")
    assert len(stored) == len(happened)
    for source, id, time, timed in stored:
        true, told = happened[source, id]
        assert timed == told
        if source != FRESH or timed:
            assert abs(time - true) <= (timedelta() if timed else _ACCURACY), (source, id)
    flagged = await gateway.rows("SELECT source, id FROM doubtful_times WHERE flag = 'unsynchronised'")
    assert {(row[0], row[1]) for row in flagged} == {one.key for one in week.all() if is_flagged(week, one)}


async def the_bill_is_right(gateway: RunningGateway, week: Week, fresh: Sequence[Happened]) -> None:
    """Hold what is charged against what the events cost, to the cent and to the line."""
    bill = Bill()
    for one in chain(week.all(), fresh):
        bill.add(one)
    charged = {
        (account, month, meter): (int(lines), Decimal(amount).normalize(), Decimal(rounded).normalize())
        for account, month, meter, lines, amount, rounded in await gateway.rows(_OWED)
    }
    assert charged == bill.owed()
