"""Making events of what vendors send: built as CloudEvents and read like any other, so that one check holds for all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

import msgspec

from meter.model.doubt import TIME_FLAG
from meter.model.errors import BadInput
from meter.model.event import DRAFT, SOURCE_CHANGED, VOIDED, Json
from meter.model.instant import EPOCH, instant_text
from meter.model.wire import DELAY, Parsed, Refusal, read_event
from meter.sources.spec import Setup

# Why an event's time is not simply the device's (decision 0011).
TimeFlag: TypeAlias = Literal["unset_clock", "no_zone", "ambiguous", "fallback"]

_EXACT: Final = msgspec.json.Encoder(decimal_format="number", order="sorted")


def usage_event(
    setup: Setup,
    *,
    kind: str,
    id: str,
    type: str,  # noqa: A002 -- CloudEvents' name for it
    data: Mapping[str, Json],
    subject: str | None = None,
    time: datetime | None = None,
    flag: TimeFlag | None = None,
    delay_s: int = 0,
) -> Parsed:
    """Return the event; what is None in `data` is left out. A fault in it is a refusal, as on the wire.

    `time` None: the receipt time stands in, less the `delay_s` seconds for which the sender had been trying. `flag`:
    why it is not the device's.
    """
    source = setup.source(kind)
    return event_of(source, id=id, type=type, data=data, subject=subject, time=time, flag=flag, delay_s=delay_s)


def event_of(
    source: str,
    *,
    id: str,
    type: str,  # noqa: A002 -- CloudEvents' name for it
    data: Mapping[str, Json],
    subject: str | None = None,
    time: datetime | None = None,
    flag: TimeFlag | None = None,
    delay_s: int = 0,
) -> Parsed:
    """Return the event of a CloudEvents source, as `usage_event` does of a configured one."""
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": type,
        "data": {name: value for name, value in data.items() if value is not None},
    }
    if subject is not None:
        envelope["subject"] = subject
    if time is not None:
        envelope["time"] = instant_text(time)
    if flag is not None:
        envelope[TIME_FLAG] = flag
    if time is None and delay_s:
        envelope[DELAY] = delay_s * 1000
    return read_event(_EXACT.encode(envelope))


def changed(setup: Setup, *, kind: str, object_id: str, id: str, time: datetime | None = None, **more: Json) -> Parsed:
    """Return the notice that an object of the vendor's is to be fetched by `fetches[kind]`.

    `id` tells notices apart (the vendor's event id, or the object's version); `more` is kept for the fetch.
    """
    data = {"vendor": setup.vendor, "name": setup.name, "kind": kind, "object": object_id, **more}
    return usage_event(setup, kind="source", id=id, type=SOURCE_CHANGED, data=data, time=time)


def draft(setup: Setup, *, kind: str, id: str, body: Mapping[str, Json], time: datetime, note: str = "") -> Parsed:
    """Return what the vendor says of an object of the directory: `kind` member, account or subscription.

    `body` has the fields of the catalog's entry. `time` is when the vendor changed it: of several the latest counts.
    """
    data = {"vendor": setup.vendor, "name": setup.name, "kind": kind, "id": id, "body": body, "note": note or None}
    # The time is part of it: an object that comes back to what it was is news.
    event_id = f"{kind}:{id}:{digest(body, instant_text(time))}"
    return usage_event(setup, kind="source", id=event_id, type=DRAFT, data=data, time=time)


def voided(setup: Setup, *, kind: str, id: str, target: str, reason: str, time: datetime | None = None) -> Parsed:
    """Return the event that takes back the event `target` of the same source."""
    data = {"source": setup.source(kind), "id": target, "reason": reason}
    return usage_event(setup, kind=kind, id=id, type=VOIDED, data=data, time=time)


def refused(error: BadInput, body: bytes) -> Refusal:
    """Return what cannot be read as a refusal, with its bytes."""
    return Refusal(code=error.code, detail=error.detail, body=body)


def digest(*parts: Json) -> str:
    """Return 16 hexadecimal digits that are the same for equal JSON values: part of the id of a fact that has none."""
    return sha256(_EXACT.encode(parts)).hexdigest()[:16]


def window_id(received_at: datetime, window_s: int, *parts: Json) -> str:
    """Return the id of a fact without id and time: a digest of it, and the receipt time cut to a window.

    The same within one window is one fact (decision 0011).
    """
    since = received_at - EPOCH
    return f"{digest(*parts)}:{since // timedelta(seconds=max(1, window_s))}"
