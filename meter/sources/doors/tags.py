"""What readers on MQTT have in common: a tag, a door, and mostly neither id nor time.

With the reader's time the fact is "this tag, at this door, then": two reads of a held card at two moments are two
events, and a meter's `debounce` makes one of them. Without it the fact is known by a window of the receipt time
(decision 0011): what comes again within `window_s` is the same read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from meter.model.event import Json
from meter.model.wire import Parsed
from meter.sources.clocks import Timed
from meter.sources.doors.access import BADGES, WAYS, access, direction_of
from meter.sources.make import digest, window_id
from meter.sources.spec import Message, Option, Setup

READERS: Final[Mapping[str, Option]] = {
    "door": Option(default="", about="The door's name; empty: what the message or its topic calls it."),
    "granted": Option(default=True, about="Whether a tag that is read opens the door."),
    "window_s": Option(default=30, about="Within how many seconds equal reads without a time are one."),
    **BADGES,
    **WAYS,
}
# A reader that names no time.
UNTIMED: Final = Timed(None)


def tag_read(
    setup: Setup,
    message: Message,
    *,
    door: str,
    subject: str | None,
    timed: Timed = UNTIMED,
    granted: bool = True,
    direction: str | None = None,
    told: Json = None,
    **more: Json,
) -> Parsed:
    """Return the access of a tag at a door, which `direction` may lead another way than the settings say.

    `told` is whatever else tells two facts apart: the reader's own text of its time, a number of the message.
    """
    door = setup.options["door"] or door
    way = direction or direction_of(setup, door)
    opened = granted and setup.options["granted"]
    fact = (door, subject, opened, way, told)
    return access(
        setup,
        id=digest(*fact)
        if timed.time is not None
        else window_id(message.received_at, setup.options["window_s"], *fact),
        door=door,
        granted=opened,
        subject=subject,
        time=timed.time,
        flag=timed.flag,
        direction=way,
        **more,
    )
