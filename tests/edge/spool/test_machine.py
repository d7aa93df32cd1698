"""Whatever is done to a spool in whatever order, it holds what a list in memory holds."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge import failpoints
from edge.spool import file
from edge.spool.errors import Full
from edge.spool.file import Batch
from edge.spool.records import Acknowledgement, Bounds, Depth, Item, Place, Put, Stretch
from edge.spool.rows import load_state
from tests.edge.clocks import VirtualClock
from tests.edge.spool.making import item, open_spool, unsent

BOUNDS = Bounds(
    bytes_max=2 * 1024 * 1024,
    events_max=12,
    log_bytes_max=512 * 1024,
    ballast_bytes=512 * 1024,
    retention=timedelta(hours=30),
)
FIRST = 3


@dataclass
class Event:
    body: bytes
    number: Place
    state: str = "waiting"
    hour: int = 0


class _Planned(Exception):
    pass


class SpoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="spool-machine-"))
        self.clock = VirtualClock()
        self.spool = open_spool(self.directory, bounds=BOUNDS, clock=self.clock)
        self.events: list[Event] = []
        self.boots = [self.spool.boot]
        self.given = {self.spool.boot: 0}
        self.mark = self.handed = 0
        self.proven = False
        self.positions: dict[str, str] = {}
        self.count = 0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(file, "FIRST_EVENTS", FIRST)

    def teardown(self) -> None:
        self.patch.undo()
        failpoints.disarm()
        self.spool.close()
        shutil.rmtree(self.directory)

    @initialize(count=st.integers(0, 10))
    def begin(self, count: int) -> None:
        self.append(sizes=[0] * count, collector="cups")

    def of(self, *states: str) -> list[Event]:
        return [event for event in self.events if event.state in states]

    @property
    def hour(self) -> int:
        return int(self.clock.wall.timestamp()) // 3600

    # --- events in ---

    def new_items(self, sizes: list[int]) -> list[Item]:
        made = [item(f"e-{self.count + n}", size=size, heard=self.clock.read()) for n, size in enumerate(sizes)]
        self.count += len(sizes)
        return made

    def accepted(self, made: list[Item]) -> None:
        for new in made:
            self.given[self.spool.boot] += 1
            self.events.append(Event(new.body, Place(self.spool.boot, self.given[self.spool.boot])))

    def evict(self, count: int) -> None:
        for event in self.of("kept")[: max(count, 0)]:
            event.state = "removed"

    @rule(sizes=st.lists(st.integers(0, 9000), max_size=6), collector=st.sampled_from(["cups", "papercut"]))
    def append(self, sizes: list[int], collector: str) -> None:
        made, position = self.new_items(sizes), str(self.count)
        over = len(self.of("waiting", "kept")) + len(made) - BOUNDS.events_max
        if over > len(self.of("kept")):
            with pytest.raises(Full, match="events that the gateway has not acknowledged"):
                self.spool.append(made, {collector: position})
            return
        self.evict(over)
        places = self.spool.append(made, {collector: position})
        self.accepted(made)
        self.positions[collector] = position
        assert list(places) == [event.number for event in self.events[len(self.events) - len(made) :]]

    @rule(sizes=st.lists(st.integers(0, 2000), max_size=4), where=st.sampled_from(["after_begin", "before_commit"]))
    def rolled_back(self, sizes: list[int], where: str) -> None:
        def fail() -> None:
            raise _Planned

        failpoints.arm(where, fail)
        with pytest.raises(_Planned):
            self.spool.append(self.new_items(sizes), {"cups": "never"})
        failpoints.disarm()

    @rule(sizes=st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=9), min_size=2, max_size=4))
    def some_of_many(self, sizes: list[list[int]]) -> None:
        puts = [self.new_items(part) for part in sizes]
        done = self.spool.commit(Batch(puts=tuple(Put(items=tuple(part)) for part in puts)))
        for made, outcome in zip(puts, done.outcomes, strict=True):
            over = len(self.of("waiting", "kept")) + len(made) - BOUNDS.events_max
            if over > len(self.of("kept")):
                assert isinstance(outcome, Full)
                continue
            self.evict(over)
            self.accepted(made)
            assert isinstance(outcome, tuple)
            assert [*outcome] == [event.number for event in self.events[len(self.events) - len(made) :]]

    # --- the gateway ---

    def may_be_sent(self, boot: int) -> list[Event]:
        mine = [event for event in self.of("waiting") if event.number.boot == boot]
        if boot != self.spool.boot or self.proven:
            return mine
        return [event for event in mine if event.number.sequence <= self.mark]

    @rule(allow=st.booleans())
    def send(self, *, allow: bool) -> None:
        if allow and self.spool.is_held_back:
            self.spool.allow_first()
            self.mark = min(self.mark + FIRST, self.given[self.spool.boot])
        for boot in self.boots:
            expected = self.may_be_sent(boot)
            found = unsent(self.spool, boot)
            assert [(event.place, event.body) for event in found] == [(e.number, e.body) for e in expected]
            if boot == self.spool.boot and expected:
                self.handed = max(self.handed, expected[-1].number.sequence)

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        boot = data.draw(st.sampled_from(self.boots))
        known = max(self.mark, self.handed) if boot == self.spool.boot else self.given[boot] + 5
        up_to = data.draw(st.integers(0, known))
        also = data.draw(st.lists(st.integers(0, known), max_size=5))
        named = [e for e in self.of("waiting") if e.number.boot == boot]
        named = [e for e in named if e.number.sequence <= up_to or e.number.sequence in also]
        assert self.spool.acknowledge(boot, up_to, also) == len(named)
        for event in named:
            event.state, event.hour = "kept", self.hour
        self.proven = self.proven or (boot == self.spool.boot and bool(named))

    @rule(beyond=st.integers(1, 50), in_also=st.booleans())
    def acknowledged_to_another_copy(self, *, beyond: int, in_also: bool) -> None:
        before, number = self.spool.boot, max(self.mark, self.handed) + beyond
        assert self.spool.acknowledge(before, 0 if in_also else number, [number] if in_also else []) == 0
        assert self.spool.boot > before
        self.boots.append(self.spool.boot)
        moved = [event for event in self.of("waiting") if event.number.boot == before]
        for sequence, event in enumerate(moved, start=1):
            event.number = Place(self.spool.boot, sequence)
        self.given[self.spool.boot] = len(moved)
        self.mark = self.handed = 0
        self.proven = False

    @rule(boot=st.integers(1, 1000), up_to=st.integers(0, 100))
    def acknowledged_of_no_boot_of_ours(self, boot: int, up_to: int) -> None:
        assert self.spool.acknowledge(boot, up_to, [up_to + 2]) == 0

    # --- time ---

    @rule(hours=st.integers(0, 20))
    def time_passes(self, hours: int) -> None:
        self.clock.advance(timedelta(hours=hours))

    @rule()
    def expire(self) -> None:
        assert not self.spool.expire()
        for event in self.of("kept"):
            if event.hour < self.hour - 30:
                event.state = "removed"

    @rule(hours=st.integers(0, 40))
    def replay_since(self, hours: int) -> None:
        since = self.clock.wall - timedelta(hours=hours)
        again = [event for event in self.of("kept") if event.hour >= self.hour - hours]
        assert self.spool.replay(since=since) == len(again)
        for event in again:
            event.state = "waiting"

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def replay_stretches(self, data: st.DataObject) -> None:
        drawn = st.tuples(st.sampled_from(self.events), st.integers(0, 5))
        stretches = [
            Stretch(event.number.boot, event.number.sequence, event.number.sequence + more)
            for event, more in data.draw(st.lists(drawn, max_size=3))
        ]
        again = [
            event
            for event in self.of("kept")
            if any(
                one.boot == event.number.boot and one.first <= event.number.sequence <= one.last for one in stretches
            )
        ]
        assert self.spool.replay(stretches=stretches) == len(again)
        for event in again:
            event.state = "waiting"

    @rule(clean=st.booleans())
    def restart(self, *, clean: bool) -> None:
        if clean:
            self.spool.close()
        else:
            # What a killed process leaves behind: the files as they are, nothing closed.
            left = Path(tempfile.mkdtemp(prefix="spool-machine-"))
            shutil.copytree(self.directory, left, dirs_exist_ok=True)
            self.spool.close()
            shutil.rmtree(self.directory)
            self.directory = left
        self.spool = open_spool(self.directory, bounds=BOUNDS, clock=self.clock)
        assert self.spool.opening.unclean != clean
        assert self.spool.opening.salvage is None
        if self.proven:
            self.mark = self.given[self.spool.boot]
        self.proven, self.handed = False, 0

    # --- laws ---

    @invariant()
    def holds_what_the_list_holds(self) -> None:
        waiting, kept = self.of("waiting"), self.of("kept")
        assert self.spool.depth == Depth(
            events=len(waiting),
            bytes=sum(len(event.body) for event in waiting),
            kept_events=len(kept),
            kept_bytes=sum(len(event.body) for event in kept),
        )
        # Kept in memory between transactions, and the same as the file says.
        assert self.spool._writer.state == load_state(self.spool._writer._connection)
        oldest = self.spool.oldest()
        assert (oldest.body if oldest else None) == (waiting[0].body if waiting else None)
        assert self.spool.positions() == self.positions
        assert self.spool.waiting_boots == sorted({event.number.boot for event in waiting})
        given = self.given[self.spool.boot]
        assert self.spool.last == (Place(self.spool.boot, given) if given else None)


SpoolMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestSpoolMachine = SpoolMachine.TestCase


def test_the_acknowledgement_of_a_batch_makes_room_for_its_events(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, bounds=BOUNDS)
    spool.append([item(f"e-{n}") for n in range(BOUNDS.events_max)])
    spool.allow_first()
    sent = unsent(spool)
    batch = Batch(
        puts=(Put(items=(item("late"),)),),
        acknowledgements=(Acknowledgement(boot=spool.boot, up_to=0, also=(sent[-1].place.sequence,)),),
    )
    assert spool.commit(batch).outcomes == ((Place(spool.boot, BOUNDS.events_max + 1),),)
    spool.close()
