from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from meter.export.contract import (
    Absent,
    Barred,
    Delivered,
    Finding,
    Limits,
    Outcome,
    Refused,
    Retry,
    Uncertain,
    Untried,
)
from meter.export.delivery import (
    ATTEMPTS_MAX,
    BACKOFF_MAX_S,
    Signal,
    Work,
    answered,
    asking_backoff_s,
    backoff_s,
    call_items_max,
    claim,
    due_run,
    found,
    next_state,
    orphan,
    pause_s,
    work_on,
)
from meter.model.errors import Broken
from meter.store.lanes import Change, OpenItem
from meter.store.outbox import STATES, OutboxItem, State

# What becomes of each state (columns) at each signal (rows); a point: refused, and nothing changes.
GRID = """
.           pending    sending    uncertain  delivered  verified   dead       superseded
claimed     sending    .          .          .          .          .          .
resent      .          .          sending    .          .          .          .
delivered   .          delivered  delivered  .          .          .          .
retry       .          pending    .          .          .          .          .
throttled   .          pending    .          .          .          .          .
untried     .          pending    uncertain  .          .          .          .
barred      .          pending    uncertain  .          .          .          .
refused     .          dead       .          .          .          .          .
uncertain   .          uncertain  uncertain  .          .          .          .
orphaned    .          uncertain  .          .          .          .          .
absent      .          .          pending    .          .          .          .
renewed     .          .          pending    .          .          .          .
verified    .          .          .          verified   .          .          .
rejected    dead       .          dead       dead       .          .          .
replaced    superseded .          .          .          .          superseded .
"""
_HEAD, *_ROWS = [line.split() for line in GRID.strip().splitlines()]
CELLS = [(state, row[0], cell) for row in _ROWS for state, cell in zip(_HEAD[1:], row[1:], strict=True)]
ITEM = OutboxItem(operator="northside", target="ledger", operation="journal", batch="", key="", payload=b"{}")


KEYED = Limits(items_max=10, keys_kept_s=100.0, settles_s=7.0)
UNKEYED = Limits(items_max=10, settles_s=7.0)


def open_item(
    state: State = "pending",
    *,
    attempts: int = 0,
    due_in_s: float = -1.0,
    sent_ago_s: float | None = None,
    burned: bool = False,
    id: int = 1,
    stream: str = "",
    batch: str | None = None,
) -> OpenItem:
    item = replace(ITEM, stream=stream, batch=batch or str(id))
    return OpenItem(
        id=id, state=state, attempts=attempts, due_in_s=due_in_s, sent_ago_s=sent_ago_s, burned=burned, item=item
    )


@pytest.mark.parametrize(("state", "signal", "following"), CELLS)
def test_every_cell(state: Any, signal: Any, following: str) -> None:
    if following == ".":
        with pytest.raises(Broken, match=f"is {state} cannot be {signal}"):
            next_state(state, signal)
    else:
        assert next_state(state, signal) == following


def test_the_grid_names_every_state_and_signal() -> None:
    assert set(_HEAD[1:]) == set(STATES) == set(get_args(State))
    assert {row[0] for row in _ROWS} == set(get_args(Signal))


def test_an_attempt_is_counted_before_it_is_made() -> None:
    assert claim(open_item()) == Change(id=1, was="pending", state="sending", attempt=1)
    assert claim(open_item("uncertain")) == Change(id=1, was="uncertain", state="sending", attempt=1)


@pytest.mark.parametrize(
    ("sent_ago_s", "burned", "limits", "delay_s"),
    [
        (1.0, False, KEYED, 0.0),  # sent again under the key
        (100.0, False, KEYED, 7.0),
        (1.0, True, KEYED, 7.0),
        (1.0, False, UNKEYED, 7.0),
    ],
)
def test_what_somebody_else_was_sending_is_not_known(
    sent_ago_s: float, limits: Limits, delay_s: float, *, burned: bool
) -> None:
    change = orphan(open_item("sending", sent_ago_s=sent_ago_s, burned=burned), limits)
    assert (change.was, change.state, change.delay_s) == ("sending", "uncertain", delay_s)


def sent(state: State, **given: Any) -> Change:
    return Change(id=1, was="sending", state=state, **given)


