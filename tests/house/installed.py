"""This project installed from one of its locks, and from nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def installed_from(lock: str, home: Path) -> Path:
    """Return the `bin` of a new environment below `home`; skip the test where packages cannot be fetched."""
    subprocess.run([sys.executable, "-m", "venv", str(home / "venv")], check=True)
    binaries = home / "venv" / "bin"
    pip = [str(binaries / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    locked = ["--require-hashes", "--only-binary=:all:", "--requirement", str(ROOT / "requirements" / lock)]
    done = subprocess.run([*pip, *locked], capture_output=True, text=True, check=False)
    if done.returncode and "CI" not in os.environ:
        pytest.skip(f"packages cannot be fetched here: {done.stderr.strip().splitlines()[-1][:200]}")
    assert done.returncode == 0, done.stderr
    subprocess.run(
        [*pip, "--no-index", "--no-deps", "--no-build-isolation", str(ROOT)], check=True, capture_output=True
    )
    return binaries
