"""Bugs that the oracle must find: what each breaks, and the failpoint at which a kill brings it to light."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from meter.ingest.arrival import Arrival, Receipt
from meter.ingest.batcher import Batcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """`plant` patches this process; `at` is the failpoint that shows it."""

    plant: Callable[[], None]
    at: str


def _acknowledge_before_commit() -> None:
    """Tell whoever sends that all is safe as soon as it is queued."""
    submit = Batcher.submit

    def hasty(self: Batcher, arrivals: Sequence[Arrival], done: Callable[[Sequence[Receipt]], None]) -> None:
        submit(self, arrivals, lambda _: None)
        done([Receipt(id=None, source=None, status="accepted") for _ in arrivals])

    Batcher.submit = hasty  # type: ignore[method-assign]


PLANTS: Final[Mapping[str, Plant]] = {
    "acknowledge_before_commit": Plant(plant=_acknowledge_before_commit, at="before_ingest_commit"),
}
