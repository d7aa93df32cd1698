"""The previous release's own tests, on databases that this version has migrated."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.rows.sizes import LONG
from tests.upgrades.previous import ROOT, running

# What writes and reads most tables; with METER_TEST_LONG=1 all tests that touch a database.
SHORT: Final = (
    *("tests/store/test_journal.py", "tests/store/test_outbox.py"),
    *("tests/booking/test_claims.py", "tests/export/test_gather_lines.py", "tests/api/test_charges.py"),
)
WHOLE: Final = (
    *("tests/store", "tests/booking", "tests/export", "tests/api", "tests/ingest", "tests/cli"),
    *("tests/reference", "tests/targets", "tests/edge"),
)
# Its test, and why it says something else on the newer schema.
DIFFERENT: Final[dict[str, str]] = {
    "tests/store/test_migrations.py::test_the_migrations_make_exactly_the_tables": "there are newer tables and columns",
}
# Its databases, by its own migrations and then by ours.
_FIXTURE: Final = """

@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_template(pg_server: EmbeddedPostgres) -> str:
    import subprocess
    import sys

    from meter.store.migrate import upgrade

    await _execute(pg_server.url, f"CREATE DATABASE {_TEMPLATE}")
    url = pg_server.url.rpartition("/")[0] + f"/{_TEMPLATE}"
    await upgrade(url)
    environment = {**os.environ, **%r, "METER_DATABASE_URL": url}
    subprocess.run([sys.executable, "-m", "meter", "migrate"], env=environment, check=True)
    return _TEMPLATE
"""


@pytest.mark.slow
async def test_its_tests_pass_on_the_migrated_schema(previous: Path) -> None:
    with (previous / "tests" / "conftest.py").open("a") as conftest:
        conftest.write(_FIXTURE % running(ROOT))
    without = [word for name in DIFFERENT for word in ("--deselect", name)]
    pytest_of_it = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", *without, *(WHOLE if LONG else SHORT)),
        cwd=previous,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await pytest_of_it.communicate()
    assert pytest_of_it.returncode == 0, told.decode()[-8000:]
    print("upgrades:", told.decode().splitlines()[-1])  # noqa: T201
