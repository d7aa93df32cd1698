"""Bookings of every booking system: one thing, whose states are events.

A booking is made, moved, cancelled and made again. Each state is an event at the moment of the change, so that the
latest counts (rating.md, section 2): the bill follows the booking wherever it goes. The id holds that moment, for a
booking may come back to a state that it had. Of two states at one moment the one that takes it back sorts last.
"""

from __future__ import annotations

from datetime import datetime

from meter.model.event import Json
from meter.model.instant import instant_text
from meter.model.wire import Parsed
from meter.sources.make import TimeFlag, digest, usage_event
from meter.sources.spec import Setup


def booking_event(
    setup: Setup,
    *,
    booking: str,
    resource: str,
    resource_name: str | None,
    start: datetime,
    end: datetime,
    subject: str | None,
    changed_at: datetime,
    standing: bool = True,
    flag: TimeFlag | None = None,
) -> Parsed:
    """Return the state of a booking since `changed_at`; not `standing`: cancelled, removed, or never confirmed."""
    data: dict[str, Json] = {
        "booking": booking,
        "resource": resource,
        "resource_name": resource_name,
        "start": instant_text(start),
        "end": instant_text(end),
        "status": "booked" if standing else "cancelled",
    }
    state = digest(data, subject, instant_text(changed_at))
    return usage_event(
        setup,
        kind="rooms",
        id=f"{booking}:{0 if standing else 1}:{state}",
        type="room.booking",
        data=data,
        subject=subject,
        time=changed_at,
        flag=flag,
    )
