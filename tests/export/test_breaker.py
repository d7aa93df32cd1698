from __future__ import annotations

from dataclasses import replace

import pytest

from meter.export.breaker import FAILURES_MAX, PAUSE_MAX_S, Breaker, failed
from meter.export.contract import Absent, Barred, Delivered, Finding, Outcome, Refused, Retry, Uncertain, Untried
from tests.export.clocks import VirtualClock

DOWN = Retry("connection refused")
BARRED = Barred("answered 401", "check the key", status=401)


def opened(clock: VirtualClock) -> Breaker:
    breaker = Breaker(clock=clock)
    breaker.heard([DOWN] * FAILURES_MAX)
    return breaker


@pytest.mark.parametrize(
    ("outcome", "against"),
    [
        (Delivered(), False),
        (Absent(), False),
        (Refused("no such customer"), False),
        (Retry("slow down", throttled=True), False),
        (Untried(), None),
        (DOWN, True),
        (Uncertain("timed out"), True),
        (BARRED, True),
        (Uncertain("500", answered=True), True),
    ],
)
def test_what_speaks_against_a_target(outcome: Outcome | Finding, against: bool | None) -> None:  # noqa: FBT001
    assert failed(outcome) is against


def test_failures_on_end_open_it_whichever_items_they_are_of() -> None:
    breaker = Breaker(clock=VirtualClock())
    for _ in range(FAILURES_MAX - 1):
        breaker.heard([DOWN, Untried()])
    assert (breaker.open, breaker.items_max(100)) == (False, 100)
    breaker.heard([Uncertain("timed out")])
    assert (breaker.open, breaker.items_max(100), breaker.wait_s()) == (True, 0, 1.0)


@pytest.mark.parametrize("alive", [Delivered(), Refused("no"), Retry("slow down", throttled=True), Absent()])
def test_any_answer_between_them_keeps_it_closed(alive: Outcome | Finding) -> None:
    breaker = Breaker(clock=VirtualClock())
    breaker.heard([*[DOWN] * (FAILURES_MAX - 1), alive, *[DOWN] * (FAILURES_MAX - 1)])
    assert not breaker.open


def test_open_it_lets_one_item_through_after_growing_pauses() -> None:
    clock = VirtualClock()
    breaker = opened(clock)
    pauses = []
    for _ in range(8):
        pauses.append(breaker.wait_s())
        assert breaker.items_max(100) == 0
        clock.moment_s += pauses[-1]
        assert breaker.items_max(100) == 1
        breaker.heard([DOWN])
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, PAUSE_MAX_S, PAUSE_MAX_S]


def test_one_that_is_not_let_in_opens_it_at_once_for_as_long_as_it_says() -> None:
    clock = VirtualClock()
    breaker = Breaker(clock=clock)
    breaker.heard([Delivered(), BARRED, Untried()])
    assert (breaker.open, breaker.wait_s()) == (True, 1.0)
    clock.moment_s += 1.0
    assert breaker.items_max(10) == 1
    breaker.heard([replace(BARRED, after_s=3600.0)])
    assert breaker.wait_s() == 3600.0
    clock.moment_s += 3600.0
    breaker.heard([Delivered()])
    assert not breaker.open


def test_one_answer_closes_it_and_the_next_outage_begins_anew() -> None:
    clock = VirtualClock()
    breaker = opened(clock)
    clock.moment_s += 1.0
    breaker.heard([DOWN])
    clock.moment_s += 2.0
    breaker.heard([Delivered()])
    assert (breaker.open, breaker.items_max(100)) == (False, 100)
    breaker.heard([DOWN] * FAILURES_MAX)
    assert breaker.wait_s() == 1.0


def test_a_probe_that_was_not_tried_leaves_it_as_it_is() -> None:
    clock = VirtualClock()
    breaker = opened(clock)
    clock.moment_s += 1.0
    breaker.heard([Untried()])
    assert (breaker.open, breaker.items_max(100)) == (True, 1)
