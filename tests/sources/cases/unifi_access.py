"""UniFi Access: access.door.unlock as public receivers and the API's reference show it, with invented values."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from meter.sources.spec import Delivery, Setup
from tests.sources.case import KEYS, Case, Sample, setup

DOOR = "e4978b83-203d-4015-97df-b86efc91cb0c"
PERSON = "17d2f099-99df-429b-becb-1399a6937e5a"


def unlock(event: str = "access.door.unlock", *, actor: Any = ..., seen: Mapping[str, Any] | None = None) -> bytes:
    made = {
        "event": event,
        "event_object_id": "3ce01b8e-d6d4-4a43-b7a5-5b1f0a8b1ee1",
        "data": {
            "location": {"id": DOOR, "location_type": "door", "name": "Front door", "up_id": "1f", "extras": {}},
            "device": {"name": "UA-HUB", "id": "7483c2773855", "device_type": "UAH"},
            "actor": {"id": PERSON, "name": "Mira Muster", "type": "user"} if actor is ... else actor,
            "object": {
                "authentication_type": "NFC",
                "authentication_value": "6FC02554",
                "result": "Access Granted",
                **(seen or {}),
            },
        },
    }
    return json.dumps(made).encode()


def sign(_setup: Setup, key: str, delivery: Delivery) -> tuple[Mapping[str, str], Mapping[str, str]]:
    at = int(delivery.received_at.timestamp())
    value = hmac.new(key.encode(), f"{at}.".encode() + delivery.body, hashlib.sha256).hexdigest()
    return {"signature": f"t={at},v1={value}"}, {}


CASE = Case(
    vendor="unifi-access",
    setup=setup("unifi-access", "hub", secrets=KEYS),
    sign=sign,
    signed_time=True,
    samples=[
        Sample(
            name="unlock",
            body=unlock(),
            becomes=[("door.access", f"unifi:{PERSON}")],
            again=unlock(seen={"policy_name": "renamed in between"}),
            again_after=timedelta(seconds=9),
            required=["event", "data.location.id", "data.object.result"],
        ),
        Sample(
            name="denied",
            body=unlock(actor={"id": "", "name": "N/A"}, seen={"result": "Access Denied / Unknown (NFC)"}),
            becomes=[("door.access", "badge:6FC02554")],
        ),
        Sample(
            name="remote",
            body=unlock(seen={"authentication_type": "REMOTE_THROUGH_UAH", "authentication_value": ""}),
            becomes=[("door.access", None)],
        ),
        Sample(
            name="button",
            body=unlock(actor=None, seen={"authentication_type": "REX"}),
            becomes=[("door.access", None)],
        ),
        Sample(name="doorbell", body=unlock("access.doorbell.incoming"), becomes=[]),
    ],
)
