"""A disk that is really full: refused to its face, acknowledgements go on, nothing told safe is lost.

On a small tmpfs in a mount namespace of its own, which an ordinary user may make on most machines. Where not (most
containers), the same is shown by write errors alone: `test_faults.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
TIMES: Final = int(os.environ.get("METER_TEST_FULL_DISKS", "4"))
MOUNTED: Final = 'mount -t tmpfs -o size=12m tmpfs "$1" && shift && exec "$@"'


def namespace() -> list[str]:
    """What runs a command in namespaces of its own."""
    command = ["unshare", "--map-root-user", "--mount"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no mount namespace may be made here, so no small disk")
    return command


def test_a_full_disk_refuses_and_lets_go_and_takes_again(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "tests.edge.spool.full_disk", str(tmp_path), str(TIMES)]
    done = subprocess.run(
        [*namespace(), "sh", "-c", MOUNTED, "sh", str(tmp_path), *program],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sums = json.loads(done.stdout)
    print(f"{TIMES} full disks: {sums}")  # noqa: T201  for the long form
    assert sums["told"] > 10 * TIMES
    assert sums["told"] == sums["acknowledged"] + sums["left"]
