"""Clocks of real processes that a test sets while they run, by libfaketime; what only counts seconds stays true."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from meter.embedded.child import Program
from meter.embedded.postgres import EmbeddedPostgres
from meter.embedded.runas import RunAs
from tests.tools import need_tool

_SHARED: Final = Path("/dev/shm")  # noqa: S108 -- where the library keeps what it shares
# A process asks the file so often.
CACHE_S: Final = 1


def library() -> Path:
    """Where the library is. Without it the test is skipped, or fails where METER_TEST_REQUIRE names `faketime`."""
    need_tool("faketime")
    found = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), *Path("/usr/lib").glob("faketime/libfaketime.so.1")]
    if not found:
        pytest.skip("faketime is installed, but not its library")
    return found[0]


class FakedClock:
    """The wall clock of every process that has `env`; `off` is how far it is from the real one."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.off = timedelta()
        self.set(self.off)
        self.env = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_CACHE_DURATION": str(CACHE_S),
        }

    def set(self, off: timedelta) -> None:
        """Set it; every process knows once `CACHE_S` has passed."""
        written = self._file.with_suffix(".new")
        written.write_text(f"{off.total_seconds():+.0f}\n")
        written.chmod(0o644)
        written.replace(self._file)
        self.off = off


def forget(pid: int) -> None:
    """Remove what the library leaves of a process that was killed or became another program."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        (_SHARED / name).unlink(missing_ok=True)


class FakedPostgres(EmbeddedPostgres):
    """A PostgreSQL whose clock can be set. Its data are worth nothing: it syncs none."""

    def __init__(self, data_dir: Path, clock: FakedClock) -> None:
        super().__init__(data_dir, settings={"fsync": "off", "scram_iterations": "1"})
        self._clock = clock

    def _program(self, argv: Sequence[str], run_as: RunAs, *, log: str) -> Program:
        env = [f"{name}={value}" for name, value in self._clock.env.items()]
        faked = ["/usr/bin/env", *env, *argv] if len(argv) > 2 and argv[0] == str(self._binary()) else argv
        return super()._program(faked, run_as, log=log)

    async def stop(self) -> None:
        pid = self.pid
        await super().stop()
        if pid is not None:
            forget(pid)
