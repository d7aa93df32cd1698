"""Home Assistant's tag scanners: `tag_scanned` becomes a door access.

    {"tag_id": "...", "device_id": "..."}                               the event's data, as an automation publishes it
    {"event_type": "tag_scanned", "event_data": {...}}                  as mqtt_eventstream publishes events
    {"event_type": "tag_scanned", "data": {...}, "time_fired": "..."}   as the event is in Home Assistant

Without a time: a window of the receipt time. Other events are nothing. The scanner is the door, and the tag the person:
a phone that scans a tag at the door has it the other way round, and is not read.

Facts: Home Assistant's documentation of tags and mqtt_eventstream, November 2026.
"""

from __future__ import annotations

from typing import Final

from meter.sources.clocks import from_text
from meter.sources.doors.access import badge_subject
from meter.sources.doors.tags import READERS, UNTIMED, tag_read
from meter.sources.fields import Fields
from meter.sources.spec import NOTHING, Covers, Message, Reading, Setup, Vendor


def read(setup: Setup, message: Message) -> Reading:
    """Return the access. Raises BadInput (`bad_payload`, `bad_identity`, `bad_time`, or as `strict_json` does)."""
    event = Fields.of_json(message.payload)
    timed, fired, scanned = UNTIMED, None, event
    if event.raw("event_type") is not None:
        if event.text("event_type") != "tag_scanned":
            return NOTHING
        scanned, fired = event.opt_object("event_data") or event.object("data"), event.opt_text("time_fired")
        timed = UNTIMED if fired is None else from_text(fired, what="time_fired")
    scanner = scanned.opt_text("device_id") or message.topic
    subject = badge_subject(setup, scanned.text("tag_id"))
    return Reading([tag_read(setup, message, door=scanner, subject=subject, timed=timed, told=fired)])


HOME_ASSISTANT_TAG: Final = Vendor(
    title="Home Assistant tags",
    area="doors",
    options=READERS,
    decoders={"home-assistant-tag": read},
    covers=(
        Covers(what="tag_scanned", state="done", becomes="door.access"),
        Covers(what="tags that stand for a place, scanned by people's phones; other events", state="not"),
    ),
    facts="Home Assistant's documentation of tags and mqtt_eventstream, November 2026",
)
