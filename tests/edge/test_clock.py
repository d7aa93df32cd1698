"""The agent's clocks say what the machine's do."""

from __future__ import annotations

import ctypes
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge import clock
from edge.clock import SystemClock, ntp_synchronised


def test_a_reading_is_what_the_machine_says() -> None:
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    reading = SystemClock().read()
    assert before <= reading.boottime_ns <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert abs(reading.wall - datetime.now(UTC)) < timedelta(seconds=60)
    assert reading.wall.tzinfo is UTC
    assert reading.machine_boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_two_readings_of_one_start_are_of_one_boot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert SystemClock().read().machine_boot == SystemClock().read().machine_boot
    monkeypatch.setattr(clock, "_BOOT_ID", tmp_path / "missing")
    assert SystemClock().read().machine_boot.startswith("since-")


class _Libc:
    """A C library whose adjtimex answers as it is told."""

    def __init__(self, status: int, result: int) -> None:
        self._status, self._result = status, result

    def adjtimex(self, asked: object) -> int:
        ctypes.cast(asked, ctypes.POINTER(clock._Timex)).contents.status = self._status  # type: ignore[arg-type]
        return self._result


@pytest.mark.parametrize(
    ("status", "result", "synchronised"), [(0x0040, 5, False), (0x2001, 0, True), (0, 0, True), (0, -1, None)]
)
def test_ntp_is_what_the_kernel_says(
    monkeypatch: pytest.MonkeyPatch, *, status: int, result: int, synchronised: bool | None
) -> None:
    monkeypatch.setattr(clock, "_libc", lambda: _Libc(status, result))
    assert ntp_synchronised() is synchronised


def test_where_the_kernel_cannot_be_asked_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_libc", lambda: None)
    assert ntp_synchronised() is None


def test_the_kernel_here_can_be_asked() -> None:
    assert ntp_synchronised() in {True, False}
