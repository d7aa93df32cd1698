"""The gateway alone, as `make run` installs it: every module finds what it imports, without what only tests need."""

import subprocess
from pathlib import Path

import pytest

from tests.house.installed import installed_from

# Alembic runs its own, and a `__main__` runs by being imported.
_IMPORT_ALL = """
import importlib, pkgutil, meter
for found in pkgutil.walk_packages(meter.__path__, "meter."):
    if ".migrations" not in found.name and not found.name.endswith("__main__"):
        importlib.import_module(found.name)
        print(found.name)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that holds what requirements/run.txt names."""
    return installed_from("run.txt", tmp_path_factory.mktemp("installed"))


def test_every_module_finds_what_it_imports(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [installed / "python", "-c", _IMPORT_ALL], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert {"meter.cli.gateway", "meter.app", "meter.export.targets.xero"} <= set(done.stdout.split())
    assert "ModuleNotFoundError" in _fault_of(installed, "import pytest")


def _fault_of(installed: Path, code: str) -> str:
    return subprocess.run([installed / "python", "-c", code], capture_output=True, text=True, check=False).stderr
