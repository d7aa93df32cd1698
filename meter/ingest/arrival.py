"""What goes in at the door, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

from meter.model.event import Json
from meter.model.wire import Parsed
from meter.store.edges import BootKey, EdgeProgress
from meter.store.marks import Marks

Channel: TypeAlias = Literal["mqtt", "http", "webhook", "radius", "fetch", "poll", "import", "derived", "edge"]
Status: TypeAlias = Literal["accepted", "duplicate", "rejected"]


class Arrival(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event (or what should have been one) as it came in by a channel at an origin: an MQTT topic, an HTTP route.

    `site`, `edge`: the only site and agent that the sender may speak for (of the topic, of the key); None: any.
    `told_by`: vendor and name of the configured source that told it; None: none did. `by_hand`: a person has looked at
    it and hands it in.
    """

    parsed: Parsed
    channel: Channel
    origin: str
    received_at: datetime
    content_type: str | None = None
    site: str | None = None
    edge: str | None = None
    by_hand: bool = False
    told_by: tuple[str, str] | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What became of one arrival, said only after the commit. `code` and `detail` where there is something to say.

    `unmarked`: its sequence is not stored, so the agent must not let it go; it sends it again.
    """

    id: str | None
    source: str | None
    status: Status
    code: str | None = None
    detail: str | None = None
    unmarked: bool = False


class ClockQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A heartbeat that came over MQTT: whose it is, what its agent's clock said, and when it came.

    `boots`: of which of its spools the agent keeps what was acknowledged, to compare it with what is stored here.
    """

    site: str
    edge: str
    asked: Json
    received_at: datetime
    boots: tuple[int, ...] = ()

    @property
    def spools(self) -> list[BootKey]:
        """Return what tells each of the boots from other agents' ones."""
        return [(self.site, self.edge, boot) for boot in self.boots]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction did: a receipt for each arrival, in order, and what agents may be told over MQTT.

    `settled`: how many authorisations its events have settled, and how many of these when nothing was reserved any
    more (`settled_late`). `stored`: the marks of each boot that a question names, with what the transaction brought.
    """

    receipts: Sequence[Receipt]
    progress: Sequence[EdgeProgress] = ()
    questions: Sequence[ClockQuestion] = ()
    stored: Mapping[BootKey, Marks] = msgspec.field(default_factory=dict)
    channels: frozenset[Channel] = frozenset()
    settled: int = 0
    settled_late: int = 0
