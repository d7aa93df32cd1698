"""esp-rfid: what a board sends, as the firmware's MQTT guide shows it, with invented values."""

import json
from typing import Any

from tests.sources.case import Case, Sample, setup

TOPIC = "rfid/send"
BADGE = "badge:04A2B3C4D5"


def shown(**changes: Any) -> bytes:
    made = {
        "type": "access",
        "time": 1772438487,
        "isKnown": "true",
        "access": "Always",
        "username": "Mira Muster",
        "uid": "04a2b3c4d5",
        "hostname": "door-main",
        "doorName": "Main",
    }
    return json.dumps({name: value for name, value in {**made, **changes}.items() if value is not ...}).encode()


CASE = Case(
    vendor="esp-rfid",
    setup=setup("esp-rfid", "rfid", timezone="Europe/Berlin"),
    samples=[
        Sample(
            name="access",
            body=shown(),
            becomes=[("door.access", BADGE)],
            again=shown(uid="04-A2-B3-C4-D5"),
            required=["access"],
            topic=TOPIC,
        ),
        Sample(
            name="two doors",
            body=shown(access=["Always", "Disabled"], doorName=["Main", "Studio"]),
            becomes=[("door.access", BADGE), ("door.access", BADGE)],
            topic=TOPIC,
        ),
        Sample(
            name="unknown",
            body=shown(isKnown="false", access="Denied", username="Unknown", uid="deadbeef", doorName=...),
            becomes=[("door.access", "badge:DEADBEEF")],
            topic=TOPIC,
        ),
        Sample(
            name="Home Assistant",
            body=b'{"uid":"04a2b3c4d5","username":"Mira Muster","access":"Always","time":1772438487}',
            becomes=[("door.access", BADGE)],
            topic="rfid/tag",
        ),
        Sample(
            name="command",
            body=shown(username="MQTT", uid=" ", doorName=...),
            becomes=[("door.access", None)],
            topic=TOPIC,
        ),
        Sample(
            name="boot",
            body=b'{"type":"boot","time":12,"uptime":0,"ip":"192.0.2.50","hostname":"door-main"}',
            becomes=[],
            topic=TOPIC,
        ),
        Sample(
            name="warning",
            body=b'{"type":"WARN","src":"rfid","desc":"Unknown rfid tag is scanned","data":"","time":1772438600}',
            becomes=[],
            topic=TOPIC,
        ),
        Sample(
            name="user list",
            body=b'{"command":"userfile","uid":"1234","user":"Mira Muster","acctype":1}',
            becomes=[],
            topic=TOPIC,
        ),
    ],
)
