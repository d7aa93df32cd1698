from __future__ import annotations

from typing import Any, get_args

import pytest

from meter.export.contract import Absent, Delivered, Refused, Retry, Uncertain
from meter.export.delivery import (
    ATTEMPTS_MAX,
    BACKOFF_MAX_S,
    Signal,
    backoff_s,
    claim,
    due_run,
    next_state,
    orphan,
    settle,
)
from meter.model.errors import Broken
from meter.store.deliveries import STATES, Change, OpenItem, State
from tests.export.books import entry, items_of

# What becomes of each state (rows) at each signal (columns); a point: refused, and nothing changes.
GRID = """
.           claimed  delivered  retry    refused  uncertain  orphaned   absent   verified  replaced
pending     sending  .          .        .        .          .          .        .         .
sending     .        delivered  pending  dead     uncertain  uncertain  .        .         .
uncertain   .        delivered  .        .        uncertain  .          pending  .         .
delivered   .        .          .        .        .          .          .        verified  .
verified    .        .          .        .        .          .          .        .         .
dead        .        .          .        .        .          .          .        .         superseded
superseded  .        .          .        .        .          .          .        .         .
"""
_HEAD, *_ROWS = [line.split() for line in GRID.strip().splitlines()]
CELLS = [(row[0], signal, cell) for row in _ROWS for signal, cell in zip(_HEAD[1:], row[1:], strict=True)]
[ITEM] = items_of(entry("a"))


def open_item(state: State = "sending", *, attempts: int = 1, due_in_s: float = -1.0, id: int = 1) -> OpenItem:
    return OpenItem(id=id, state=state, attempts=attempts, due_in_s=due_in_s, item=ITEM)


@pytest.mark.parametrize(("state", "signal", "following"), CELLS)
def test_every_cell(state: Any, signal: Any, following: str) -> None:
    if following == ".":
        with pytest.raises(Broken, match=f"is {state} cannot be {signal}"):
            next_state(state, signal)
    else:
        assert next_state(state, signal) == following


def test_the_grid_names_every_state_and_signal() -> None:
    assert {row[0] for row in _ROWS} == set(STATES) == set(get_args(State))
    assert set(_HEAD[1:]) == set(get_args(Signal))


def test_an_attempt_is_counted_before_it_is_made() -> None:
    assert claim(open_item("pending")) == Change(id=1, state="sending", sent=True)


def test_what_somebody_else_was_sending_has_to_be_asked_about() -> None:
    change = orphan(open_item("sending"))
    assert (change.state, change.delay_s) == ("uncertain", 0.0)


@pytest.mark.parametrize(
    ("state", "outcome", "change"),
    [
        ("sending", Delivered("in_1"), Change(id=1, state="delivered", remote_id="in_1")),
        ("sending", Retry("busy"), Change(id=1, state="pending", delay_s=0.5, fault="busy")),
        ("sending", Retry("busy", after_s=90.0), Change(id=1, state="pending", delay_s=90.0, fault="busy")),
        ("sending", Refused("no such customer"), Change(id=1, state="dead", fault="no such customer")),
        ("sending", Uncertain("timed out"), Change(id=1, state="uncertain", fault="timed out")),
        ("uncertain", Delivered(), Change(id=1, state="delivered")),
        ("uncertain", Absent(), Change(id=1, state="pending", delay_s=0.5)),
        ("uncertain", Uncertain("timed out"), Change(id=1, state="uncertain", delay_s=0.5, fault="timed out")),
    ],
)
def test_outcomes_and_findings(state: State, outcome: Any, change: Change) -> None:
    assert settle(open_item(state), outcome) == change


def test_waiting_grows_and_is_bounded() -> None:
    assert [backoff_s(n) for n in range(5)] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert backoff_s(10_000) == BACKOFF_MAX_S


def test_a_target_that_never_takes_an_item_ends_with_a_person() -> None:
    change = settle(open_item(attempts=ATTEMPTS_MAX), Retry("busy"))
    assert (change.state, change.fault) == ("dead", f"given up after {ATTEMPTS_MAX} attempts: busy")


def test_what_is_not_known_never_dies() -> None:
    assert settle(open_item("uncertain", attempts=ATTEMPTS_MAX), Uncertain("?")).state == "uncertain"


@pytest.mark.parametrize(
    ("lane", "run"),
    [
        ([], []),
        ([("pending", -1.0), ("pending", 0.0), ("pending", 2.0), ("pending", -1.0)], [0, 1]),
        ([("pending", 2.0), ("pending", -1.0)], []),
        ([("uncertain", 2.0), ("pending", -1.0)], []),
        ([("uncertain", -1.0), ("uncertain", -1.0), ("pending", -1.0)], [0, 1]),
        ([("sending", 2.0), ("sending", -1.0), ("uncertain", -1.0)], [0, 1]),
    ],
)
def test_only_the_head_of_the_lane_is_worked_on(lane: list[tuple[State, float]], run: list[int]) -> None:
    items = [open_item(state, due_in_s=due_in_s, id=n) for n, (state, due_in_s) in enumerate(lane)]
    assert [item.id for item in due_run(items)] == run
