"""How what is posted to a source is read. Pure."""

from __future__ import annotations

from meter.model.errors import BadInput
from meter.sources.signature import require_token
from meter.sources.spec import Delivery, Hook, Lines, Reading, Setup, Vendor


def hook_of(vendor: Vendor) -> Hook:
    """Return how posts are read: the vendor's webhooks, or lines of a log behind the source's secret."""
    if vendor.hook is not None:
        return vendor.hook
    read_lines = vendor.lines
    if read_lines is None:
        message = "this vendor posts nothing; see docs/sources.md for how it is read"
        raise BadInput(message, code="not_found")

    def read(setup: Setup, delivery: Delivery) -> Reading:
        lines = Lines(
            name=delivery.query.get("name", ""), lines=delivery.body.splitlines(), received_at=delivery.received_at
        )
        return read_lines(setup, lines)

    return Hook(check=require_token, read=read, reads_query=("name",))
