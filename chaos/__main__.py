"""`python -m chaos`: the run, its report on the terminal, and as JSON. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from chaos.run import Report, crossing, run
from chaos.schedule import SHARES

SHORT: Final = {"events": 3_000, "faults": 30, "kills": 1}
LONG: Final = {"events": 100_000, "faults": 300, "kills": 20}
RUNS: Final = ("mixed", "failpoints")
# Thirteen devices with some five events each: a hundred a second, so that every fault meets what flows.
PAUSE_S: Final = 0.3


def main() -> int:
    told = _parser().parse_args()
    sizes = SHORT if told.short else LONG
    reports = asyncio.run(_runs(told, sizes))
    console = Console()
    for name, report in reports.items():
        _show(console, name, report)
    told.json.write_text(json.dumps({name: report.as_json() for name, report in reports.items()}, indent=1) + "\n")
    return 0 if all(report.exact for report in reports.values()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a tenth of everything, a few minutes")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule and of the devices")
    parser.add_argument("--events", type=int, help="answers to devices, at least")
    parser.add_argument("--faults", type=int, help="of the mixed run")
    parser.add_argument(
        "--only", nargs="*", default=[], choices=sorted(SHARES), help="kinds of faults of the mixed run"
    )
    parser.add_argument("--kills", type=int, help="of a gateway at each failpoint")
    parser.add_argument("--runs", nargs="*", choices=RUNS, help="which runs; both, or mixed with --only")
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).with_name("results.json"), help="where the report goes"
    )
    return parser


async def _runs(told: argparse.Namespace, sizes: dict[str, int]) -> dict[str, Report]:
    found = {}
    events = told.events or sizes["events"]
    faults = told.faults or sizes["faults"]
    runs = told.runs or (("mixed",) if told.only else RUNS)
    if "mixed" in runs:
        with _Directory() as directory:
            found["mixed"] = await run(
                directory, seed=told.seed, events=events, faults=faults, pause_s=PAUSE_S, only=frozenset(told.only)
            )
    if "failpoints" in runs:
        with _Directory() as directory:
            found["failpoints"] = await crossing(
                directory, seed=told.seed, kills=told.kills or sizes["kills"], pause_s=PAUSE_S
            )
    return found


class _Directory:
    """A directory in memory where there is room, that is gone afterwards."""

    def __enter__(self) -> Path:
        memory = Path("/dev/shm")  # noqa: S108  mkdtemp makes the directory
        roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30
        self._path = Path(tempfile.mkdtemp(prefix="meter-chaos-", dir=memory if roomy else None))
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def _show(console: Console, name: str, report: Report) -> None:
    table = Table(title=f"{name}, seed {report.seed}", title_justify="left", box=box.SIMPLE, pad_edge=False)
    table.add_column("what")
    table.add_column("", justify="right")
    for kind, count in report.faults.items():
        table.add_row(kind, str(count))
    table.add_section()
    for what, figure in (
        ("faults", sum(report.faults.values())),
        ("events", report.events),
        ("lost", report.lost),
        ("doubled", report.doubled),
        ("otherwise wrong", report.wrong),
        ("cents off", report.cents_off),
        ("seconds to drain", f"{report.drained_s:.1f}" if report.at_rest else "not drained"),
        ("seconds in all", f"{report.took_s:.0f}"),
    ):
        table.add_row(what, str(figure))
    console.print(table)
    if report.points:
        _show_points(console, report)
    for kind in report.skipped:
        console.print(f"skipped: {kind} (only root can mount a small disk)")
    if not report.exact:
        console.print_json(data=dict(report.first))


def _show_points(console: Console, report: Report) -> None:
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("failpoint")
    table.add_column("passed", justify="right")
    table.add_column("killed at", justify="right")
    for name, (passed, killed) in report.points.items():
        table.add_row(name, str(passed), str(killed))
    console.print(table)
    for name in report.missed:
        console.print(f"not reached: {name}; where nothing passes, _provoke in chaos/crossing.py must see to it")


if __name__ == "__main__":
    sys.exit(main())
