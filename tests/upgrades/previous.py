"""The previous release, from this repository's history: what stood before the schema that is tried here."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
# Version before 0.1.0's proofs; its newest migration is 0013.
PREVIOUS: Final = "10afbdbaf44fe4b6087d9081d4f3c13c58d69589"


def unpack(directory: Path) -> Path:
    """Return `directory` with the previous release in it.

    Where the history does not hold it the test is skipped, or fails if METER_TEST_REQUIRE names `history`.
    """
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "archive", PREVIOUS]
    found = subprocess.run(command, capture_output=True, check=False)
    if found.returncode != 0:
        said = f"the history of this checkout lacks {PREVIOUS[:7]} (`git fetch --unshallow`): {found.stderr.decode()}"
        if "history" in os.environ.get("METER_TEST_REQUIRE", "").split(","):
            pytest.fail(said, pytrace=False)
        pytest.skip(said)
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as tar:
        tar.extractall(directory, filter="data")
    return directory


def running(tree: Path) -> dict[str, str]:
    """What has `python -m meter` be the version that is in `tree`."""
    return {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
