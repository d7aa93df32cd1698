"""ESPHome: a tag as plain text, on a topic of one's choosing."""

from datetime import timedelta

from tests.sources.case import Case, Sample, setup

TOPIC = "rc522/tag"

CASE = Case(
    vendor="esphome-tag",
    setup=setup("esphome-tag", "rc522"),
    samples=[
        Sample(
            name="tag",
            body=b"74-10-37-94",
            becomes=[("door.access", "badge:74103794")],
            again=b"74:10:37:94\r\n",
            again_after=timedelta(seconds=12),
            topic=TOPIC,
        ),
        Sample(name="no value", body=b"unavailable", becomes=[], topic=TOPIC),
        Sample(name="removed", body=b"74-10-37-94", becomes=[], topic="rc522/tag_removed"),
    ],
)
