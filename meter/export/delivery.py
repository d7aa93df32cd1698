"""What becomes of an outbox item: a table, and the pure decisions around it (decision 0014).

                 ┌── retry, throttled, untried, barred ──┐
                 ▼                                       │
    made ──▶ pending ───────────claimed──────────────▶ sending ──delivered──▶ delivered ──verified──▶ verified
      │       ▲   │                                 ▲    │  │
      │       │   └─replaced─▶ superseded           │    │  └──refused──▶ dead ──replaced──▶ superseded
      │       │                                resent    │ uncertain, orphaned
      │     absent, renewed                         │    ▼
      │       └─────────────────────────────────── uncertain ──delivered──▶ delivered
      └─unresolved──▶ dead

`sending` is committed before the first byte leaves. Whoever takes over a lane and finds an item so (orphaned) does not
know what its target holds. No attempt leads from `uncertain` to `dead`: only what a target certainly does not hold may
be sent again under another key. An item that was uncertain when it was sent again stays so, whatever that one attempt
comes to, unless it is delivered: of the attempts before it, it says nothing. What a target says by an event (verified;
or rejected: it had the item, and threw it away, which makes it dead) is applied with that event
(`meter.store.invoices`), or where it comes while the item is `sending`, when the attempt is recorded: the order in
which the two arrive decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Final, Literal, TypeAlias

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
from meter.model.errors import Broken
from meter.store.due import WAIT_S_MAX
from meter.store.lanes import Change, OpenItem
from meter.store.outbox import State

Signal: TypeAlias = Literal[
    "claimed",
    "resent",
    "delivered",
    "retry",
    "throttled",
    "untried",
    "barred",
    "refused",
    "uncertain",
    "orphaned",
    "absent",
    "renewed",
    "verified",
    "rejected",
    "replaced",
]
# What a lane does with a run of items: ask whoever was sending them, send them, or ask the target for them.
Work: TypeAlias = Literal["orphan", "send", "ask"]

TRANSITIONS: Final[Mapping[tuple[State, Signal], State]] = {
    ("pending", "claimed"): "sending",
    ("pending", "replaced"): "superseded",
    ("sending", "delivered"): "delivered",
    ("sending", "retry"): "pending",
    ("sending", "throttled"): "pending",
    ("sending", "untried"): "pending",
    ("sending", "barred"): "pending",
    ("sending", "refused"): "dead",
    ("sending", "uncertain"): "uncertain",
    ("sending", "orphaned"): "uncertain",
    ("uncertain", "resent"): "sending",
    ("uncertain", "delivered"): "delivered",
    ("uncertain", "absent"): "pending",
    ("uncertain", "renewed"): "pending",
    ("uncertain", "uncertain"): "uncertain",
    ("uncertain", "untried"): "uncertain",
    ("uncertain", "barred"): "uncertain",
    ("pending", "rejected"): "dead",
    ("uncertain", "rejected"): "dead",
    ("delivered", "verified"): "verified",
    ("delivered", "rejected"): "dead",
    ("dead", "replaced"): "superseded",
}

# 0.5, 1, 2, ... seconds: a hiccup costs little, an outage of days some thousand attempts.
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 60.0
# Two weeks at the longest back-off: what nobody has mended by then needs a person.
ATTEMPTS_MAX: Final = 20_000
# A target that asks for time and does not say how much.
THROTTLED_PAUSE_S: Final = 1.0
# What comes while a call is under way waits for its end, and answers are recorded there: so much at the target's rate.
CALL_S: Final = 0.5
# A call in which nothing was tried would come to the same at once.
UNTRIED_PAUSE_S: Final = 1.0


def next_state(state: State, signal: Signal) -> State:
    """Return the state that follows. Raises Broken (`illegal_delivery`) for what the table does not list."""
    following = TRANSITIONS.get((state, signal))
    if following is None:
        message = f"a delivery that is {state} cannot be {signal}; it stays as it is"
        raise Broken(message, code="illegal_delivery")
    return following


def backoff_s(attempts: int) -> float:
    """Return how long to wait after the `attempts`-th attempt (from 1), in seconds."""
    return min(BACKOFF_FIRST_S * 2.0 ** min(attempts - 1, 30), BACKOFF_MAX_S) if attempts > 0 else 0.0


def asking_backoff_s(sent_ago_s: float) -> float:
    """Return how long to wait after an unanswered question: half as long as the item has been on its way."""
    return min(max(BACKOFF_FIRST_S, sent_ago_s / 2), BACKOFF_MAX_S)


def call_items_max(limits: Limits) -> int:
    """Return how many items a call gets: about half a second's worth of its rate, but as many as go side by side."""
    rates = [rate for rate in (limits.rate_per_s, limits.endpoint_rate_per_s) if rate is not None]
    if not rates:
        return limits.items_max
    return min(limits.items_max, max(limits.in_flight, ceil(min(rates) * CALL_S)))


