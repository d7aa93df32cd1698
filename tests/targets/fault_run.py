"""One run: so many deliveries to one target while everything fails, and what its books say at the end.

Time passes by hand: an item is due at once, a step lasts an hour for the breaker, and an outage takes days.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeAlias

from sqlalchemy import text

from meter.export.contract import Exporter, Finding, Limits, Outcome
from meter.export.dispatcher import Lane
from meter.export.targets.spec import Means
from meter.model.errors import Unavailable
from meter.store.deliveries import list_deliveries
from meter.store.engine import Database
from meter.store.leases import Lease, LeaseKeeper
from meter.store.outbox import OutboxItem, add_items
from meter.telemetry import Telemetry
from tests.booked import OPERATOR
from tests.export.clocks import VirtualClock
from tests.export.restarts import RESTARTED_AT, Restarted
from tests.targets.case import Books, TargetCase
from tests.targets.worlds import Killed, World, world_of

# A step in five ends with the worker's death: about one delivery in twenty, for a step has some four of them.
KILL_ODDS: Final = 0.2
# Of the lane's transactions; a step has some four.
RESTART_ODDS: Final = 0.03
SENDING_KILLED_AT: Final = ("sending", "sent", "sending", "claimed")
KILLED_AT: Final = ("claimed", "sending", "sent", "asking")
CUT_AFTER_MAX: Final = 12
# Longer than any vendor keeps a key (24 hours).
OUTAGE: Final = timedelta(days=3)
# When they begin, in shares of what is still open.
OUTAGES_AT: Final = (0.8, 0.5, 0.2)
# When the target's key is withdrawn, likewise, and for how many steps nobody puts in another.
ROTATED_AT: Final = 0.9
ROTATED_STEPS: Final = 6
# Far beyond what a run takes: it bounds one that goes nowhere.
STEPS_MAX: Final = 100_000

Sums: TypeAlias = tuple[Decimal, Decimal]
Plant: TypeAlias = Callable[[Exporter], Exporter]


def cases() -> dict[str, TargetCase]:
    """Return every TargetCase that a module of tests/targets/cases names."""
    found = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent / "cases")]):
        for name, value in vars(importlib.import_module(f"tests.targets.cases.{module.name}")).items():
            if isinstance(value, TargetCase):
                plain = name in {"CASE", f"{value.kind.upper()}_CASE"}
                found[value.kind if plain else f"{value.kind} {name.removesuffix('_CASE').lower()}"] = value
    return found


class Worker:
    """An exporter whose process dies now and then: before it sends, while it does, or before anybody knows of it."""

    def __init__(
        self, exporter: Exporter, world: World, dice: random.Random, deaths: Counter[str], *, mortal: bool
    ) -> None:
        self.asked = 0
        self._mortal = mortal
        self._exporter, self._world, self._dice, self._deaths = exporter, world, dice, deaths

    @property
    def limits(self) -> Limits:
        return self._exporter.limits

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        at = SENDING_KILLED_AT[sum(self._deaths.values()) % len(SENDING_KILLED_AT)] if self._dies() else ""
        if at == "claimed":
            self._die(at)
        if at == "sending":
            await self._cut(self._exporter.send(items), at)
        outcomes = await self._exporter.send(items)
        if at == "sent":
            self._die(at)
        return outcomes

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        if self._dies():
            await self._cut(self._exporter.look_up(items), "asking")
        self.asked += len(items)
        return await self._exporter.look_up(items)

    async def check(self) -> None:
        await self._exporter.check()

    async def close(self) -> None:
        await self._exporter.close()

    async def _cut(self, work: Awaitable[Any], at: str) -> None:
        await self._world.cut(work, after=self._dice.randint(1, CUT_AFTER_MAX))
        self._die(at)

    def _dies(self) -> bool:
        return self._mortal and self._dice.random() < KILL_ODDS

    def _die(self, at: str) -> None:
        self._deaths[at] += 1
        raise Killed


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run came to. `restarts` are those of the database, at a commit.

    `wrong`: what was wanted and what is held, by batch, where they differ. `turned_away`: how many requests came while
    the key was withdrawn (None: there is none).
    """

    items: int
    steps: int
    states: Mapping[str, int]
    reasons: Sequence[str]
    faults: Mapping[str, int]
    deaths: Mapping[str, int]
    restarts: Mapping[str, int]
    asked: int
    wrong: Mapping[str, tuple[Sums, Sums]]
    turned_away: int | None

    def happened(self) -> Mapping[str, int]:
        """Return how often everything happened that can."""
        restarts = {f"restarted {at}": number for at, number in self.restarts.items()}
        return {**self.faults, **self.deaths, **restarts}

    def row(self) -> str:
        """Return the figures in a line."""
        happened = ", ".join(f"{name} {number}" for name, number in self.happened().items())
        return f"{self.items} deliveries in {self.steps} steps; {self.asked} looked up; {happened}; {dict(self.states)}"


