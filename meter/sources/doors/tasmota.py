"""Tasmota's RFID readers: a sensor message with a UID becomes a door access.

    tele/DEVICE/SENSOR {"Time": "2026-03-02T09:13:52", "RC522": {"UID": "BA839D07", ...}}

`Time` is the device's local time: the source's `timezone` says where. Before the clock is set it stands at 1970, and
the receipt time stands in. What a PN532 could not authenticate is denied.

Facts: tasmota/docs (RC522, PN532), November 2026.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from meter.sources.clocks import Timed, from_local, from_text
from meter.sources.doors.access import badge_subject, words
from meter.sources.doors.tags import READERS, UNTIMED, tag_read
from meter.sources.fields import Fields, bad_payload
from meter.sources.spec import NOTHING, Covers, Message, Option, Reading, Setup, Vendor


def read(setup: Setup, message: Message) -> Reading:
    """Return the access. Raises BadInput (`bad_payload`, `bad_identity`, or as `strict_json` does)."""
    shown = Fields.of_json(message.payload)
    sensor = next(filter(None, map(shown.opt_object, words(setup, "sensors"))), None)
    uid = None if sensor is None else sensor.opt_text("UID")
    if sensor is None or uid is None:
        return NOTHING  # its other sensors, and a reader that has nothing before it
    written = shown.opt_text("Time")
    timed = UNTIMED if written is None else _time(written, setup.timezone)
    denied = sensor.opt_text("Auth") == "NOk"
    return Reading(
        [
            tag_read(
                setup,
                message,
                door=_device(message.topic),
                subject=badge_subject(setup, uid),
                timed=timed,
                granted=not denied,
                told=written if timed.time is not None else None,
                reason="not authenticated" if denied else None,
            )
        ]
    )


def _time(written: str, timezone: str) -> Timed:
    try:
        moment = datetime.fromisoformat(written)
    except ValueError as error:
        message = f"Time is {written[:40]!r}; a local time like 2026-03-02T09:13:52 is documented here"
        raise bad_payload(message) from error
    return from_local(moment, timezone) if moment.tzinfo is None else from_text(written, what="Time")


def _device(topic: str) -> str:
    """Return the device of tele/DEVICE/SENSOR, in whatever order the full topic has its parts."""
    named = [level for level in topic.split("/") if level not in {"tele", "stat", "SENSOR", ""}]
    return "/".join(named) or topic


TASMOTA_RFID: Final = Vendor(
    title="Tasmota RFID",
    area="doors",
    options={
        "sensors": Option(default=["RC522", "PN532"], about="The readers whose UID is a tag."),
        **READERS,
    },
    decoders={"tasmota-rfid": read},
    covers=(
        Covers(what="RC522, PN532", state="done", becomes="door.access"),
        Covers(what="data written on tags, other sensors", state="not"),
    ),
    facts="tasmota/docs (RC522, PN532), November 2026",
)