def resendable(*, burned: bool, sent_ago_s: float, limits: Limits) -> bool:
    """Return whether the target would still know the key, and do no more than answer as it should have.

    Of what was sent after now nobody knows how old the key is: the database's clock was set back.
    """
    return not burned and 0 <= sent_ago_s < limits.keys_kept_s


def work_on(item: OpenItem, limits: Limits) -> Work | None:
    """Return what is to be done with an item now; None: it waits.

    Orphans are due at once: what they wait for is to be asked about.
    """
    if item.state == "sending":
        return "orphan"
    if 0 < item.due_in_s <= WAIT_S_MAX:
        return None
    if item.state == "uncertain" and not resendable(
        burned=item.burned, sent_ago_s=item.sent_ago_s or 0.0, limits=limits
    ):
        return "ask"
    return "send"


def due_run(items: Sequence[OpenItem], limits: Limits, *, items_max: int) -> tuple[Work | None, list[OpenItem]]:
    """Return what is to be done now and with which items, in the order of booking: at most `items_max`.

    `items` are the first ones of streams, each stream's in order, the stream that comes first in front: it decides
    what is done. Of every stream as many are taken as can be without passing over one. Two items of one batch never go
    together, for what the first is called decides about the second.
    """
    work: Work | None = None
    run: list[OpenItem] = []
    stopped: set[str] = set()
    batches: set[tuple[str, str]] = set()
    for item in items:
        stream, batch = item.item.stream, (item.item.operation, item.item.batch)
        if stream in stopped or len(run) == items_max:
            continue
        wanted = work_on(item, limits)
        if wanted is None or (work is not None and wanted != work) or batch in batches:
            stopped.add(stream)
            continue
        work = wanted
        batches.add(batch)
        run.append(item)
    return work, sorted(run, key=lambda item: item.id)


def claim(item: OpenItem) -> Change:
    """Return the change that has to be committed before the item is sent."""
    signal: Signal = "resent" if item.state == "uncertain" else "claimed"
    return Change(id=item.id, was=item.state, state=next_state(item.state, signal), attempt=1)


def orphan(item: OpenItem, limits: Limits) -> Change:
    """Return the change of an item that somebody else was sending when the lane changed hands."""
    fault = "whoever sent it is gone and left no word of the answer"
    known = resendable(burned=item.burned, sent_ago_s=item.sent_ago_s or 0.0, limits=limits)
    delay_s = 0.0 if known else limits.settles_s
    return Change(id=item.id, was="sending", state=next_state("sending", "orphaned"), delay_s=delay_s, fault=fault)


