"""Envelopes as they are sent: the bare ones of the spool, with the agent's marks. Pure (decision 0015)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


_NULL: Final = b"null"
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def marked(
    body: bytes,
    *,
    edge: str,
    boot: int,
    sequence: int,
    heard: datetime | None = None,
    correction: Correction = NO_CORRECTION,
) -> bytes:
    """Return the envelope `body`, a JSON object, with the marks of the agent.

    `heard`: the agent's clock vouches for the event's time, and said this when it came.
    """
    marks: dict[str, str | int] = {"edge": edge, "boot": boot, "sequence": sequence}
    said = _MEMBERS.decode(body)
    if heard is not None:
        if _is_null(said, "time"):
            marks[EDGE_TIME] = instant_text(heard)
        if correction.offset_ms is not None:
            marks["edgeoffsetms"] = correction.offset_ms
        if correction.flag is not None and _is_null(said, TIME_FLAG):
            marks[TIME_FLAG] = correction.flag
    if said.keys() & marks.keys():
        # Whoever is no agent means something else by them (CloudEvents has an extension `sequence`), and a name stands
        # once in an object: the gateway would refuse what its device was told is safe.
        return msgspec.json.encode({**said, **marks})
    return body.rstrip()[:-1] + b"," + msgspec.json.encode(marks)[1:]


def _is_null(said: Mapping[str, msgspec.Raw], name: str) -> bool:
    return bytes(said.get(name, _NULL)) == _NULL


def together(envelopes: Iterable[bytes]) -> bytes:
    """Return a batch of envelopes as one message."""
    return b"[" + b",".join(envelopes) + b"]"
