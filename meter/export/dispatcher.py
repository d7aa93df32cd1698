"""One lane per target: claim, send, record; ask first where the last outcome is not known.

    booked ──wake or poll──▶ claim (commit) ──▶ send ──▶ record (commit)

A lane belongs to whoever holds its lease, and every write is fenced by it (decision 0006). A lane that was overtaken
while it sent records nothing: the new holder finds the items `sending` and asks the target.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from meter.clock import monotonic_s
from meter.export.contract import Exporter, Finding, Outcome, Uncertain
from meter.export.delivery import claim, due_run, orphan, settle
from meter.model.errors import MeterError, Unavailable
from meter.store.deliveries import Change, OpenItem, backlogs, open_items, record
from meter.store.engine import Database
from meter.store.leases import Lease, LeaseKeeper, LeaseLost, fence
from meter.store.outbox import OutboxItem
from meter.telemetry import Telemetry, log

Answer = TypeVar("Answer", Outcome, Finding)

# The hint of a booking in this process comes at once; one in another process is seen after at most so long.
POLL_INTERVAL_S: Final = 0.5
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
    """The items of one target, in order."""

    def __init__(
        self, database: Database, *, operator: str, target: str, exporter: Exporter, telemetry: Telemetry
    ) -> None:
        """Prepare the lane; whoever calls `step` holds `lease_name`."""
        self.target = target
        # Joined as JSON, so that no choice of names makes two lanes share a lease.
        self.lease_name = "export " + json.dumps([operator, target], ensure_ascii=False)
        self._database = database
        self._operator = operator
        self._exporter = exporter
        self._telemetry = telemetry

    async def step(self, lease: Lease) -> float:
        """Do what is due at the head of the lane; return how many seconds to wait before the next step.

        Raises LeaseLost, Unavailable (the database); both leave the items to be asked about.
        """
        async with self._database.begin() as conn:
            items = await open_items(conn, self._operator, self.target, items_max=self._exporter.items_max)
            run = due_run(items)
            if run and run[0].state != "uncertain":
                change = claim if run[0].state == "pending" else orphan
                # An idle lane only reads. What was read still stands: whoever could change it holds the lease.
                await fence(conn, [lease])
                await record(conn, self._operator, [change(item) for item in run])
        if not run:
            return min(POLL_INTERVAL_S, items[0].due_in_s) if items else POLL_INTERVAL_S
        match run[0].state:
            case "pending":
                await self._send([replace(item, state="sending", attempts=item.attempts + 1) for item in run], lease)
            case "uncertain":
                await self._ask(run, lease)
        return 0.0

    async def _send(self, run: Sequence[OpenItem], lease: Lease) -> None:
        started = monotonic_s()
        outcomes = await self._answers(self._exporter.send, run)
        seconds = monotonic_s() - started
        changes = [settle(item, outcome) for item, outcome in zip(run, outcomes, strict=True)]
        for outcome, change in zip(outcomes, changes, strict=True):
            self._telemetry.delivery_attempted(
                target=self.target, outcome=type(outcome).__name__.lower(), seconds=seconds
            )
            if change.state == "dead":
                log.error("delivery_dead", target=self.target, delivery=change.id, reason=change.fault)
        await self._record(changes, lease)

    async def _ask(self, run: Sequence[OpenItem], lease: Lease) -> None:
        findings = await self._answers(self._exporter.look_up, run)
        await self._record([settle(item, finding) for item, finding in zip(run, findings, strict=True)], lease)

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

    async def _record(self, changes: Sequence[Change], lease: Lease) -> None:
        async with self._database.begin() as conn:
            await fence(conn, [lease])
            await record(conn, self._operator, changes)


class Dispatcher:
    """Every lane of one gateway. `run` until cancelled; `wake` after a commit that booked something."""

    def __init__(
        self,
        database: Database,
        *,
        operator: str,
        exporters: Mapping[str, Exporter],
        telemetry: Telemetry,
        holder: str | None = None,
    ) -> None:
        """Prepare one lane for each of `exporters`, by target name."""
        self._database = database
        self._operator = operator
        self._telemetry = telemetry
        self._keeper = LeaseKeeper(database, holder=holder)
        self._lanes = [
            Lane(database, operator=operator, target=target, exporter=exporter, telemetry=telemetry)
            for target, exporter in exporters.items()
        ]
        self._woken = [asyncio.Event() for _ in self._lanes]
        self._moved = asyncio.Event()

    def wake(self) -> None:
        """Look into the outbox now: a hint, without which it is looked into a little later."""
        for woken in (*self._woken, self._moved):
            woken.set()

    async def run(self) -> None:
        """Deliver until cancelled. A step that is under way then is finished first."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keeper.keep([lane.lease_name for lane in self._lanes], gained=self.wake))
                group.create_task(self._measure())
                for lane, woken in zip(self._lanes, self._woken, strict=True):
                    group.create_task(self._drive(lane, woken))
        finally:
            await self._keeper.close()

    async def _measure(self) -> None:
        while True:
            self._moved.clear()
            started = monotonic_s()
            try:
                async with self._database.begin() as conn:
                    found = {backlog.target: backlog for backlog in await backlogs(conn, self._operator)}
            except Unavailable as error:
                log.warning("backlog_unmeasured", detail=error.detail)
            else:
                for lane in self._lanes:
                    backlog = found.get(lane.target)
                    self._telemetry.outbox_pending.labels(target=lane.target).set(backlog.items if backlog else 0)
                    self._telemetry.outbox_oldest.labels(target=lane.target).set(backlog.oldest_s if backlog else 0.0)
            await asyncio.sleep(max(MEASURE_INTERVAL_MIN_S, MEASURE_PAUSE_FACTOR * (monotonic_s() - started)))
            await _set_within(self._moved, MEASURE_INTERVAL_MAX_S)

    async def _drive(self, lane: Lane, woken: asyncio.Event) -> None:
        while True:
            woken.clear()
            wait_s = await _to_the_end(self._step(lane))
            if wait_s > 0:
                await _set_within(woken, wait_s)
            else:
                self._moved.set()

    async def _step(self, lane: Lane) -> float:
        try:
            with self._keeper.holding([lane.lease_name]) as held:
                return await lane.step(held[0]) if held else POLL_INTERVAL_S
        except LeaseLost as error:
            log.warning("lane_lost", target=lane.target, detail=error.detail)
            return POLL_INTERVAL_S
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


async def _to_the_end(step: Coroutine[None, None, float]) -> float:
    """Return what `step` returns; when cancelled, let it finish first, so that what was sent is also recorded."""
    task = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