@pytest.mark.parametrize(
    ("outcome", "change"),
    [
        (Delivered("in_1"), sent("delivered", remote_id="in_1")),
        (Untried(), sent("pending", attempt=-1)),
        (Retry("busy"), sent("pending", delay_s=0.5, fault="busy")),
        (Retry("busy", after_s=90.0), sent("pending", delay_s=90.0, fault="busy")),
        (Retry("slow down", throttled=True), sent("pending", delay_s=1.0, fault="slow down", attempt=-1)),
        (Retry("slow down", 9.0, throttled=True), sent("pending", delay_s=9.0, fault="slow down", attempt=-1)),
        (Refused("no such customer"), sent("dead", fault="no such customer")),
        (Barred("401", "check the key"), sent("pending", fault="401", attempt=-1)),
        (Uncertain("timed out"), sent("uncertain", delay_s=0.5, fault="timed out")),
        (Uncertain("500", answered=True), sent("uncertain", delay_s=7.0, fault="500", burned=True)),
    ],
)
def test_what_becomes_of_an_item_that_was_not_there_before(outcome: Outcome, change: Change) -> None:
    assert answered(open_item(), outcome, KEYED) == change


@pytest.mark.parametrize(
    ("outcome", "change"),
    [
        (Delivered("in_1"), sent("delivered", remote_id="in_1")),
        (Untried(), sent("uncertain", attempt=-1)),
        (Retry("refused"), sent("uncertain", delay_s=1.0, fault="refused")),
        (Retry("slow down", throttled=True), sent("uncertain", delay_s=1.0, fault="slow down", attempt=-1)),
        (Refused("no such customer"), sent("uncertain", delay_s=7.0, fault="no such customer", burned=True)),
        (Uncertain("timed out"), sent("uncertain", delay_s=1.0, fault="timed out")),
        (Barred("401", "check the key"), sent("uncertain", fault="401", attempt=-1)),
    ],
)
def test_of_the_attempts_before_it_a_further_one_says_nothing(outcome: Outcome, change: Change) -> None:
    assert answered(open_item("uncertain", attempts=1, sent_ago_s=1.0), outcome, KEYED) == change


@pytest.mark.parametrize(
    ("item", "limits"),
    [
        (open_item(), UNKEYED),
        (open_item("uncertain", attempts=9, sent_ago_s=99.0), KEYED),  # the key is forgotten when it would be sent
        (open_item("uncertain", attempts=9, sent_ago_s=1.0, burned=True), KEYED),
    ],
)
def test_a_target_is_asked_only_after_it_had_time_to_finish(item: OpenItem, limits: Limits) -> None:
    assert answered(item, Uncertain("timed out"), limits).delay_s == 7.0


@pytest.mark.parametrize(
    ("item", "finding", "change"),
    [
        (open_item("uncertain"), Delivered("in_1"), Change(id=1, state="delivered", remote_id="in_1")),
        (open_item("uncertain", attempts=1), Absent(), Change(id=1, state="pending", delay_s=0.5)),
        (
            open_item("uncertain", attempts=2, burned=True),
            Absent(),
            Change(id=1, state="pending", delay_s=1.0, renewed=True),
        ),
        (
            open_item("uncertain"),
            Untried(),
            Change(id=1, state="uncertain", fault="the target has not been asked yet"),
        ),
        (open_item("uncertain"), Barred("401", "check the key"), Change(id=1, state="uncertain", fault="401")),
        (
            open_item("uncertain", sent_ago_s=30.0),
            Uncertain("timed out"),
            Change(id=1, state="uncertain", delay_s=15.0, fault="timed out"),
        ),
    ],
)
def test_findings(item: OpenItem, finding: Finding, change: Change) -> None:
    assert found(item, finding) == replace(change, was="uncertain")


def test_waiting_grows_and_is_bounded() -> None:
    assert [backoff_s(n) for n in range(5)] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert backoff_s(10_000) == BACKOFF_MAX_S
    assert [asking_backoff_s(n) for n in (0.0, 8.0, 1e6)] == [0.5, 4.0, BACKOFF_MAX_S]


def test_a_target_that_never_takes_an_item_ends_with_a_person() -> None:
    item = open_item(attempts=ATTEMPTS_MAX - 1)
    change = answered(item, Retry("busy"), KEYED)
    assert (change.state, change.fault) == ("dead", f"given up after {ATTEMPTS_MAX} attempts: busy")
    assert answered(item, Retry("busy", throttled=True), KEYED).state == "pending"


