"""Envelopes as they are sent: the bare ones of the spool, with the agent's marks. Pure (decision 0015)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from edge.uplink.clocks import Correction

# A message holds so much: an event may have 256 KiB, brokers are set to take 2 MiB.
MESSAGE_EVENTS_MAX: Final = 100
MESSAGE_BYTES_MAX: Final = 512 * 1024

NO_CORRECTION: Final = Correction()


def marked(body: bytes, *, edge: str, boot: int, sequence: int, correction: Correction = NO_CORRECTION) -> bytes:
    """Return the envelope `body`, a JSON object without these attributes, with the marks of the agent."""
    marks: dict[str, str | int] = {"edge": edge, "boot": boot, "sequence": sequence}
    if correction.offset_ms is not None:
        marks["edgeoffsetms"] = correction.offset_ms
    # A source that said why its time is doubtful has said enough; twice the same name would be no JSON of ours.
    if correction.flag is not None and b'"timeflag"' not in body:
        marks["timeflag"] = correction.flag
    return body.rstrip()[:-1] + b"," + msgspec.json.encode(marks)[1:]


def together(envelopes: Iterable[bytes]) -> bytes:
    """Return a batch of envelopes as one message."""
    return b"[" + b",".join(envelopes) + b"]"
