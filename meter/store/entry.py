"""An event on its way into the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from meter.model.event import EventKey
from meter.model.wire import WireEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An event about to be written. `time` counts: corrected, or the receipt time. `held`: ahead of the clock."""

    event: WireEvent
    key: EventKey = field(init=False)
    time: datetime
    channel: str
    received_at: datetime
    held: bool = False

    def __post_init__(self) -> None:
        """Keep the event's key within the operator: rows are sorted and looked up by it."""
        object.__setattr__(self, "key", EventKey(self.event.source, self.event.id))
