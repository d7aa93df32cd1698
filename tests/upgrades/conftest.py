"""The previous release, once a session."""

from pathlib import Path

import pytest

from tests.upgrades.previous import unpack


@pytest.fixture(scope="session")
def previous(session_dir: Path) -> Path:
    """Where the previous release's program and tests are."""
    home = session_dir / "previous"
    home.mkdir(mode=0o755)
    return unpack(home)
