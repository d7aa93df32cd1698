"""Clocks that were wrong: an event's time is that of the boot clock, measured once against the gateway."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import Reading
from edge.spool.records import Measurement
from edge.uplink.clocks import OFFSET_MS_MIN, Correction, better, correction, error_ms_at, measured, true_at

TRUE = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
SECOND_NS = 1_000_000_000
BOOT = "b0"


def stamp(wall: datetime, at_s: float, *, boot: str = BOOT, ntp: bool | None = False) -> Reading:
    return Reading(wall=wall, machine_boot=boot, boottime_ns=int(at_s * SECOND_NS), synchronised=ntp)


def fix(at_s: float, *, boot: str = BOOT, error_ms: int = 5) -> Measurement:
    """What is true at `at_s` seconds after a boot at TRUE."""
    return Measurement(
        machine_boot=boot,
        boottime_ns=int(at_s * SECOND_NS),
        true=TRUE + timedelta(seconds=at_s),
        error_ms=error_ms,
        ntp=False,
    )


def test_three_hours_wrong_until_ntp_steps_in() -> None:
    """Ten minutes after the boot the wall clock jumps; a measurement days later corrects what came before."""
    before = stamp(TRUE + timedelta(seconds=60, hours=-3), 60)
    after = stamp(TRUE + timedelta(seconds=660), 660, ntp=True)
    known = fix(3_600)
    assert correction(before, known, running=BOOT) == Correction(offset_ms=-3 * 3_600_000)
    assert correction(after, known, running=BOOT) == Correction()


@given(wrong_ms=st.integers(-(10**12), 10**12), at_ms=st.integers(0, 10**9), measured_ms=st.integers(0, 10**9))
def test_the_corrected_time_is_the_true_one(wrong_ms: int, at_ms: int, measured_ms: int) -> None:
    true = TRUE + timedelta(milliseconds=at_ms)
    known = fix(measured_ms / 1000, error_ms=0)
    seen = stamp(true + timedelta(milliseconds=wrong_ms), at_ms / 1000)
    found = correction(seen, known, running=BOOT)
    assert found is not None
    corrected = seen.wall - timedelta(milliseconds=found.offset_ms or 0)
    unsure = timedelta(milliseconds=max(OFFSET_MS_MIN, error_ms_at(known, seen.boottime_ns)))
    assert abs(corrected - true) <= (unsure if found.offset_ms is None else timedelta(milliseconds=1))


def test_an_event_waits_for_the_first_measurement_of_its_boot() -> None:
    assert correction(stamp(TRUE, 1), None, running=BOOT) is None
    assert correction(stamp(TRUE, 1), fix(1, boot="other"), running=BOOT) is None


@pytest.mark.parametrize(("ntp", "flag"), [(True, None), (False, "unsynchronised"), (None, "unsynchronised")])
def test_a_boot_that_ended_unmeasured_is_flagged(*, ntp: bool | None, flag: str | None) -> None:
    assert correction(stamp(TRUE, 1, boot="gone", ntp=ntp), None, running=BOOT) == Correction(flag=flag)


@given(out_ms=st.integers(0, 5_000), there_ms=st.integers(0, 5_000), back_ms=st.integers(0, 5_000))
def test_a_measurement_is_right_within_what_it_says(out_ms: int, there_ms: int, back_ms: int) -> None:
    asked, heard = 7 * SECOND_NS, 7 * SECOND_NS + (out_ms + there_ms + back_ms) * 1_000_000
    received = TRUE + timedelta(seconds=7, milliseconds=out_ms)
    found = measured(
        BOOT, asked_ns=asked, heard_ns=heard, received=received, sent=received + timedelta(milliseconds=there_ms)
    )
    assert found is not None
    error = abs(true_at(found, asked) - (TRUE + timedelta(seconds=7)))
    assert error <= timedelta(milliseconds=found.error_ms)


def test_times_that_cannot_be_meant_are_no_measurement() -> None:
    assert measured(BOOT, asked_ns=0, heard_ns=1, received=TRUE, sent=TRUE - timedelta(seconds=1)) is None
    assert measured(BOOT, asked_ns=0, heard_ns=1, received=TRUE, sent=TRUE + timedelta(seconds=1)) is None


def test_a_worse_measurement_replaces_a_good_one_only_when_that_has_aged() -> None:
    good = fix(0, error_ms=5)
    assert better(good, fix(60, error_ms=400)) is good
    later = fix(86_400, error_ms=400)
    assert better(good, later) is later
    other = fix(1, boot="b1", error_ms=900)
    assert better(good, other) is other
    assert better(None, good) is good
