"""One lane per target: claim, send, record; ask first where the last outcome is not known (decision 0014).

    made ──wake or poll──▶ claim (commit) ──▶ send ──▶ record (commit)

A lane belongs to whoever holds its lease, and every write is fenced by it (decision 0006). A lane that was overtaken
while it sent records nothing: the new holder finds the items `sending` and does not know what became of them. Streams
share a lane's calls, and none waits for another but within one call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeVar

from meter import failpoints
from meter.clock import monotonic_s
from meter.export.breaker import Breaker
from meter.export.contract import Barred, Exporter, Finding, Outcome, Retry, Uncertain, Untried
from meter.export.delivery import answered, call_items_max, claim, due_run, found, orphan, pause_s, resendable
from meter.export.gather.gatherer import Gatherer
from meter.export.http import overtaken
from meter.export.streams import stopping
from meter.log import log
from meter.model.errors import BadInput, MeterError, Unavailable
from meter.store.deliveries import backlogs
from meter.store.due import WAIT_S_MAX
from meter.store.engine import Database
from meter.store.lanes import Change, OpenItem, busy_targets, due_heads, free_lane, hold_lane, record
from meter.store.leases import Lease, LeaseKeeper, LeaseLost, fence
from meter.store.outbox import OutboxItem
from meter.telemetry import Telemetry

Answer = TypeVar("Answer", Outcome, Finding)

# The hint of a booking comes at once; one that was lost is made up for after at most so long.
POLL_INTERVAL_S: Final = 0.5
# What was booked just now may still be hidden by an older transaction (decision 0005), which mostly ends at once.
HIDDEN_S: Final = 0.1
# Where nothing was found so many times, the lane leaves looking to `_watch`, which asks for all such lanes at once.
# Hints come from other processes, too (store/hints.py). It looks by itself all the same, now and then.
EMPTY_LOOKS_MAX: Final = 10
IDLE_INTERVAL_S: Final = 2.0
LOOK_ANYWAY_S: Final = 30.0
# The backlog is counted after each hint and each delivery, but at most so often, and so long after a count as to take
# no more than a twentieth of the time: a long backlog costs some milliseconds each time.
MEASURE_INTERVAL_MIN_S: Final = 0.2
MEASURE_PAUSE_FACTOR: Final = 20
# Without any of them it grows older all the same.
MEASURE_INTERVAL_MAX_S: Final = 5.0
# Longer than any target's own limit: a call that hangs must not hold the lane for ever.
CALL_TIMEOUT_S: Final = 120.0
# A database that is away is asked again after so long.
RECOVERY_PAUSE_S: Final = 1.0
# A fault of ours is most likely met again.
FAULT_PAUSE_S: Final = 10.0


class Lane:
    """The items of one target, each stream in order."""

    def __init__(
        self,
        database: Database,
        *,
        operator: str,
        target: str,
        exporter: Exporter,
        telemetry: Telemetry,
        clock: Callable[[], float] = monotonic_s,
    ) -> None:
        """Prepare the lane; whoever calls `step` holds `lease_name`. `clock` gives seconds that never go backwards."""
        self.target = target
        # Joined as JSON, so that no choice of names makes two lanes share a lease.
        self.lease_name = "export " + json.dumps([operator, target], ensure_ascii=False)
        self._database = database
        self._operator = operator
        self._exporter = exporter
        self._telemetry = telemetry
        self._clock = clock
        self._breaker = Breaker(clock=clock)
        self._paused_until_s = clock()
        # Until when what was sent may still be at work, by id: no clock that can be set says that it is over.
        self._settling: dict[int, float] = {}
        self._said_held = True  # by whoever had the lane before
        self._barred = False

    async def step(self, lease: Lease) -> float:
        """Do what is due at the heads of the streams; return how many seconds to wait before the next step.

        Raises LeaseLost, Unavailable (the database); both leave the items to be asked about.
        """
        limits = self._exporter.limits
        held_s = max(self._breaker.wait_s(), self._paused_until_s - self._clock())
        if held_s > 0:
            return held_s
        items_max = self._breaker.items_max(call_items_max(limits))
        async with self._database.begin() as conn:
            heads = await due_heads(conn, self._operator, self.target, items_max=items_max)
            items = [self._settled(item) for item in heads.items]
            work, run = due_run(items, limits, items_max=items_max)
            if work in {"orphan", "send"}:
                # An idle lane only reads. What was read still stands but for what a newer revision has replaced.
                await fence(conn, [lease])
                changes = [orphan(item, limits) if work == "orphan" else claim(item) for item in run]
                changed = {made.id for made in await record(conn, self._operator, changes)}
                run = [item for item in run if item.id in changed]
                self._settle(changes)
        match work:
            case None:
                settling_s = min((item.due_in_s for item in items if item.due_in_s > 0), default=0.0)
                due_in_s = POLL_INTERVAL_S if heads.due_in_s is None else heads.due_in_s
                return min(POLL_INTERVAL_S, due_in_s if due_in_s > 0 else settling_s)
            case "send" if run:
                await self._send(run, lease)
            case "ask":
                await self._ask(run, lease)
        return 0.0

    def _settled(self, item: OpenItem) -> OpenItem:
        """Return the item as due when it may be asked about, though the database's clock was set meanwhile."""
        limits = self._exporter.limits
        age_s = item.sent_ago_s or 0.0
        if item.state != "uncertain" or resendable(burned=item.burned, sent_ago_s=age_s, limits=limits):
            return item
        if item.due_in_s > WAIT_S_MAX:  # of a lane before this one, and the clock was set back
            self._settling.setdefault(item.id, self._clock() + limits.settles_s)
        left_s = self._settling.get(item.id, 0.0) - self._clock()
        return replace(item, due_in_s=left_s) if left_s > 0 else item

    def _settle(self, changes: Sequence[Change]) -> None:
        """Note which requests may still be at work."""
        for change in changes:
            if change.state != "uncertain":
                self._settling.pop(change.id, None)
            elif change.was == "sending":
                self._settling[change.id] = self._clock() + self._exporter.limits.settles_s

    async def _send(self, run: Sequence[OpenItem], lease: Lease) -> None:
        failpoints.reach("delivery_claimed")
        started = monotonic_s()
        outcomes = await self._answers(self._exporter.send, run)
        failpoints.reach("delivery_sent")
        seconds = monotonic_s() - started
        for outcome in outcomes:
            if not isinstance(outcome, Untried):
                self._telemetry.delivery_attempted(
                    target=self.target, outcome=type(outcome).__name__.lower(), seconds=seconds
                )
        limits = self._exporter.limits
        changes = [answered(item, outcome, limits) for item, outcome in zip(run, outcomes, strict=True)]
        await self._learn(outcomes, changes, lease)

    async def _ask(self, run: Sequence[OpenItem], lease: Lease) -> None:
        findings = await self._answers(self._exporter.look_up, run)
        failpoints.reach("delivery_asked")
        changes = [found(item, finding) for item, finding in zip(run, findings, strict=True)]
        await self._learn(findings, changes, lease)

    async def _learn(self, answers: Sequence[Outcome | Finding], changes: Sequence[Change], lease: Lease) -> None:
        """Record what became of a run, and what it says of the target."""
        was_down = self._breaker.open
        self._settle(changes)
        self._breaker.heard(answers)
        self._paused_until_s = self._clock() + pause_s(answers)
        held_s = max(self._breaker.wait_s(), self._paused_until_s - self._clock())
        async with self._database.begin() as conn:
            await fence(conn, [lease])
            recorded = await record(conn, self._operator, changes)
            if held_s > 0:
                fault = next((change.fault for change in reversed(changes) if change.fault), "")
                await hold_lane(conn, self._operator, self.target, held_s=held_s, down=self._breaker.open, fault=fault)
            elif self._said_held:
                was_down = await free_lane(conn, self._operator, self.target) or was_down
        failpoints.reach("delivery_marked")
        self._said_held = held_s > 0
        dead = [made.id for made in recorded if made.state == "dead"]
        if dead:
            self._telemetry.deliveries_died(target=self.target, count=len(dead), delivery=dead[0])
        for made in recorded:
            if made.state == "delivered":
                self._telemetry.delivered(target=self.target, lag_s=made.lag_s)
        self._tell(answers, was_down=was_down)

    def _tell(self, answers: Sequence[Outcome | Finding], *, was_down: bool) -> None:
        """Say how the target is, where it is another than before."""
        down = self._breaker.open
        bar = next((answer for answer in answers if isinstance(answer, Barred)), None)
        if bar is not None and not self._barred:
            self._telemetry.target_barred(target=self.target, status=bar.status, remedy=bar.remedy)
        elif down and not was_down:
            self._telemetry.target_went_down(target=self.target)
        elif was_down and not down:
            self._telemetry.target_came_up(target=self.target)
        # What it answers otherwise meanwhile, a 500 say, does not mend it.
        self._barred = down and (bar is not None or self._barred)
        throttled = sum(isinstance(answer, Retry) and answer.throttled for answer in answers)
        self._telemetry.target_heard(target=self.target, down=down, barred=self._barred, throttled=throttled)

    async def _answers(
        self, ask: Callable[[Sequence[OutboxItem]], Awaitable[Sequence[Answer]]], run: Sequence[OpenItem]
    ) -> Sequence[Answer | Uncertain]:
        """Return the target's answer to each item; where it fails to give them, nothing is certain."""
        reason = "the target's answers do not match its items"
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                answers = await ask([item.item for item in run])
            if len(answers) == len(run):
                return answers
            log.error("delivery_failed", target=self.target, items=len(run), answers=len(answers))
        except Exception as error:  # noqa: BLE001 -- whatever went wrong, the target may hold the items
            log.error("delivery_failed", target=self.target, items=len(run), exc_info=error)
            reason = error.detail if isinstance(error, MeterError) else f"{type(error).__name__}: {error}"
        return [Uncertain(reason)] * len(run)