def answered(item: OpenItem, outcome: Outcome, limits: Limits) -> Change:
    """Return what an outcome makes of an item that was claimed as `item`: pending, or uncertain and sent again."""
    match outcome:
        case Delivered(remote_id=remote_id):
            return _after_sending(item, "delivered", remote_id=remote_id)
        case Uncertain(reason=reason, answered=burned):
            delay_s = backoff_s(item.attempts + 1)
            lasting_s = (item.sent_ago_s or 0.0) + delay_s
            if not resendable(burned=burned or item.burned, sent_ago_s=lasting_s, limits=limits):
                delay_s = limits.settles_s
            return _after_sending(item, "uncertain", delay_s=delay_s, fault=reason, burned=burned)
        case Retry(reason=reason, throttled=True):
            signal = _back(item, "throttled")
            return _after_sending(item, signal, delay_s=_throttled_s(outcome), fault=reason, attempt=-1)
        case Barred(reason=reason):
            # Due at once, behind all others: the target's state is the breaker's, and the next probe is of another.
            return _after_sending(item, _back(item, "barred"), fault=reason, attempt=-1)
        case Untried():
            return _after_sending(item, _back(item, "untried"), attempt=-1)
        case Retry() | Refused():
            return (_not_again if item.state == "uncertain" else _not_held)(item, outcome, limits)


def _back(item: OpenItem, signal: Signal) -> Signal:
    """Return what leads an item back to where it was before an attempt that was none."""
    return "uncertain" if item.state == "uncertain" else signal


def _not_held(item: OpenItem, outcome: Retry | Refused, _limits: Limits) -> Change:
    """Return the change of an item that the target certainly does not hold."""
    reason, attempts = outcome.reason, item.attempts + 1
    if isinstance(outcome, Refused):
        return _after_sending(item, "refused", fault=reason)
    if attempts >= ATTEMPTS_MAX:
        return _after_sending(item, "refused", fault=f"given up after {attempts} attempts: {reason}")
    return _after_sending(item, "retry", delay_s=max(backoff_s(attempts), outcome.after_s or 0.0), fault=reason)


def _not_again(item: OpenItem, outcome: Retry | Refused, limits: Limits) -> Change:
    """Return the change of an item that may be held since an earlier attempt, of which the last says nothing.

    What was refused is not sent again under its key: the target has to say by the batch's name whether it is there.
    """
    if isinstance(outcome, Refused):
        return _after_sending(item, "uncertain", delay_s=limits.settles_s, fault=outcome.reason, burned=True)
    delay_s = max(backoff_s(item.attempts + 1), outcome.after_s or 0.0)
    return _after_sending(item, "uncertain", delay_s=delay_s, fault=outcome.reason)


def _after_sending(item: OpenItem, signal: Signal, **given: Any) -> Change:
    return Change(id=item.id, was="sending", state=next_state("sending", signal), **given)


def _throttled_s(retry: Retry) -> float:
    return max(THROTTLED_PAUSE_S, retry.after_s or 0.0)


def found(item: OpenItem, finding: Finding) -> Change:
    """Return what the target's answer about an uncertain item makes of it."""

    def change(signal: Signal, **given: Any) -> Change:
        return Change(id=item.id, was="uncertain", state=next_state("uncertain", signal), **given)

    match finding:
        case Delivered(remote_id=remote_id):
            return change("delivered", remote_id=remote_id)
        case Absent() if item.burned:
            return change("renewed", delay_s=backoff_s(item.attempts), renewed=True)
        case Absent():
            return change("absent", delay_s=backoff_s(item.attempts))
        case Untried():
            return change("untried", fault="the target has not been asked yet")
        case Barred(reason=reason):
            return change("barred", fault=reason)
        case Uncertain(reason=reason):
            # A key whose age is not known now is not trusted either when the clock has caught up.
            sent_ago_s = item.sent_ago_s or 0.0
            return change("uncertain", delay_s=asking_backoff_s(sent_ago_s), fault=reason, burned=sent_ago_s < 0)


def pause_s(outcomes: Sequence[Outcome | Finding]) -> float:
    """Return how long a lane leaves its target alone after a call that ended so: 0 for not at all."""
    throttled = [o for o in outcomes if isinstance(o, Retry) and o.throttled]
    if throttled:
        return max(_throttled_s(retry) for retry in throttled)
    return UNTRIED_PAUSE_S if outcomes and all(isinstance(o, Untried) for o in outcomes) else 0.0
