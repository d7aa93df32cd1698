"""Deliveries to a file: one CloudEvent a line, in the order of arrival, repetitions included."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from meter.simulate.event import Delivery
from meter.simulate.pace import Sent


def to_file(deliveries: Iterable[Delivery], *, out: BinaryIO) -> Sent:
    """Write the events of all deliveries to `out` as NDJSON."""
    sent = Sent()
    for delivery in deliveries:
        out.writelines(event.body + b"\n" for event in delivery.events)
        sent.deliveries += 1
        sent.events += len(delivery.events)
    return sent
