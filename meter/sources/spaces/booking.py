"""Bookings of every booking system: one thing, whose states are events.

A booking is made, moved, cancelled and made again, and the latest of its states counts (rating.md, section 2). Every
state has the time at which the booking was made, so that it is charged in one period whatever is changed later; the id
begins with the moment of the change, which decides among them, for a booking may come back to a state that it had. Of
two states at one moment the one that takes it back sorts last. Where the vendor does not say when a booking was made,
a state counts at its change, and a later change may take it into another period.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from meter.model.event import Json
from meter.model.instant import EPOCH, instant_text
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
    made_at: datetime | None = None,
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
    # Of one length, so that they compare as the moments do.
    moment = f"{(changed_at - EPOCH) // timedelta(microseconds=1):017}"
    return usage_event(
        setup,
        kind="rooms",
        id=f"{booking}:{moment}:{0 if standing else 1}:{digest(data, subject)}",
        type="room.booking",
        data=data,
        subject=subject,
        time=made_at or changed_at,
        flag=flag,
    )
