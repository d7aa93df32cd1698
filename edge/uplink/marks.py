"""Envelopes as they are sent: the bare ones of the spool, with the agent's marks. Pure (decision 0015)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from edge.uplink.clocks import Correction
from meter.model.doubt import TIME_FLAG
from meter.model.instant import instant_text
from meter.model.wire import EDGE_TIME

# A message holds so much: an event may have 256 KiB, brokers are set to take 2 MiB and gateways to take 1 MiB.
MESSAGE_BYTES_MAX: Final = 512 * 1024

NO_CORRECTION: Final = Correction()


class _Envelope(msgspec.Struct):
    time: str | None = None
    timeflag: str | None = None


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)


def marked(
    body: bytes,
    *,
    edge: str,
    boot: int,
    sequence: int,
    heard: datetime | None = None,
    correction: Correction = NO_CORRECTION,
) -> bytes:
    """Return the envelope `body`, a JSON object without these attributes, with the marks of the agent.

    `heard`: the agent's clock vouches for the event's time, and said this when it came.
    """
    marks: dict[str, str | int] = {"edge": edge, "boot": boot, "sequence": sequence}
    if heard is not None:
        said = _ENVELOPE.decode(body)
        if said.time is None:
            marks[EDGE_TIME] = instant_text(heard)
        if correction.offset_ms is not None:
            marks["edgeoffsetms"] = correction.offset_ms
        if correction.flag is not None and said.timeflag is None:
            marks[TIME_FLAG] = correction.flag
    return body.rstrip()[:-1] + b"," + msgspec.json.encode(marks)[1:]


def together(envelopes: Iterable[bytes]) -> bytes:
    """Return a batch of envelopes as one message."""
    return b"[" + b",".join(envelopes) + b"]"
