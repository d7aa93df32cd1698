"""Which faults come when: the same for the same seed and sizes."""

from __future__ import annotations

from typing import Final

from tests.edge.e2e.schedule import Fault, scheduled

# How many of a hundred faults are of each kind.
SHARES: Final = {
    "cut": 32,
    "kill_gateway_a": 8,
    "kill_gateway_b": 8,
    "kill_agent": 8,
    "kill_broker": 8,
    "kill_postgres": 4,
    "stop_postgres": 8,
    "freeze_gateway_a": 5,
    "freeze_gateway_b": 4,
    "freeze_agent": 3,
    "freeze_broker": 3,
    "freeze_postgres": 3,
    "fill_disk": 3,
    "jump_clock": 3,
}
WIRES: Final = (
    *("postgres_a", "postgres_b", "broker_a", "broker_b", "agent_broker", "agent_http"),
    *("device_broker", "device_a", "device_b", "stripe", "receiver", "books"),
)


def counts(faults: int, *, skipped: frozenset[str] = frozenset()) -> dict[str, int]:
    """Return how many of each kind: as its share says, and one at least of all but `skipped`."""
    kinds = {kind: share for kind, share in SHARES.items() if kind not in skipped}
    whole = sum(kinds.values())
    found = {kind: max(1, faults * share // whole) for kind, share in kinds.items()}
    # What rounding left over, or took too much of, is of the most frequent kind: cuts, where there are any.
    most = max(kinds, key=kinds.__getitem__)
    found[most] = max(1, found[most] + faults - sum(found.values()))
    return found


def schedule(seed: int, *, faults: int, events: int, skipped: frozenset[str] = frozenset()) -> list[Fault]:
    """Return the faults of a run in which devices are told of so many events."""
    return scheduled(seed, counts(faults, skipped=skipped), events=events, wires=WIRES)
