"""Home Assistant: tag_scanned, alone and as an event, with invented values."""

from datetime import timedelta

from tests.sources.case import Case, Sample, setup

TOPIC = "homeassistant/tags"
SCANNED = b'{"tag_id":"04-A2-99-1B","device_id":"0d5c2a7e"}'
FIRED = b'{"event_type":"tag_scanned","data":%s,"time_fired":"2026-03-02T08:01:27.120000+00:00"}' % SCANNED

CASE = Case(
    vendor="home-assistant-tag",
    setup=setup("home-assistant-tag", "tags"),
    samples=[
        Sample(
            name="data",
            body=SCANNED,
            becomes=[("door.access", "badge:04A2991B")],
            again=SCANNED.replace(b"-", b":"),
            again_after=timedelta(seconds=20),
            required=["tag_id"],
            topic=TOPIC,
        ),
        Sample(
            name="event",
            body=FIRED,
            becomes=[("door.access", "badge:04A2991B")],
            again=FIRED.replace(b"}", b',"origin":"LOCAL"}'),
            again_after=timedelta(days=2),
            required=["data.tag_id", "data"],
            topic=TOPIC,
        ),
        Sample(
            name="event stream",
            body=b'{"event_type":"tag_scanned","event_data":%s}' % SCANNED,
            becomes=[("door.access", "badge:04A2991B")],
            topic=TOPIC,
        ),
        Sample(name="other", body=b'{"event_type":"state_changed","event_data":{}}', becomes=[], topic=TOPIC),
    ],
)
