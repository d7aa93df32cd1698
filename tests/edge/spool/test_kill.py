"""kill -9 at any moment: what was told safe is there, in order and once, and goes on where it was."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from edge import failpoints
from tests.edge.spool.making import item, open_spool, rows

KILLS: Final = int(os.environ.get("METER_TEST_KILLS", "12"))
SEED: Final = int(os.environ.get("METER_TEST_SEED", "1"))
ROOT: Final = Path(__file__).parents[3]
# A hang is not waited for; nor is a failpoint that is never reached.
PATIENCE_S: Final = 60
LINES_MAX: Final = 5_000


@dataclass
class Journal:
    """What was told, kept outside of the spool."""

    safe: list[str] = field(default_factory=list)
    let_go: list[tuple[int, int]] = field(default_factory=list)
    places: dict[tuple[int, int], str] = field(default_factory=dict)

    def note(self, line: str) -> None:
        word, *rest = line.split()
        if word == "safe":
            _, id, boot, sequence = rest
            self.safe.append(id)
            place = (int(boot), int(sequence))
            assert place not in self.places, f"{place} was given to {self.places[place]} and to {id}"
            self.places[place] = id
        elif word == "let-go":
            self.let_go.append((int(rest[0]), int(rest[1])))


async def run_until_killed(directory: Path, plan: dict[str, Any], journal: Journal, *, lines: int | None) -> int:
    """Run the child until it has said so many lines, then kill it; None: until it kills itself. Its exit code."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.edge.spool.child", str(directory), json.dumps(plan),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    heard = 0
    try:
        while lines is None or heard < lines:
            assert heard < LINES_MAX, f"still running: {plan}"
            line = await asyncio.wait_for(child.stdout.readline(), PATIENCE_S)
            if not line.endswith(b"\n"):
                break
            journal.note(line.decode())
            heard += 1
    except BaseException:
        child.kill()
        raise
    if lines is not None and child.returncode is None:
        child.kill()
    # What it said before the kill was told, too.
    for line in (await child.stdout.read()).splitlines(keepends=True):
        if line.endswith(b"\n"):
            journal.note(line.decode())
    return await asyncio.wait_for(child.wait(), PATIENCE_S)


def check(directory: Path, journal: Journal, *, unplanned: int) -> None:
    """Hold the file to the journal. `unplanned`: at most so many were stored and not told (a kill in between)."""
    stored = [json.loads(body)["id"] for _, body in rows(directory)]
    assert len(stored) == len(set(stored))
    assert set(journal.safe) <= set(stored)
    assert len(stored) - len(set(journal.safe)) <= unplanned
    told = set(journal.safe)
    # Each device waits for its answer before the next: its events are in its order.
    by_device: dict[str, list[tuple[int, int]]] = {}
    for id in (id for id in stored if id in told):
        part, device, count = map(int, id.split("-"))
        by_device.setdefault(f"{device}", []).append((part, count))
    assert all(order == sorted(order) for order in by_device.values())
    spool = open_spool(directory)
    try:
        assert spool.opening.salvage is None
        state = spool._writer.state
        assert spool.depth.events + spool.depth.kept_events == len(stored)
        for boot, up_to in journal.let_go:
            for run in state.places(boot, 1, up_to):
                assert not list(_waiting(state.spans, run)), "what was let go waits again"
    finally:
        spool.close()


def _waiting(spans: Any, run: Any) -> Iterator[Any]:
    from edge.spool.spans import waiting

    return waiting(spans, run.first, run.last)


# Nothing is to go for want of room: the journal is held to all that is in the file.
ROOMY: Final = {"bytes_max": 1 << 30, "log_bytes_max": 1 << 22, "ballast_bytes": 1 << 22}


async def killed_again_and_again(directory: Path, journal: Journal, *, kills: int, more: dict[str, Any]) -> None:
    dice = random.Random(SEED)  # noqa: S311  a test is repeated by its seed
    for run in range(kills):
        plan = {"run": run, "devices": dice.choice((1, 3, 20)), "size": dice.choice((0, 500, 5000)), "gateway": True}
        code = await run_until_killed(directory, plan | {"bounds": ROOMY} | more, journal, lines=dice.randint(1, 150))
        assert code == -signal.SIGKILL
    check(directory, journal, unplanned=20 * kills)


async def test_killed_at_any_moment(data_dir: Path) -> None:
    journal = Journal()
    await killed_again_and_again(data_dir, journal, kills=KILLS, more={})
    print(f"{KILLS} kills: {len(journal.safe)} told safe, {len(journal.let_go)} let go")  # noqa: T201


async def test_a_device_that_is_told_before_the_commit_is_found_out(data_dir: Path) -> None:
    """The control."""
    with pytest.raises(AssertionError):
        await killed_again_and_again(data_dir, Journal(), kills=3, more={"early": True})


# What brings a process there; the others are crossed by any work.
PLANS: Final[dict[str, dict[str, Any]]] = {
    "before_checkpoint": {"size": 5000, "at": 2},
    "after_checkpoint": {"size": 5000, "at": 2},
    "before_renumber": {"copy": True, "at": 1},
    "ballast_released": {"full_after_syncs": 20, "at": 1},
    "before_close": {"count": 5, "at": 1},
    "spool_opened": {"at": 1},
}
SALVAGE: Final = ("before_salvage_moved", "between_salvage_moves")


@pytest.mark.parametrize("name", [name for name in failpoints.NAMES if name not in SALVAGE])
async def test_killed_at_each_failpoint(data_dir: Path, name: str) -> None:
    journal = Journal()
    for run in range(max(2, KILLS // 6)):
        plan = {"run": run, "kill": name, "at": 1 + 7 * run, "gateway": True, "size": 100} | PLANS.get(name, {})
        plan |= {"bounds": ROOMY}
        code = await run_until_killed(data_dir, plan, journal, lines=None)
        assert code == -signal.SIGKILL, f"{name} was not reached"
    # It works where it was left, and nothing is refused to its face any more.
    before = len(journal.safe)
    assert await run_until_killed(data_dir, {"run": 1000, "count": 3, "bounds": ROOMY}, journal, lines=None) == 0
    assert len(journal.safe) == before + 4 * 3
    check(data_dir, journal, unplanned=4 * KILLS)


@pytest.mark.parametrize("name", SALVAGE)
async def test_killed_while_a_damaged_spool_is_salvaged(data_dir: Path, name: str) -> None:
    spool = open_spool(data_dir)
    spool.append([item(f"0-0-{n}", size=500) for n in range(100)])
    boot = spool.boot
    spool.close()
    path = data_dir / "spool" / "events.sqlite"
    content = bytearray(path.read_bytes())
    # A page in the middle: some events, and not what leads to them.
    start = content.index(b"0-0-50") // 4096 * 4096
    content[start : start + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    (data_dir / "suspect").touch()
    journal = Journal()
    assert await run_until_killed(data_dir, {"kill": name}, journal, lines=None) == -signal.SIGKILL
    spool = open_spool(data_dir)
    found = [json.loads(body)["id"] for _, body in rows(data_dir)]
    assert spool.boot > boot
    assert 80 < len(found) < 100
    assert found == [f"0-0-{n}" for n in range(100) if f"0-0-{n}" in found]
    assert (data_dir / "spool.damaged-1").is_dir()
    assert not (data_dir / "spool.damaged-2").exists()
    assert not (data_dir / "spool.new").exists()
    spool.close()
