"""What a target is: it sends, it can be asked, and it says which of four things became of each item.

Retries, order and state are not the target's but the lane's (`delivery.py`, `dispatcher.py`). It turns frozen payloads
into requests and answers into outcomes, and never raises for what the other side does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from meter.store.outbox import OutboxItem


@dataclass(frozen=True, slots=True)
class Delivered:
    """The target holds the item; `remote_id` is its name there, if it gave one."""

    remote_id: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """The target certainly does not hold the item, and may take it later. `after_s`: not before, if it said so."""

    reason: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The target certainly does not hold the item and will not take these bytes: a person must look."""

    reason: str


@dataclass(frozen=True, slots=True)
class Uncertain:
    """The target may hold the item or not: it has to be asked before anything is sent again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Absent:
    """Asked, the target says that it does not hold the item: it may be sent."""


Outcome: TypeAlias = Delivered | Retry | Refused | Uncertain
Finding: TypeAlias = Delivered | Absent | Uncertain


class Exporter(Protocol):
    """One target. The lane calls one method at a time, items in the order of booking."""

    @property
    def items_max(self) -> int:
        """How many items the target takes at a time."""
        ...

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        """Send `items` under their keys; return one outcome each, in order. Items not tried are `Retry`."""
        ...

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        """Ask the target for each item by its key; return one finding each, in order."""
        ...

    async def check(self) -> None:
        """Return where the target could take something now. Raises MeterError saying why not."""
        ...