@pytest.mark.parametrize("outcome", [Untried(), Retry("?"), Retry("?", throttled=True), Refused("?"), Uncertain("?")])
def test_what_is_not_known_never_dies(outcome: Outcome) -> None:
    assert answered(open_item("uncertain", attempts=ATTEMPTS_MAX), outcome, KEYED).state == "uncertain"


@pytest.mark.parametrize(
    ("outcomes", "seconds"),
    [
        ([], 0.0),
        ([Delivered(), Untried()], 0.0),
        ([Retry("busy", after_s=9.0), Uncertain("?")], 0.0),
        ([Delivered(), Retry("slow down", throttled=True)], 1.0),
        ([Retry("slow down", 30.0, throttled=True), Retry("slow down", throttled=True)], 30.0),
        ([Untried(), Untried()], 1.0),
    ],
)
def test_a_lane_pauses_where_its_target_asks_for_it(outcomes: list[Outcome], seconds: float) -> None:
    assert pause_s(outcomes) == seconds


@pytest.mark.parametrize(
    ("item", "limits", "work"),
    [
        (open_item(), KEYED, "send"),
        (open_item(due_in_s=1.0), KEYED, None),
        (open_item("sending", due_in_s=1.0), KEYED, "orphan"),
        (open_item("uncertain", due_in_s=1.0, sent_ago_s=1.0), KEYED, None),
        (open_item("uncertain", sent_ago_s=99.0), KEYED, "send"),
        (open_item("uncertain", sent_ago_s=100.0), KEYED, "ask"),
        (open_item("uncertain", sent_ago_s=1.0, burned=True), KEYED, "ask"),
        (open_item("uncertain", sent_ago_s=1.0), UNKEYED, "ask"),
    ],
)
def test_what_is_to_be_done_with_an_item(item: OpenItem, limits: Limits, work: Work | None) -> None:
    assert work_on(item, limits) == work


A, B = "a", "b"


@pytest.mark.parametrize(
    ("heads", "work", "run"),
    [
        ([], None, []),
        (
            [(1, A, "pending", -1.0), (2, A, "pending", 0.0), (3, A, "pending", 2.0), (4, A, "pending", -1.0)],
            "send",
            [1, 2],
        ),
        ([(1, A, "pending", 2.0), (2, A, "pending", -1.0)], None, []),
        ([(1, A, "uncertain", 2.0), (2, A, "pending", -1.0), (3, B, "pending", -1.0)], "send", [3]),
        ([(1, A, "uncertain", -1.0), (2, A, "pending", -1.0), (3, B, "uncertain", -1.0)], "ask", [1, 3]),
        ([(5, B, "pending", -1.0), (6, B, "pending", -1.0), (1, A, "pending", -1.0)], "send", [1, 5, 6]),
        ([(1, A, "sending", 2.0), (2, A, "sending", -1.0), (3, A, "uncertain", -1.0)], "orphan", [1, 2]),
    ],
)
def test_each_stream_gives_what_comes_first_in_it(
    heads: list[tuple[int, str, State, float]], work: Work | None, run: list[int]
) -> None:
    items = [open_item(state, due_in_s=due_in_s, id=id, stream=stream) for id, stream, state, due_in_s in heads]
    found_work, found_run = due_run(items, UNKEYED, items_max=10)
    assert (found_work, [item.id for item in found_run]) == (work, run)


def test_a_run_is_bounded_and_holds_no_batch_twice() -> None:
    items = [open_item(id=1, batch="x"), open_item(id=2, batch="y"), open_item(id=3, batch="x"), open_item(id=4)]
    assert [item.id for item in due_run(items, KEYED, items_max=10)[1]] == [1, 2]
    assert [item.id for item in due_run(items, KEYED, items_max=1)[1]] == [1]


@pytest.mark.parametrize(
    ("limits", "items"),
    [
        (Limits(items_max=64), 64),
        (Limits(items_max=100, in_flight=8, rate_per_s=20.0), 10),
        (Limits(items_max=50, in_flight=4, rate_per_s=6.5), 4),
        (Limits(items_max=40, in_flight=4, rate_per_s=0.8), 4),
        (Limits(items_max=100, in_flight=8, rate_per_s=800.0), 100),
        (Limits(items_max=100, in_flight=8, rate_per_s=80.0, endpoint_rate_per_s=20.0), 10),
    ],
)
def test_a_call_lasts_about_half_a_second(limits: Limits, items: int) -> None:
    assert call_items_max(limits) == items
