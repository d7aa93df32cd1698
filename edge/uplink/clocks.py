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

from edge.clock import Reading
from edge.spool.records import Measurement

# A crystal is off by 20 to 100 parts in a million; half a second in an hour and a half.
DRIFT_PPM: Final = 100
# Below this an offset is as likely the measurement's as the clock's, and no bill depends on it.
OFFSET_MS_MIN: Final = 500
UNSYNCHRONISED: Final = "unsynchronised"


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What an event is sent with: `edgeoffsetms`, `timeflag`, either or none."""

    offset_ms: int | None = None
    flag: str | None = None


def true_at(known: Measurement, boottime_ns: int) -> datetime:
    """Return the true time at another moment of the measured boot."""
    return known.true + timedelta(microseconds=(boottime_ns - known.boottime_ns) // 1000)


def error_ms_at(known: Measurement, boottime_ns: int) -> int:
    """Return by how much that may be wrong, for clocks drift."""
    return known.error_ms + abs(boottime_ns - known.boottime_ns) * DRIFT_PPM // 1_000_000 // 1_000_000


def measured(
    machine_boot: str, *, asked_ns: int, heard_ns: int, received: datetime, sent: datetime | None = None
) -> Measurement | None:
    """Return what an exchange with the gateway tells; None where its times cannot be meant.

    `asked_ns` and `heard_ns` on the boot clock; `received` and `sent` on the gateway's (RFC 5905, section 8).
    """
    sent = received if sent is None else sent
    there_us, here_us = (sent - received) // timedelta(microseconds=1), (heard_ns - asked_ns) // 1000
    if there_us < 0 or here_us < there_us:
        return None
    return Measurement(
        machine_boot=machine_boot,
        boottime_ns=(asked_ns + heard_ns) // 2,
        true=received + (sent - received) / 2,
        error_ms=-(-(here_us - there_us) // 2000),
        ntp=False,
    )


def better(known: Measurement | None, found: Measurement) -> Measurement:
    """Return which of two measurements says more at the time of the newer one; another boot's says nothing."""
    if known is None or known.machine_boot != found.machine_boot:
        return found
    at_ns = max(known.boottime_ns, found.boottime_ns)
    return known if error_ms_at(known, at_ns) <= error_ms_at(found, at_ns) else found


def correction(stamp: Reading, known: Measurement | None, *, running: str) -> Correction | None:
    """Return with what an event stamped by the agent is sent; None: it waits for the first measurement of its boot.

    `known` is that of the stamp's boot, `running` the boot that runs now.
    """
    if known is not None and known.machine_boot == stamp.machine_boot:
        offset_ms = round((stamp.wall - true_at(known, stamp.boottime_ns)) / timedelta(milliseconds=1))
        unsure_ms = max(OFFSET_MS_MIN, error_ms_at(known, stamp.boottime_ns))
        return Correction(offset_ms=offset_ms if abs(offset_ms) > unsure_ms else None)
    if stamp.machine_boot == running:
        return None
    return Correction(flag=None if stamp.synchronised else UNSYNCHRONISED)