class Dispatcher:
    """Every lane of one gateway. `run` until cancelled; `wake` after a commit that booked something."""

    def __init__(
        self,
        database: Database,
        *,
        operator: str,
        exporters: Mapping[str, Exporter],
        gatherers: Mapping[str, Gatherer] = MappingProxyType({}),
        telemetry: Telemetry,
        holder: str | None = None,
    ) -> None:
        """Prepare one lane for each of `exporters`, by target name, with what makes its items, if anything does."""
        self._database = database
        self._operator = operator
        self._telemetry = telemetry
        self._keeper = LeaseKeeper(database, holder=holder)
        self._exporters = list(exporters.values())
        self._gatherers = gatherers
        self._lanes = [
            Lane(database, operator=operator, target=target, exporter=exporter, telemetry=telemetry)
            for target, exporter in exporters.items()
        ]
        self._woken = [asyncio.Event() for _ in self._lanes]
        self._moved = asyncio.Event()
        # How many times in a row each lane has found nothing, by target.
        self._empty = dict.fromkeys(exporters, 0)
        self._stopping = False

    def _stop(self) -> None:
        self._stopping = True

    def wake(self) -> None:
        """Look into the outbox now: a hint, without which it is looked into a little later."""
        self._empty = dict.fromkeys(self._empty, 0)
        for woken in (*self._woken, self._moved):
            woken.set()

    async def run(self) -> None:
        """Deliver until cancelled; a step that is under way then is finished first, and the exporters are closed."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keeper.keep([lane.lease_name for lane in self._lanes], gained=self.wake))
                group.create_task(self._measure())
                group.create_task(self._watch())
                for lane, woken in zip(self._lanes, self._woken, strict=True):
                    group.create_task(self._drive(lane, woken))
        finally:
            await self._keeper.close()
            for exporter in self._exporters:
                await exporter.close()

    async def _measure(self) -> None:
        while True:
            self._moved.clear()
            started = monotonic_s()
            try:
                async with self._database.begin() as conn:
                    measured = {backlog.target: backlog for backlog in await backlogs(conn, self._operator)}
            except Unavailable as error:
                log.warning("backlog_unmeasured", detail=error.detail)
            else:
                for lane in self._lanes:
                    backlog = measured.get(lane.target)
                    self._telemetry.outbox_pending.labels(target=lane.target).set(backlog.items if backlog else 0)
                    self._telemetry.outbox_oldest.labels(target=lane.target).set(backlog.oldest_s if backlog else 0.0)
            await asyncio.sleep(max(MEASURE_INTERVAL_MIN_S, MEASURE_PAUSE_FACTOR * (monotonic_s() - started)))
            await _set_within(self._moved, MEASURE_INTERVAL_MAX_S)

    @property
    def idle(self) -> list[str]:
        """Return the targets whose lanes have found nothing for a while."""
        return [target for target, empty in self._empty.items() if empty > EMPTY_LOOKS_MAX]

    async def _watch(self) -> None:
        """Wake those of the idle lanes for which there is something to do."""
        while True:
            await asyncio.sleep(IDLE_INTERVAL_S)
            if not (idle := self.idle):
                continue
            try:
                async with self._database.begin() as conn:
                    busy = await busy_targets(conn, self._operator, idle)
            except Unavailable as error:
                log.warning("lanes_unwatched", detail=error.detail)
                continue
            for lane, woken in zip(self._lanes, self._woken, strict=True):
                if lane.target in busy:
                    woken.set()

    async def _drive(self, lane: Lane, woken: asyncio.Event) -> None:
        while True:
            hinted = woken.is_set()
            woken.clear()
            wait_s = await _to_the_end(self._step(lane), cancelled=self._stop)
            if wait_s <= 0:
                self._empty[lane.target] = 0
                self._moved.set()
                continue
            empty = self._empty[lane.target] = self._empty[lane.target] + 1
            if wait_s == POLL_INTERVAL_S and empty > EMPTY_LOOKS_MAX:
                wait_s = LOOK_ANYWAY_S
            elif hinted:
                wait_s = min(wait_s, HIDDEN_S)
            await _set_within(woken, wait_s)

    async def _work(self, lane: Lane, lease: Lease) -> float:
        """Make items of what was booked, then deliver; return how many seconds to wait before doing so again."""
        gatherer = self._gatherers.get(lane.target)
        gathered = None if gatherer is None else await gatherer.step(lease)
        if gathered is not None and gathered.dead:
            self._telemetry.deliveries_died(target=lane.target, count=gathered.dead)
        wait_s = await lane.step(lease)
        # A target that is left alone for long is still gathered for.
        return 0.0 if gathered is not None and gathered.more else min(wait_s, POLL_INTERVAL_S)

    async def _step(self, lane: Lane) -> float:
        try:
            stopping.set(lambda: self._stopping)
            overtaken.set(lambda: not self._keeper.held([lane.lease_name]))
            with self._keeper.holding([lane.lease_name]) as held:
                if held:
                    return await self._work(lane, held[0])
                # Whether it is down is said by whoever works on it.
                self._telemetry.target_heard(target=lane.target, down=False, throttled=0)
                return POLL_INTERVAL_S
        except LeaseLost as error:
            log.warning("lane_lost", target=lane.target, detail=error.detail)
            return POLL_INTERVAL_S
        except BadInput as error:  # of settings that do not go with what the target began as
            log.error("lane_refused", target=lane.target, detail=error.detail)
            return FAULT_PAUSE_S
        except Unavailable as error:
            log.warning("lane_stalled", target=lane.target, detail=error.detail)
            return RECOVERY_PAUSE_S
        except Exception:  # noqa: BLE001 -- one lane's fault stops neither the others nor what is still taken in
            log.exception("lane_failed", target=lane.target)
            return FAULT_PAUSE_S


async def _set_within(event: asyncio.Event, timeout_s: float) -> None:
    """Return when `event` is set, or after `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass


async def _to_the_end(step: Coroutine[None, None, float], *, cancelled: Callable[[], None]) -> float:
    """Return what `step` returns; when cancelled, let it finish first, so that what was sent is also recorded."""
    task = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        cancelled()
        await asyncio.wait([task])
        raise
