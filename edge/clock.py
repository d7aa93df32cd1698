"""The agent's clocks: the wall's, which may be wrong, and the machine's, which only counts. Nothing else asks them."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final, Protocol

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
# sys/timex.h: the bit of `status` while nothing steers the clock; the size leaves room for every libc's own tail.
_STA_UNSYNC: Final = 0x0040
_TIMEX_BYTES: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the machine's clocks said at one moment.

    `wall` in UTC; `boottime_ns` since the machine started, with sleep, never set by anyone; `machine_boot` names that
    start. `synchronised`: whether NTP held the wall clock, None where nobody can tell.
    """

    wall: datetime
    boottime_ns: int
    machine_boot: str
    synchronised: bool | None


class Clock(Protocol):
    """Parts that need the time take a Clock, so that a test can hand in another."""

    def read(self) -> Reading:
        """Return what all the clocks say now."""


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        """Learn the machine's boot once: it does not change under a running process."""
        self._machine_boot = _machine_boot()

    def read(self) -> Reading:
        """Return what the clocks say now; the two times are read one right after the other."""
        boottime_ns = _boottime_ns()
        wall = datetime.now(UTC)
        return Reading(
            wall=wall, boottime_ns=boottime_ns, machine_boot=self._machine_boot, synchronised=ntp_synchronised()
        )


def monotonic_s() -> float:
    """Return seconds that never go backwards, for waits."""
    return time.monotonic()


def _boottime_ns() -> int:
    # Only Linux has a clock that counts while the machine sleeps; a laptop that tries the agent out does without.
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _machine_boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        # Without a name for the machine's start, two processes cannot know that their clocks are one: to the second.
        return f"since-{int(time.time() - _boottime_ns() / 1e9)}"


class _Timex(ctypes.Structure):
    """The head of `struct timex`; what follows `status` is of no interest, but the kernel writes it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * _TIMEX_BYTES),
    )


@cache
def _libc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
    return libc if hasattr(libc, "adjtimex") else None


def ntp_synchronised() -> bool | None:
    """Return whether the kernel says that something (NTP, PTP) steers its clock; None where it cannot be asked.

    adjtimex(2) with `modes` 0 reads only and needs no privilege.
    """
    libc = _libc()
    if libc is None:
        return None
    asked = _Timex()
    if libc.adjtimex(ctypes.byref(asked)) < 0:
        return None
    return not asked.status & _STA_UNSYNC
