from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.export.limiter import PAUSE_MAX_S, RATE_FLOOR, RECOVERY_S, RETRY_AFTER_MAX_S, Limiter
from tests.export.clocks import VirtualClock


def taken(limiter: Limiter, clock: VirtualClock, *, within_s: float) -> int:
    """How many requests are let through if one is always waiting."""
    end_s, count = clock.moment_s + within_s, 0
    while clock.moment_s < end_s:
        wait_s = limiter.take()
        count += wait_s == 0
        clock.moment_s += wait_s
    return count


def test_a_burst_and_then_the_rate() -> None:
    clock = VirtualClock()
    limiter = Limiter(rate_per_s=10.0, burst=5, clock=clock)
    assert [limiter.take() for _ in range(5)] == [0.0] * 5
    assert limiter.take() == pytest.approx(0.1)
    assert 99 <= taken(limiter, clock, within_s=10.0) <= 101


def test_who_never_said_a_rate_is_asked_as_fast_as_it_answers() -> None:
    limiter = Limiter(rate_per_s=None, clock=VirtualClock())
    assert [limiter.take() for _ in range(1000)] == [0.0] * 1000


def test_refusals_of_one_cause_halve_the_rate_once_and_it_comes_back_slowly() -> None:
    clock = VirtualClock()
    limiter = Limiter(rate_per_s=8.0, burst=8, clock=clock)
    for _ in range(4):
        limiter.throttled()
    assert limiter.rate_per_s == 4.0
    clock.moment_s += RECOVERY_S / 4
    assert limiter.rate_per_s == pytest.approx(6.0)
    clock.moment_s += RECOVERY_S
    assert limiter.rate_per_s == 8.0


def test_the_rate_never_falls_to_nothing() -> None:
    clock = VirtualClock()
    limiter = Limiter(rate_per_s=8.0, clock=clock)
    for _ in range(50):
        limiter.throttled()
        clock.moment_s += 1.0
    assert limiter.rate_per_s is not None
    assert limiter.rate_per_s >= 8.0 * RATE_FLOOR


def test_a_target_is_left_alone_for_as_long_as_it_says() -> None:
    clock = VirtualClock()
    limiter = Limiter(rate_per_s=None, clock=clock)
    limiter.throttled(30.0)
    limiter.throttled(5.0)
    assert limiter.take() == 30.0
    clock.moment_s += 30.0
    assert limiter.take() == 0.0
    limiter.throttled(1e12)
    assert limiter.take() == RETRY_AFTER_MAX_S


def test_where_it_does_not_say_how_long_the_pauses_grow_until_it_takes_something() -> None:
    clock = VirtualClock()
    limiter = Limiter(rate_per_s=None, clock=clock)
    pauses = []
    for _ in range(8):
        limiter.throttled()
        pauses.append(limiter.take())
        clock.moment_s += pauses[-1]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, PAUSE_MAX_S, PAUSE_MAX_S]
    limiter.succeeded()
    limiter.throttled()
    assert limiter.take() == 1.0


def test_a_days_quota_ends_and_begins_anew() -> None:
    clock = VirtualClock()
    limiter = Limiter(rate_per_s=None, clock=clock)
    limiter.note_remaining(2, resets_in_s=3600.0)
    assert [limiter.take(), limiter.take(), limiter.take()] == [0.0, 0.0, 3600.0]
    clock.moment_s += 3600.0
    assert limiter.take() == 0.0


@given(
    rate=st.floats(0.1, 100.0),
    burst=st.integers(1, 20),
    moves=st.lists(st.tuples(st.sampled_from(["take", "refused", "taken"]), st.floats(0.0, 5.0)), max_size=60),
)
def test_whatever_happens_no_more_is_let_through_than_the_burst_and_the_rate(
    rate: float, burst: int, moves: list[tuple[str, float]]
) -> None:
    clock = VirtualClock()
    limiter = Limiter(rate_per_s=rate, burst=burst, clock=clock)
    through = 0
    for move, passes_s in moves:
        clock.moment_s += passes_s
        if move == "refused":
            limiter.throttled()
        elif move == "taken":
            limiter.succeeded()
        else:
            wait_s = limiter.take()
            assert 0.0 <= wait_s <= RETRY_AFTER_MAX_S
            through += wait_s == 0.0
        assert through <= burst + rate * clock.moment_s + 1e-3
