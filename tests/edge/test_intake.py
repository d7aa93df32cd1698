"""Who was turned away is counted, however much came each time; what is taken the gateway can take as well."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from pathlib import Path

import pytest

from edge.intake import Intake, Origin
from edge.spool.errors import Full
from edge.spool.keeper import Keeper
from edge.spool.records import Bounds
from edge.uplink.clocks import Correction
from edge.uplink.marks import marked
from meter.model.wire import WireEvent, read_event, read_message
from tests.edge.clocks import VirtualClock
from tests.edge.spool.making import open_spool
from tests.looks import HOSTILE, looks


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


async def test_a_long_look_for_card_numbers_is_beside_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    made = looks(monkeypatch)
    hostile = read_event(door(1).replace(b'"main"', json.dumps(HOSTILE).encode()))
    async with Keeper(open_spool(tmp_path, bounds=Bounds(), clock=clock)) as keeper:
        intake = Intake(keeper, site="berlin", edge="hut", clock=clock)
        for items in ([hostile], [read_event(door(2))]):
            await intake.keep(items, origin=Origin(name="POST /v1/events"))
        assert keeper.depth.events == 2
    assert [look.beside for look in made] == [True, False]


@pytest.mark.parametrize(
    ("more", "same_clock", "most"),
    [
        ({}, False, 30),
        ({"timeflag": "no_zone"}, False, 31),
        ({"time": "2026-11-22T08:00:00Z"}, False, 32),
        ({"time": "2026-11-22T08:00:00Z"}, True, 31),
        ({"time": "2026-11-22T08:00:00Z", "timeflag": "ambiguous"}, True, 32),
    ],
)
async def test_what_is_accepted_has_room_for_the_marks(
    tmp_path: Path, more: dict[str, str], most: int, *, same_clock: bool
) -> None:
    clock = VirtualClock()
    # `most` counts a flag of the device's own.
    bodies = [
        json.dumps({**json.loads(door(count)), **more, **{f"x{n}": n for n in range(count - ("timeflag" in more))}})
        for count in range(29, 33)
    ]
    async with Keeper(open_spool(tmp_path, bounds=Bounds(), clock=clock)) as keeper:
        intake = Intake(keeper, site="berlin", edge="hut", clock=clock)
        items = [read_event(body.encode()) for body in bodies]
        results = await intake.keep(items, origin=Origin(name="POST /v1/events", same_clock=same_clock))
        assert [one.status for one in results] == ["accepted" if n <= most else "rejected" for n in range(29, 33)]
        assert {one.code for one in results} <= {None, "bad_attribute"}
        kept = await keeper.unsent(keeper.boot, 0, events_max=10, bytes_max=1 << 20)
        flag = Correction(offset_ms=7_000, flag="unsynchronised")
        for one in kept:
            heard = one.heard.wall if one.stamped else None
            sent = marked(one.body, edge="hut", boot=1, sequence=1, heard=heard, correction=flag)
            assert isinstance(read_event(sent), WireEvent)


async def test_a_card_number_does_not_reach_the_disk(tmp_path: Path) -> None:
    """What holds one is told so and passed on masked; its neighbours are taken."""
    clock = VirtualClock()
    paid = json.dumps({**json.loads(door(2)), "type": "till.note", "data": {"note": "4111 1111 1111 1111"}}).encode()
    async with Keeper(open_spool(tmp_path, bounds=Bounds(), clock=clock)) as keeper:
        intake = Intake(keeper, site="berlin", edge="hut", clock=clock)
        items = [read_event(one) for one in (door(1), paid, door(3))]
        results = await intake.keep(items, origin=Origin(name="mqtt spaces/berlin/pos/4111111111111111"))
        assert [result.code for result in results] == [None, "card_number", None]
        assert keeper.depth.events == 3
    stored = _on_disk(tmp_path)
    bodies = [b64decode(one) for one in re.findall(rb'"body_base64":"([A-Za-z0-9+/=]+)"', stored)]
    assert b"411111******1111" in bodies[0]
    for held in (stored, *bodies):
        assert b"4111 1111 1111 1111" not in held
        assert b"4111111111111111" not in held


def _on_disk(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())
