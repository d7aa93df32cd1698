"""A target that fails in every way a target can, and an outbox and a lane in memory: under a clock moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from meter.export.breaker import Breaker
from meter.export.contract import (
    Absent,
    Barred,
    Delivered,
    Finding,
    Limits,
    Outcome,
    Refused,
    Retry,
    Uncertain,
    Untried,
)
from meter.export.delivery import answered, claim, due_run, found, orphan, pause_s
from meter.store.lanes import Change, OpenItem
from meter.store.outbox import OPEN_STATES, OutboxItem, State, revised
from tests.export.clocks import VirtualClock

Fault: TypeAlias = Literal[
    "none", "down", "throttled", "refused", "barred", "lost_before", "lost_after", "late", "error_before", "error_after"
]
FAULTS: Final[tuple[Fault, ...]] = (
    "none",
    "down",  # nothing leaves
    "throttled",
    "refused",  # for a reason of that moment
    "barred",  # a key that was withdrawn
    "lost_before",  # times out, and was never read
    "lost_after",  # times out, and is held
    "late",  # times out, and is held some time later
    "error_before",  # a 500 that is kept with the key
    "error_after",  # the same, though the item is held
)
Crash: TypeAlias = Literal["never", "after_claim", "after_send"]


@dataclass(slots=True)
class Target:
    """Keeps keys for `keys_kept_s` (0: keeps none); `held` are the batches that it took, as often as it did."""

    clock: VirtualClock
    keys_kept_s: float
    settles_s: float
    held: list[str] = field(default_factory=list)
    keys: dict[str, tuple[float, Outcome]] = field(default_factory=dict)
    on_their_way: list[tuple[float, OutboxItem]] = field(default_factory=list)

    def send(self, item: OutboxItem, fault: Fault) -> Outcome:
        self.arrive()
        match fault:
            case "down":
                return Retry("connection refused")
            case "throttled":
                return Retry("slow down", throttled=True)
            case "refused":
                return Refused("no such customer")
            case "barred":
                return Barred("unauthorised", "mend the key")
            case "lost_before":
                return Uncertain("timed out")
            case "lost_after":
                self._take(item)
                return Uncertain("timed out")
            case "late":
                self.on_their_way.append((self.clock.moment_s + self.settles_s * 0.9, item))
                return Uncertain("timed out")
            case "error_before" | "error_after":
                return self._take(item, fails=fault)
            case _:
                return self._take(item)

    def _take(self, item: OutboxItem, *, fails: Fault = "none", at_s: float | None = None) -> Outcome:
        moment_s = self.clock.moment_s if at_s is None else at_s
        kept = self.keys.get(item.key)
        if kept is not None and moment_s < kept[0] + self.keys_kept_s:
            return kept[1]
        outcome: Outcome = Delivered(f"remote-{len(self.held)}")
        if fails != "none":
            outcome = Uncertain("500", answered=self.keys_kept_s > 0)
        if fails != "error_before":
            self.held.append(item.batch)
        self.keys[item.key] = (moment_s, outcome)
        return outcome

    def arrive(self) -> None:
        """Take what has arrived by now, each at its time."""
        due = [one for one in self.on_their_way if one[0] <= self.clock.moment_s]
        self.on_their_way = [one for one in self.on_their_way if one[0] > self.clock.moment_s]
        for at_s, item in due:
            self._take(item, at_s=at_s)

    def look_up(self, item: OutboxItem, fault: Fault) -> Finding:
        self.arrive()
        match fault:
            case "throttled":
                return Untried()
            case "barred":
                return Barred("unauthorised", "mend the key")
            case "none" | "late" | "error_after":
                return Delivered("found") if item.batch in self.held else Absent()
            case _:
                return Uncertain("timed out")


@dataclass(slots=True)
class Row:
    """An item as the outbox keeps it."""

    id: int
    item: OutboxItem
    state: State = "pending"
    attempts: int = 0
    due_at_s: float = 0.0
    first_sent_at_s: float | None = None
    burned: bool = False


@dataclass(slots=True)
class Outbox:
    """What `meter.store.lanes` does, in memory."""

    clock: VirtualClock
    rows: list[Row] = field(default_factory=list)

    def add(self, stream: str) -> None:
        id = len(self.rows)
        item = OutboxItem(
            operator="o", target="t", operation="x", batch=f"{stream}{id}", key="", payload=b"", stream=stream
        )
        self.rows.append(Row(id=id, item=revised(item, 0), due_at_s=self.clock.moment_s))

    def open(self) -> list[Row]:
        return [row for row in self.rows if row.state in OPEN_STATES]

    def heads(self) -> list[OpenItem]:
        streams: dict[str, list[Row]] = {}
        for row in self.open():
            streams.setdefault(row.item.stream, []).append(row)
        now = self.clock.moment_s
        ready = [rows for rows in streams.values() if rows[0].state == "sending" or rows[0].due_at_s <= now]
        ready.sort(key=lambda rows: (rows[0].due_at_s, rows[0].id))
        return [self._shown(row) for rows in ready for row in rows]

    def _shown(self, row: Row) -> OpenItem:
        now = self.clock.moment_s
        return OpenItem(
            id=row.id,
            state=row.state,
            attempts=row.attempts,
            due_in_s=row.due_at_s - now,
            sent_ago_s=None if row.first_sent_at_s is None else now - row.first_sent_at_s,
            burned=row.burned,
            item=row.item,
        )

    def record(self, changes: Sequence[Change]) -> None:
        now = self.clock.moment_s
        for change in changes:
            row = self.rows[change.id]
            assert change.was == row.state
            if change.renewed or (change.attempt < 0 and row.attempts == 1):
                row.first_sent_at_s = None
            elif change.attempt > 0 and row.first_sent_at_s is None:
                row.first_sent_at_s = now
            row.state = change.state
            row.due_at_s = now + change.delay_s
            row.attempts = max(row.attempts + change.attempt, 0)
            row.burned = not change.renewed and (row.burned or change.burned)
            if change.renewed:
                row.item = revised(row.item, row.item.revision + 1)


@dataclass(slots=True)
class LaneModel:
    """What `meter.export.dispatcher.Lane` does, without a database and a network."""

    outbox: Outbox
    target: Target
    limits: Limits
    breaker: Breaker
    paused_until_s: float = 0.0
    # A planted bug puts something else in the place of these.
    ask: Callable[[Target, OutboxItem, Fault], Finding] = Target.look_up
    settle: Callable[[OpenItem, Outcome, Limits], Change] = answered

    def wait_s(self) -> float:
        """How long nothing is tried."""
        return max(self.breaker.wait_s(), self.paused_until_s - self.outbox.clock.moment_s, 0.0)

    def step(self, fault: Fault, crash: Crash) -> bool:
        """Do what a step does; return whether there was anything to do."""
        if self.wait_s() > 0:
            return False
        items_max = self.breaker.items_max(self.limits.items_max)
        work, run = due_run(self.outbox.heads(), self.limits, items_max=items_max)
        match work:
            case "orphan":
                self.outbox.record([orphan(item, self.limits) for item in run])
            case "send":
                self.outbox.record([claim(item) for item in run])
                if crash == "after_claim":
                    return True
                outcomes = self._send(run, fault)
                if crash == "after_send":
                    return True
                self._learn(outcomes)
                pairs = zip(run, outcomes, strict=True)
                self.outbox.record([self.settle(item, outcome, self.limits) for item, outcome in pairs])
            case "ask":
                findings = [self.ask(self.target, item.item, fault) for item in run]
                self._learn(findings)
                self.outbox.record([found(item, finding) for item, finding in zip(run, findings, strict=True)])
        return bool(run)

    def _send(self, run: Sequence[OpenItem], fault: Fault) -> list[Outcome]:
        """The first item meets the fault; a stream stops at what is not delivered."""
        outcomes: list[Outcome] = []
        stopped: set[str] = set()
        for place, item in enumerate(run):
            stream = item.item.stream
            if stream in stopped:
                outcomes.append(Untried())
                continue
            outcomes.append(self.target.send(item.item, fault if place == 0 else "none"))
            if not isinstance(outcomes[-1], Delivered):
                stopped.add(stream)
        return outcomes

    def _learn(self, outcomes: Sequence[Outcome | Finding]) -> None:
        self.breaker.heard(outcomes)
        self.paused_until_s = self.outbox.clock.moment_s + pause_s(outcomes)


def lane_model(*, keyed: bool) -> LaneModel:
    """A lane of a target that keeps keys for a day (of which we trust 20 hours), or none."""
    clock = VirtualClock()
    kept_s = 86_400.0 if keyed else 0.0
    limits = Limits(items_max=4, keys_kept_s=72_000.0 if keyed else 0.0, settles_s=60.0)
    target = Target(clock=clock, keys_kept_s=kept_s, settles_s=limits.settles_s)
    return LaneModel(outbox=Outbox(clock=clock), target=target, limits=limits, breaker=Breaker(clock=clock))


def blindly(_target: Target, _item: OutboxItem, _fault: Fault) -> Finding:
    """A look-up that was left out: whatever is asked about counts as absent."""
    return Absent()


def forgetfully(item: OpenItem, outcome: Outcome, limits: Limits) -> Change:
    """An outcome that is believed of all attempts, though it says something of the last one only."""
    return answered(replace(item, state="pending"), outcome, limits)
