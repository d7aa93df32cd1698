"""Whatever fails, a target's books are right to the cent, and nothing is in them twice: every kind of target."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from meter.export.targets.registry import KINDS
from meter.store.engine import Database
from tests.targets.case import TargetCase
from tests.targets.fault_run import Report, deliver_all
from tests.targets.worlds import hurry

# Enough for each fault to happen several times; the long form is in docs/development.md.
DELIVERIES: Final = int(os.environ.get("METER_TEST_DELIVERIES", "200"))
SEED: Final = int(os.environ.get("METER_TEST_SEED", "1"))


def _cases() -> Iterator[tuple[str, TargetCase]]:
    """Every TargetCase that a module of tests/targets/cases names, alone or in a mapping."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent / "cases")]):
        found = importlib.import_module(f"tests.targets.cases.{module.name}")
        for name, value in vars(found).items():
            if isinstance(value, TargetCase):
                plain = name in {"CASE", f"{value.kind.upper()}_CASE"}
                yield (value.kind if plain else f"{value.kind} {name.removesuffix('_CASE').lower()}"), value


CASES: Final = dict(_cases())


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def test_every_kind_of_target_has_a_case() -> None:
    assert {case.kind for case in CASES.values()} >= set(KINDS)


@pytest.mark.parametrize("name", CASES)
async def test_the_books_are_right_whatever_fails(name: str, database: Database) -> None:
    report = await deliver_all(CASES[name], database, n=DELIVERIES, seed=SEED)
    print(f"{name}, seed {SEED}: {report.row()}")  # noqa: T201  for the long form, and for whoever repeats a run
    assert_right(report)
    assert all(report.faults.values()), f"too few deliveries for every fault: {report.faults}"


def assert_right(report: Report) -> None:
    assert not report.wrong, (
        f"{len(report.wrong)} batches are not as they were sent: {dict(list(report.wrong.items())[:5])}"
    )
    assert not report.reasons, report.reasons[:5]
    assert set(report.states) <= {"delivered", "superseded"}
