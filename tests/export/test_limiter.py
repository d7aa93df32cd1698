from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.export.limiter import PAUSE_MAX_S, RATE_FLOOR, RECOVERY_S, RETRY_AFTER_MAX_S, Limiter, take_of_all
from meter.export.targets.quickbooks import exporter as quickbooks
from meter.export.targets.stripe.exporter import LIMITS
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


@pytest.mark.parametrize("endpoints", ["a", "ab", "abcdef"])
@settings(max_examples=20)
@given(seed=st.integers(min_value=0, max_value=10_000))
def test_neither_all_requests_nor_those_of_one_endpoint_exceed_what_is_borne(endpoints: str, seed: int) -> None:
    """Stripe's own limits: 100 in any second, 25 of one endpoint; whoever asks waits now and then for what it tells."""
    chance, clock = random.Random(seed), VirtualClock()  # noqa: S311 -- the same for the same seed
    everything = Limiter(rate_per_s=LIMITS.rate_per_s, burst=LIMITS.burst, clock=clock)
    each = {
        name: Limiter(rate_per_s=LIMITS.endpoint_rate_per_s, burst=LIMITS.endpoint_burst, clock=clock)
        for name in endpoints
    }
    made: list[tuple[float, str]] = []
    while len(made) < 400:
        clock.moment_s += chance.random() if chance.random() < 0.01 else 0.0
        waits = {name: take_of_all([everything, each[name]]) for name in chance.sample(endpoints, len(endpoints))}
        made += [(clock.moment_s, name) for name, wait_s in waits.items() if wait_s == 0]
        clock.moment_s += min(waits.values())
    for until_s, _ in made[::7]:
        second = [name for at_s, name in made if until_s - 1.0 < at_s <= until_s]
        assert len(second) <= 100
        assert all(second.count(name) <= 25 for name in endpoints)


def test_whoever_waits_for_one_right_takes_none_of_the_other() -> None:
    clock = VirtualClock()
    everything, one = (Limiter(rate_per_s=10.0, burst=2, clock=clock) for _ in range(2))
    other = Limiter(rate_per_s=10.0, clock=clock)
    assert [take_of_all([everything, other]), one.take(), one.take()] == [0.0] * 3
    assert take_of_all([everything, one]) == pytest.approx(0.1)
    assert everything.take() == 0.0


def test_a_company_at_quickbooks_is_asked_10_times_a_second_and_400_a_minute_at_most() -> None:
    clock, made = VirtualClock(), []
    limiter = Limiter(rate_per_s=quickbooks.LIMITS.rate_per_s, burst=quickbooks.LIMITS.burst, clock=clock)
    while clock.moment_s < 90.0:
        wait_s = limiter.take()
        made += [clock.moment_s] if wait_s == 0 else []
        clock.moment_s += wait_s
    for span_s, most in ((1.0, 10), (60.0, 400)):
        assert all(sum(until_s - span_s < at_s <= until_s for at_s in made) <= most for until_s in made)
