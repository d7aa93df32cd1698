"""What a heartbeat says: how much waits, how collectors are, what a person should look at, and how far all is there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from edge.heartbeat import CollectorState, Heartbeats
from edge.intake import Intake
from edge.spool.file import Spool
from edge.spool.keeper import Keeper
from edge.uplink.recall import Recall
from edge.uplink.timekeeper import Timekeeper
from meter.model.instant import instant_text
from meter.model.wire import WireEvent, read_event
from tests.edge.agent import RunningAgent
from tests.edge.clocks import START, VirtualClock


async def test_it_is_an_event_of_ours_and_says_all_of_that(tmp_path: Path) -> None:
    clock = VirtualClock()
    behind = START - timedelta(hours=2)
    async with Keeper(Spool.open(tmp_path / "spool", clock=clock)) as keeper:
        beats = Heartbeats(
            site="berlin",
            edge="hut",
            keeper=keeper,
            intake=Intake(keeper, site="berlin", edge="hut", clock=clock),
            timekeeper=Timekeeper({}, clock=clock, keep=keeper.measure),
            recall=Recall(keeper, clock=clock, replayed=lambda: None),
            clock=clock,
            collectors=lambda: {"log": CollectorState(state="waiting", detail="no file", complete_until=behind)},
            faults=lambda: ["the spool was damaged", "x" * 5_000],
        )
        await beats.beat()
        (stored,) = await keeper.unsent(keeper.boot, 0, events_max=9, bytes_max=10_000)
    event = read_event(stored.body)
    assert isinstance(event, WireEvent), event
    data = dict(event.data)
    assert data["complete_until"] == instant_text(behind)  # the slowest collector's
    assert data["collectors"] == {"log": {"state": "waiting", "detail": "no file"}}
    assert data["faults"][0] == "the spool was damaged"
    assert len(data["faults"][1]) < 1_000


async def test_a_damaged_spool_is_told(tmp_path: Path) -> None:
    home = tmp_path / "edge"
    async with RunningAgent(home, env={"METER_EDGE_GATEWAY__HTTP_URL": "http://127.0.0.1:9"}) as agent:
        assert (await agent.get("/v1/status"))["faults"] == []
        await agent.stop()  # killed, all of the file would still be in its log
        (database,) = home.rglob("events.sqlite")
        database.write_bytes(b"no database at all")
        await agent.start()
        (fault,) = (await agent.get("/v1/status"))["faults"]
    assert "the spool was damaged" in fault
