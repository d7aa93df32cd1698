"""One run: devices send, faults come by the schedule of a seed, everything drains, and the oracle judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from chaos.crossing import cross
from chaos.points import Points
from chaos.rig import Rig, rigged
from chaos.schedule import SHARES, schedule
from chaos.world import Pack
from meter import failpoints
from tests.edge.e2e.schedule import Fault


@dataclass(kw_only=True)
class Report:
    """What a run came to. `at_rest` is False where it did not drain.

    `points`: how often each failpoint was passed, and how often a gateway died there. `missed`: where none did.
    """

    seed: int
    events: int
    told: int
    faults: Mapping[str, int]
    skipped: Sequence[str]
    lost: int
    doubled: int
    wrong: int
    cents_off: str
    at_rest: bool
    drained_s: float
    took_s: float
    points: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    missed: Sequence[str] = ()
    first: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Tell whether nothing is wrong."""
        return self.at_rest and not (self.missed or self.lost or self.doubled or self.wrong or self.cents_off != "0")

    def as_json(self) -> dict[str, Any]:
        """Return it for the file."""
        return {**asdict(self), "exact": self.exact}


async def judge(rig: Rig, *, seed: int, began: float, stopped: float) -> Report:
    """Wait until nothing is left to do, and judge. `stopped` is when the last fault was over."""
    at_rest = await rig.settled()
    drained_s = monotonic() - stopped
    await rig.served()  # the last that died may not have been seen to be dead yet
    verdict = await rig.verdict()
    return Report(
        seed=seed,
        events=verdict.events,
        told=sum(rig.journal.told.values()),
        faults=dict(sorted(rig.done.items())),
        skipped=sorted(rig.skipped),
        lost=len(verdict.lost),
        doubled=len(verdict.doubled),
        wrong=len(verdict.wrong),
        cents_off=f"{verdict.cents_off * 100:f}" if verdict.cents_off else "0",
        at_rest=at_rest,
        drained_s=round(drained_s, 1),
        took_s=round(monotonic() - began, 1),
        first={} if verdict.exact else verdict.first(),
    )


async def run(
    directory: Path, *, seed: int, events: int, faults: int, pause_s: float, only: frozenset[str] = frozenset()
) -> Report:
    """Run once. `only`: of the kinds of faults these alone."""
    began = monotonic()
    async with rigged(directory, pack=Pack.of(datetime.now(UTC))) as rig:
        planned = of_kinds(only, seed=seed, faults=faults, events=events, skipped=rig.skipped)
        async with rig.sending(seed=seed, pause_s=pause_s):
            await rig.suffer(planned)
            while rig.journal.heard < events:
                await rig.journal.more(events - rig.journal.heard)
            await rig.whole()
            stopped = monotonic()
        return await judge(rig, seed=seed, began=began, stopped=stopped)


async def crossing(
    directory: Path,
    *,
    seed: int,
    kills: int,
    pause_s: float,
    names: Sequence[str] = failpoints.NAMES,
    plant: str = "",
) -> Report:
    """Run once with a gateway killed so many times at each of `names`, one after the other. `plant`: with that bug."""
    began = monotonic()
    points = Points(directory / "points")
    told = {"CHAOS_POINTS": str(points.directory), "CHAOS_PLANT": plant}
    async with rigged(directory, pack=Pack.of(datetime.now(UTC)), watched=told) as rig:
        async with rig.sending(seed=seed, pause_s=pause_s):
            missed = await cross(rig, points, names, seed=seed, kills=kills)
            await rig.whole()
            stopped = monotonic()
        report = await judge(rig, seed=seed, began=began, stopped=stopped)
        passed, killed = points.passed(), points.killed()
        return replace(
            report,
            faults={"kills at failpoints": killed.total()},
            skipped=(),
            points={name: (passed[name], killed[name]) for name in names},
            missed=missed,
        )


def of_kinds(only: frozenset[str], *, seed: int, faults: int, events: int, skipped: frozenset[str]) -> list[Fault]:
    """Return the schedule; where only some kinds are asked for, those in all places."""
    return schedule(
        seed, faults=faults, events=events, skipped=skipped | (SHARES.keys() - only if only else frozenset())
    )
