"""Zigbee2MQTT: a keypad with a tag reader, as zigbee2mqtt.io shows its messages, with invented values."""

import json
from datetime import timedelta
from typing import Any

from tests.sources.case import Case, Sample, setup

TOPIC = "zigbee2mqtt/berlin-tag"


def shown(**changes: Any) -> bytes:
    made = {
        "action": "disarm",
        "action_code": "+1A2B3C4D",
        "action_transaction": 99,
        "action_zone": 23,
        "battery": 87,
        "linkquality": 120,
    }
    return json.dumps({**made, **changes}).encode()


CASE = Case(
    vendor="zigbee2mqtt",
    setup=setup("zigbee2mqtt", "berlin-tag"),
    samples=[
        Sample(
            name="tag",
            body=shown(),
            becomes=[("door.access", "badge:1A2B3C4D")],
            again=shown(linkquality=96),
            again_after=timedelta(seconds=3),
            topic=TOPIC,
        ),
        Sample(name="PIN", body=shown(action_code="4711"), becomes=[("door.access", None)], topic=TOPIC),
        Sample(name="occupancy", body=b'{"occupancy":true,"linkquality":120}', becomes=[], topic=TOPIC),
        Sample(name="panic", body=shown(action="panic"), becomes=[], topic=TOPIC),
        Sample(name="bridge", body=b'{"state":"online"}', becomes=[], topic="zigbee2mqtt/bridge/state"),
        Sample(name="availability", body=b"online", becomes=[], topic="zigbee2mqtt/berlin-tag/availability"),
    ],
)
