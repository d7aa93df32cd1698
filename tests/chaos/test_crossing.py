"""Bugs that are planted into whole gateways, killed at the failpoint that shows them, are found by the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from chaos.plants import PLANTS
from chaos.points import Points, pass_by
from chaos.run import crossing
from meter import failpoints
from tests.rows.sizes import SEED

# Some forty events a second: enough to meet each point, and little to drain.
PAUSE_S: Final = 0.7


@pytest.mark.parametrize("name", PLANTS)
async def test_what_is_planted_is_found(data_dir: Path, name: str) -> None:
    report = await crossing(data_dir, seed=SEED, kills=1, pause_s=PAUSE_S, names=(PLANTS[name].at,), plant=name)
    print(report)  # noqa: T201
    assert not report.missed
    assert not report.exact


def test_a_point_is_passed_so_often_before_it_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, _signal: killed.append(pid))
    points = Points(tmp_path / "points")
    points.arm("delivery_sent", at=2)
    for _ in range(2):
        assert not killed
        pass_by(points.directory, "delivery_marked")
        pass_by(points.directory, "delivery_sent")
    pass_by(points.directory, "delivery_sent")
    assert len(killed) == 1
    assert points.killed() == {"delivery_sent": 1}
    assert points.passed() == {"delivery_sent": 3, "delivery_marked": 2}


def test_every_plant_is_shown_at_a_point() -> None:
    assert {plant.at for plant in PLANTS.values()} <= set(failpoints.NAMES)