@dataclass(kw_only=True)
class Run:
    """A lane of one target, whose worker is replaced whenever it dies."""

    case: TargetCase
    database: Database
    restarted: Restarted
    world: World
    dice: random.Random
    plant: Plant
    mortal: bool
    deaths: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    steps: int = 0
    clock: VirtualClock = field(default_factory=VirtualClock)

    async def begin(self) -> None:
        """Have a process work on the lane, which takes its lease over."""
        setup = self.case.setup(self.world.url)
        exporter = self.case.open(setup, Means(database=self.database, telemetry=Telemetry()))
        self.worker = Worker(self.plant(exporter), self.world, self.dice, self.deaths, mortal=self.mortal)
        self.lane = Lane(
            self.restarted,
            operator=OPERATOR,
            target=setup.name,
            exporter=self.worker,
            telemetry=Telemetry(),
            clock=self.clock,
        )
        self.keeper = LeaseKeeper(self.database)
        await self.keeper.maintain([self.lane.lease_name])

    async def end(self) -> None:
        """Have it gone: its connections are cut, and what it knew is forgotten."""
        self.asked += self.worker.asked
        await self.keeper.close()
        await self.worker.close()

    async def step(self) -> None:
        """Do what is due, which is everything; a worker that dies is followed by another."""
        await self.world.settled()
        self.clock.moment_s += 3600
        await self._execute(
            "UPDATE outbox SET due_at = clock_timestamp()"
            " WHERE state IN ('pending', 'uncertain') AND due_at > clock_timestamp()"
        )
        self.steps += 1
        assert self.steps < STEPS_MAX, "this goes nowhere"
        try:
            await self.lane.step(await self._lease())
        except Killed:
            await self.end()
            await self.begin()
        except Unavailable:
            pass  # what the dispatcher does: it looks again

    async def pass_time(self, span: timedelta) -> None:
        """Let so much time pass, for the vendor and for the outbox."""
        self.world.advance(hours=span / timedelta(hours=1))
        self.clock.moment_s += span.total_seconds()
        await self._execute("UPDATE outbox SET first_sent_at = first_sent_at - CAST(:span AS interval)", span=span)

    async def outage(self) -> None:
        """Lose some answers, then everything for longer than keys are kept."""
        with self.world.mostly_lost():
            await self.step()
        with self.world.outage():
            for _ in range(2):
                await self.step()
            await self.pass_time(OUTAGE)
            await self.step()

    async def rotated(self) -> None:
        """Have the key withdrawn for a while, then be good again: nothing dies of it, and none goes out meanwhile."""
        with self.world.locked_out():
            for _ in range(ROTATED_STEPS):
                await self.step()

    async def _execute(self, statement: str, **given: object) -> None:
        async with self.database.begin() as conn:
            await conn.execute(text(statement), given)

    async def _lease(self) -> Lease:
        names = [self.lane.lease_name]
        if not self.keeper.held(names):  # it runs out by the real clock
            await self.keeper.maintain(names)
        [lease] = self.keeper.held(names)
        return lease


async def open_items(database: Database) -> int:
    """Return how many deliveries are not settled."""
    async with database.begin() as conn:
        query = "SELECT count(*) FROM outbox WHERE state IN ('pending', 'sending', 'uncertain')"
        return int((await conn.execute(text(query))).scalar_one())


async def deliver_all(
    case: TargetCase,
    database: Database,
    *,
    n: int,
    seed: int,
    plant: Plant = lambda exporter: exporter,
    mortal: bool = True,
) -> Report:
    """Deliver `n` items of the case and return what came of it. `mortal`: whether workers die."""
    items = case.items(n, seed)
    async with world_of(case, seed=seed) as world:
        dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
        restarted = Restarted(database.url, seed=seed, odds=RESTART_ODDS if mortal else 0.0)
        run = Run(case=case, database=database, restarted=restarted, world=world, dice=dice, plant=plant, mortal=mortal)
        async with database.begin() as conn:
            await add_items(conn, items)
        outages = [share * len(items) for share in OUTAGES_AT]
        rotated = False
        await run.begin()
        try:
            while left := await open_items(database):
                if not rotated and left <= ROTATED_AT * len(items):
                    rotated = True
                    await run.rotated()
                elif outages and left <= outages[0]:
                    outages.pop(0)
                    await run.outage()
                await run.step()
        finally:
            await run.end()
            await restarted.dispose()
        await world.settled()
        async with database.begin() as conn:
            made = await list_deliveries(conn, OPERATOR, deliveries_max=2 * len(items))
        return Report(
            items=len(items),
            steps=run.steps,
            states=Counter(one.state for one in made),
            reasons=[one.fault or "" for one in made if one.state == "dead"],
            faults=dict(world.tally()),
            deaths={at: run.deaths[at] for at in KILLED_AT},
            restarts={at: restarted.restarts[at] for at in RESTARTED_AT},
            asked=run.asked,
            wrong=differing(case.wanted(items), case.books(world.held)),
            turned_away=getattr(world.held, "turned_away", None),
        )


def differing(wanted: Books, held: Books) -> dict[str, tuple[Sums, Sums]]:
    """Return what is not held as it is wanted, by batch; what comes to nothing may be held or not."""
    nothing = (Decimal(0), Decimal(0))
    names = sorted({*wanted, *held})
    pairs = {name: (wanted.get(name, nothing), held.get(name, nothing)) for name in names}
    return {name: (one, other) for name, (one, other) in pairs.items() if one != other}
