"""ESPHome's readers: a message that is nothing but a tag, like `74-10-37-94`, becomes a door access.

Neither time nor reader is in it: the topic names the reader, and a window of the receipt time makes one read of the
many of a held card. A tag that is taken away is published on a topic of its own, if at all; whether that means that
somebody left is a setting.

Facts: esphome-docs (rc522, wiegand), November 2026.
"""

from __future__ import annotations

import re
from typing import Final

from meter.sources.doors.access import badge_subject
from meter.sources.doors.tags import READERS, tag_read
from meter.sources.fields import bad_payload
from meter.sources.spec import NOTHING, Covers, Message, Option, Reading, Setup, Vendor

# A UID with separators, or a number: 10 bytes have 29 characters.
_TAG: Final = re.compile(rb"(?:0[xX])?[0-9A-Fa-f]+(?:[-:. ,][0-9A-Fa-f]+)*", re.ASCII)
_TAG_BYTES_MAX: Final = 96
# What ESPHome and Home Assistant publish where there is no value; the availability of the node.
_NO_TAGS: Final = frozenset((b"", b"None", b"none", b"unknown", b"unavailable", b"online", b"offline"))


def read(setup: Setup, message: Message) -> Reading:
    """Return the access. Raises BadInput (`bad_payload`: no tag; `bad_identity`: not of the reader's form)."""
    tag = message.payload.strip()
    if tag in _NO_TAGS:
        return NOTHING
    if len(tag) > _TAG_BYTES_MAX or not _TAG.fullmatch(tag):
        raise bad_payload(f"the message is {tag[:40]!r}; nothing but a tag, like 74-10-37-94, is documented here")
    device, _, last = message.topic.rpartition("/")
    way = None
    if last == setup.options["removed"]:
        if not setup.options["removed_is_out"]:
            return NOTHING
        way = "out"
    subject = badge_subject(setup, tag.decode())
    return Reading([tag_read(setup, message, door=device or last, subject=subject, direction=way)])


ESPHOME_TAG: Final = Vendor(
    title="ESPHome tag readers",
    area="doors",
    options={
        "removed": Option(default="tag_removed", about="The last level of the topic on which taken away tags come."),
        "removed_is_out": Option(default=False, about="True: who takes a tag away leaves."),
        **READERS,
    },
    decoders={"esphome-tag": read},
    covers=(
        Covers(
            what="a tag as plain text",
            state="done",
            becomes="door.access",
            note="known by a window of the receipt time",
        ),
        Covers(what="a tag taken away", state="done", becomes="door.access", note="where removed_is_out is set"),
        Covers(
            what="on_key, on_raw",
            state="partly",
            becomes="door.access",
            note="raw bits with badge_form wiegand26 or 34",
        ),
    ),
    facts="esphome-docs (rc522, wiegand), November 2026",
)
