"""What becomes of an outbox item: a table, and the pure decisions around it.

                    ┌────────── retry ──────────┐
                    ▼                           │
    booked ──▶ pending ──claimed──▶ sending ──delivered──▶ delivered ──verified──▶ verified
                    ▲                  │  │
                  absent     uncertain │  └──refused──▶ dead ──replaced──▶ superseded (a new revision is pending)
                    │        orphaned  ▼
                    └───────────── uncertain ──delivered──▶ delivered

`sending` is committed before the first byte leaves. Whoever takes over a lane and finds an item so (orphaned) does not
know what its target holds, and asks. Nothing leads from `uncertain` to `dead`: only what a target certainly does not
hold may be sent again under another key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Final, Literal, TypeAlias

from meter.export.contract import Absent, Delivered, Finding, Outcome, Refused, Retry, Uncertain
from meter.model.errors import Broken
from meter.store.deliveries import Change, OpenItem, State

Signal: TypeAlias = Literal[
    "claimed", "delivered", "retry", "refused", "uncertain", "orphaned", "absent", "verified", "replaced"
]

TRANSITIONS: Final[Mapping[tuple[State, Signal], State]] = {
    ("pending", "claimed"): "sending",
    ("sending", "delivered"): "delivered",
    ("sending", "retry"): "pending",
    ("sending", "refused"): "dead",
    ("sending", "uncertain"): "uncertain",
    ("sending", "orphaned"): "uncertain",
    ("uncertain", "delivered"): "delivered",
    ("uncertain", "absent"): "pending",
    ("uncertain", "uncertain"): "uncertain",
    ("delivered", "verified"): "verified",
    ("dead", "replaced"): "superseded",
}

# 0.5, 1, 2, ... seconds: a hiccup costs little, an outage of days some thousand attempts.
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 60.0
# Two weeks at the longest back-off: what nobody has mended by then needs a person.
ATTEMPTS_MAX: Final = 20_000


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


def due_run(items: Sequence[OpenItem]) -> list[OpenItem]:
    """Return the first items of a lane that share a state and are due: what can be worked on without changing order.

    Orphans are due at once: what they wait for is to be asked about.
    """
    if not items:
        return []
    state = items[0].state
    return list(takewhile(lambda i: i.state == state and (i.due_in_s <= 0 or state == "sending"), items))


def claim(item: OpenItem) -> Change:
    """Return the change that has to be committed before the item is sent."""
    return Change(id=item.id, state=next_state(item.state, "claimed"), sent=True)


def orphan(item: OpenItem) -> Change:
    """Return the change of an item that somebody else was sending when the lane changed hands."""
    fault = "whoever sent it is gone and left no word of the answer"
    return Change(id=item.id, state=next_state(item.state, "orphaned"), fault=fault)


def settle(item: OpenItem, outcome: Outcome | Finding) -> Change:
    """Return what an outcome (of a claimed item) or a finding (of an uncertain one) makes of the item.

    `item.attempts` counts the attempt that has just ended.
    """
    match outcome:
        case Delivered(remote_id=remote_id):
            return Change(id=item.id, state=next_state(item.state, "delivered"), remote_id=remote_id)
        case Absent():
            delay_s = backoff_s(item.attempts)
            return Change(id=item.id, state=next_state(item.state, "absent"), delay_s=delay_s)
        case Retry(reason=reason, after_s=after_s):
            if item.attempts >= ATTEMPTS_MAX:
                fault = f"given up after {item.attempts} attempts: {reason}"
                return Change(id=item.id, state=next_state(item.state, "refused"), fault=fault)
            delay_s = max(backoff_s(item.attempts), after_s or 0.0)
            return Change(id=item.id, state=next_state(item.state, "retry"), delay_s=delay_s, fault=reason)
        case Refused(reason=reason):
            return Change(id=item.id, state=next_state(item.state, "refused"), fault=reason)
        case Uncertain(reason=reason):
            # The first question comes at once; only a target that does not answer it is given time.
            delay_s = backoff_s(item.attempts) if item.state == "uncertain" else 0.0
            return Change(id=item.id, state=next_state(item.state, "uncertain"), delay_s=delay_s, fault=reason)
