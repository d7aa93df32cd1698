"""A full spool: who was turned away is counted as often as that happened, however much came each time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.intake import Intake, Origin
from edge.spool.errors import Full
from edge.spool.keeper import Keeper
from edge.spool.records import Bounds
from meter.model.wire import read_event, read_message
from tests.edge.clocks import VirtualClock
from tests.edge.spool.making import open_spool


def door(number: int) -> bytes:
    data = {"door": "main", "granted": True}
    envelope = {"specversion": "1.0", "id": f"d-{number}", "source": "berlin/door/main", "type": "door.access"}
    return json.dumps({**envelope, "data": data}).encode()


async def test_who_comes_again_is_turned_away_again(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with Keeper(open_spool(tmp_path, bounds=Bounds(events_max=2), clock=clock)) as keeper:
        intake = Intake(keeper, site="berlin", edge="hut", clock=clock)
        three = [read_event(door(number)) for number in range(3)]
        for _ in range(2):
            with pytest.raises(Full):
                await intake.keep(three, origin=Origin(name="POST /v1/events"))
        assert intake.turned_away == 2
        await intake.keep(three[:2], origin=Origin(name="POST /v1/events"))
        assert intake.turned_away == 2


async def test_a_message_of_more_than_one_put_takes_is_kept(tmp_path: Path) -> None:
    """A broker would hand over for ever what is never acknowledged, and everything behind it would wait."""
    clock = VirtualClock()
    items = read_message(json.dumps(list(range(6_000))).encode())
    async with Keeper(open_spool(tmp_path, bounds=Bounds(), clock=clock)) as keeper:
        intake = Intake(keeper, site="berlin", edge="hut", clock=clock)
        results = await intake.keep(items, origin=Origin(name="mqtt spaces/berlin/door/main"))
        assert len(results) == keeper.depth.events == 6_000
