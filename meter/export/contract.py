"""What a target is: it sends, it can be asked, and it says which of a few things became of each item (decision 0014).

Retries, order, limits and state are not the target's but the lane's (`delivery.py`, `dispatcher.py`). It turns frozen
payloads into requests and answers into outcomes, and never raises for what the other side does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Protocol, TypeAlias, runtime_checkable

from meter.model.money import ZERO
from meter.store.outbox import OutboxItem


@dataclass(frozen=True, slots=True)
class Delivered:
    """The target holds the item; `remote_id` is its name there, if it gave one."""

    remote_id: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """The target certainly does not hold the item, and may take it later. `after_s`: not before, if it said so.

    `throttled`: it was asked too often, which is no failure of its own.
    """

    reason: str
    after_s: float | None = None
    throttled: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The target certainly does not hold the item and will not take these bytes: a person must look."""

    reason: str


@dataclass(frozen=True, slots=True)
class Barred:
    """The target lets nobody in with what we have (a key, a permission), whichever item it is.

    It certainly does not hold the item, which waits until somebody has mended that. `reason` is whole and may have the
    target's own words; `remedy` is ours and names the setting, `status` the answer's (None: there was none). `after_s`:
    not before.
    """

    reason: str
    remedy: str
    status: int | None = None
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Uncertain:
    """The target may hold the item or not: it has to be asked, or sent the same under the same key.

    `answered`: it gave an answer that it keeps with the key and would only repeat, so the key is used up.
    """

    reason: str
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Untried:
    """Nothing was sent: the item waits for one before it, or the target's time was up."""


@dataclass(frozen=True, slots=True)
class Absent:
    """Asked, the target says that it does not hold the item: it may be sent."""


Outcome: TypeAlias = Delivered | Retry | Refused | Barred | Uncertain | Untried
Finding: TypeAlias = Delivered | Absent | Barred | Uncertain | Untried


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a target bears, and what it remembers.

    `rate_per_s` and `burst` are what is asked of it at most (four fifths of the vendor's cap), `in_flight` how many
    requests at a time, `items_max` how many items one `send` gets at most. `keys_kept_s`: for so long the same key is
    answered the same (0: keys are not kept, or nobody says how long). `settles_s`: a request whose answer was lost may
    still be at work for so long, and is asked about no sooner. `endpoint_rate_per_s` and `endpoint_burst` are the same
    for one endpoint, where the vendor counts each by itself as well.
    """

    items_max: int
    in_flight: int = 1
    rate_per_s: float | None = None
    burst: int = 1
    keys_kept_s: float = 0.0
    settles_s: float = 0.0
    endpoint_rate_per_s: float | None = None
    endpoint_burst: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What an item comes to: how many lines, their net and tax, of one currency ("" where there is no money)."""

    lines: int = 0
    net: Decimal = ZERO
    tax: Decimal = ZERO
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a target holds under the name of a batch, as it says itself. `void`: it is there, but counts no more."""

    batch: str
    remote_id: str
    figures: Figures
    void: bool = False


class Exporter(Protocol):
    """One target. The lane calls one method at a time; items of one stream come in the order of booking."""

    @property
    def limits(self) -> Limits:
        """What the target bears."""
        ...

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        """Send `items` under their keys; return one outcome each, in order."""
        ...

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        """Ask the target for each item by its batch's name (or its key); return one finding each, in order.

        Untried: it could not be asked for now, which says nothing of it.
        """
        ...

    async def check(self) -> None:
        """Return where the target could take something now. Raises MeterError saying why not."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@runtime_checkable
class Reconcilable(Exporter, Protocol):
    """A target that can say what it holds."""

    def figures(self, item: OutboxItem) -> Figures:
        """Return what the target must hold for a delivered item. Pure."""
        ...

    def holdings(self, since: date, until: date) -> AsyncIterator[Held]:
        """Give everything of ours that the target holds of days in [since, until), whoever changed it.

        Raises MeterError.
        """
        ...
