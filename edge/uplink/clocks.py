"""When something happened, whatever the wall clock said then. Pure (decision 0015).

boot clock   ──●────────────────────────●──────▶   never steps, runs through suspend
               event                    measured: the gateway's time, to half of the round trip
true time    ──●◀──── same distance ────●

offset of an event = what the wall clock showed - true time
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

# A crystal is off by 20 to 100 parts in a million; half a second in an hour and a half.
DRIFT_PPM: Final = 100
# Below this an offset is as likely the measurement's as the clock's, and no bill depends on it.
OFFSET_MS_MIN: Final = 500
UNSYNCHRONISED: Final = "unsynchronised"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """When the agent heard of something: its wall clock (UTC), the machine's boot and its boot clock, and NTP.

    `ntp` tells whether the kernel's clock was disciplined then; None: unknown.
    """

    wall: datetime
    machine_boot: str
    boottime_ns: int
    ntp: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A measurement: at `boottime_ns` of this boot the true time was `true`, give or take `uncertainty_ms`."""

    machine_boot: str
    boottime_ns: int
    true: datetime
    uncertainty_ms: int

    def at(self, boottime_ns: int) -> datetime:
        """Return the true time at another moment of the same boot."""
        return self.true + timedelta(microseconds=(boottime_ns - self.boottime_ns) // 1000)

    def uncertainty_ms_at(self, boottime_ns: int) -> int:
        """Return how uncertain that is, for clocks drift."""
        return self.uncertainty_ms + abs(boottime_ns - self.boottime_ns) * DRIFT_PPM // 1_000_000 // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What an event is sent with: `edgeoffsetms`, `timeflag`, either or none."""

    offset_ms: int | None = None
    flag: str | None = None


def measured(
    machine_boot: str, *, asked_ns: int, heard_ns: int, received: datetime, sent: datetime | None = None
) -> Fix | None:
    """Return what an exchange with the gateway tells; None where its times cannot be meant.

    `asked_ns` and `heard_ns` on the boot clock; `received` and `sent` on the gateway's (RFC 5905, section 8).
    """
    sent = received if sent is None else sent
    there_us, here_us = (sent - received) // timedelta(microseconds=1), (heard_ns - asked_ns) // 1000
    if there_us < 0 or here_us < there_us:
        return None
    return Fix(
        machine_boot=machine_boot,
        boottime_ns=(asked_ns + heard_ns) // 2,
        true=received + (sent - received) / 2,
        uncertainty_ms=-(-(here_us - there_us) // 2000),
    )


def better(known: Fix | None, found: Fix) -> Fix:
    """Return which of two measurements says more at the time of the newer one; another boot's says nothing."""
    if known is None or known.machine_boot != found.machine_boot:
        return found
    at_ns = max(known.boottime_ns, found.boottime_ns)
    return known if known.uncertainty_ms_at(at_ns) <= found.uncertainty_ms_at(at_ns) else found


def correction(stamp: Stamp, fix: Fix | None, *, running: str) -> Correction | None:
    """Return with what an event stamped by the agent is sent; None: it waits for the first measurement of its boot.

    `fix` is that of the stamp's boot, `running` the boot that runs now.
    """
    if fix is not None and fix.machine_boot == stamp.machine_boot:
        offset_ms = round((stamp.wall - fix.at(stamp.boottime_ns)) / timedelta(milliseconds=1))
        unsure_ms = max(OFFSET_MS_MIN, fix.uncertainty_ms_at(stamp.boottime_ns))
        return Correction(offset_ms=offset_ms if abs(offset_ms) > unsure_ms else None)
    if stamp.machine_boot == running:
        return None
    return Correction(flag=None if stamp.ntp else UNSYNCHRONISED)
