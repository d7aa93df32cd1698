"""The usage event as the gateway keeps it, and the order in which events count (rating.md, sections 1 and 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

# Decoded JSON: dict, list, str, bool, None, int and Decimal; never float.
Json: TypeAlias = Any

VOIDED: Final = "event.voided"
AMENDED: Final = "event.amended"
HEARTBEAT: Final = "edge.heartbeat"
# What an agent on site could not read of a device: it is kept as if it had been refused here.
EDGE_REFUSAL: Final = "edge.refusal"
REPORTED: Final = "usage.reported"
SALE: Final = "pos.sale"
REFUND: Final = "pos.refund"
# What a source learned that is no usage (decision 0011): an object to fetch, and what somebody's directory says.
SOURCE_CHANGED: Final = "source.changed"
DRAFT: Final = "directory.draft"
WIFI_SESSION: Final = "wifi.session"
# What billing systems say of what they were sent: the state of an invoice, an item that they threw away afterwards.
INVOICE_STATUS: Final = "invoice.status"
EXPORT_REFUSED: Final = "export.refused"
# Every session of a network access server is over (RADIUS' Accounting-On and -Off).
NAS_RESTARTED: Final = "nas.restarted"

# Types that tell where somebody was and when, by their first word: sensors that no decoder knows yet are among them.
MOVEMENTS: Final = frozenset({"desk", "door", "presence", "wifi"})

# The field of `data` that names the thing an event speaks of: of several on one thing, the latest in order counts.
THING_FIELDS: Final[Mapping[str, str]] = {
    "pos.sale": "order",
    "pos.refund": "refund",
    "print.job": "job",
    "room.booking": "booking",
    "locker.rental": "booking",
    "phonebooth.session": "booking",
}


def is_movement(event_type: str) -> bool:
    """Tell whether events of the type say where somebody was and when: doors, Wi-Fi, desks."""
    return event_type.partition(".")[0] in MOVEMENTS


class EventKey(NamedTuple):
    """What makes an event one event, for ever, within its operator."""

    source: str
    id: str


class Position(NamedTuple):
    """A place in the order of events: strings compare by code point, which is the order of their UTF-8 bytes."""

    time: datetime
    source: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent:
    """One accepted CloudEvent.

    `time` is UTC and already corrected by the edge's clock offset; `timed` is False where the sender gave none and the
    receipt time stands in. `subject` is a normalised identity or None. `site` is the first segment of `source`.
    `thing` is the vendor's id of the sale, refund, booking or job, if the type has one. `key` is the event's own within
    the operator, `position` its place in the order; both are asked for so often that they are kept.
    """

    source: str
    id: str
    type: str
    site: str
    time: datetime
    timed: bool = True
    subject: str | None = None
    thing: str | None = None
    data: Mapping[str, Json]
    key: EventKey = field(init=False, repr=False, compare=False)
    position: Position = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep the key and the position."""
        object.__setattr__(self, "key", EventKey(self.source, self.id))
        object.__setattr__(self, "position", Position(self.time, self.source, self.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A void or an amendment of `target`, itself an event of the log (rating.md, section 2).

    `data` is the replacement of an amendment and None for a void.
    """

    target: EventKey
    source: str
    id: str
    time: datetime
    data: Mapping[str, Json] | None
    reason: str = ""

    @property
    def key(self) -> EventKey:
        """Return the key of the event that carries this revision."""
        return EventKey(self.source, self.id)

    @property
    def position(self) -> Position:
        """Return the revision's place in the order: the latest amendment not voided counts."""
        return Position(self.time, self.source, self.id)
