"""Tasmota: RC522 and PN532, as its documentation shows them, with invented values."""

import json
from datetime import timedelta
from typing import Any

from tests.sources.case import Case, Sample, setup

TOPIC = "tele/kiosk/SENSOR"


def shown(**changes: Any) -> bytes:
    made = {"Time": "2026-03-02T09:13:52", "RC522": {"UID": "BA839D07", "Data": "", "Type": "MIFARE 1KB"}}
    return json.dumps({name: value for name, value in {**made, **changes}.items() if value is not ...}).encode()


CASE = Case(
    vendor="tasmota-rfid",
    setup=setup("tasmota-rfid", "kiosk", timezone="Europe/Berlin"),
    samples=[
        Sample(
            name="RC522",
            body=shown(),
            becomes=[("door.access", "badge:BA839D07")],
            again=shown(RC522={"UID": "ba839d07", "Data": "written since"}),
            again_after=timedelta(days=1),
            topic=TOPIC,
        ),
        Sample(
            name="PN532",
            body=shown(RC522=..., PN532={"UID": "94D8FC5F", "DATA": "ILOVETASMOTA", "Auth": "Ok"}),
            becomes=[("door.access", "badge:94D8FC5F")],
            topic=TOPIC,
        ),
        Sample(
            name="no tag",
            body=shown(RC522={"UID": "", "Data": ""}),
            becomes=[],
            topic=TOPIC,
        ),
        Sample(
            name="energy",
            body=b'{"Time":"2026-03-02T09:13:52","ENERGY":{"Total":3.185}}',
            becomes=[],
            topic=TOPIC,
        ),
    ],
)
