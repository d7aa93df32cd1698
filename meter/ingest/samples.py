"""Having a sample of what was not let in written among the rejections."""

from __future__ import annotations

from collections.abc import Sequence

from meter.ingest.arrival import Arrival
from meter.ingest.batcher import Batcher, QueueFull
from meter.log import log


def keep_sample(batcher: Batcher, arrivals: Sequence[Arrival]) -> None:
    """Have a sample written; where the queue is full it is dropped, for nobody was promised it."""
    try:
        batcher.submit(arrivals, lambda _receipts: None)
    except QueueFull:
        log.info("sample_dropped")
