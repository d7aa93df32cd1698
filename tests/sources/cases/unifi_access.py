"""UniFi Access: access.door.unlock as public receivers and the API's reference show it, with invented values."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from meter.sources.spec import Delivery, Setup
from tests.sources.case import KEYS, Asked, Case, Sample, setup

DOOR = "e4978b83-203d-4015-97df-b86efc91cb0c"
PERSON = "17d2f099-99df-429b-becb-1399a6937e5a"
PUBLISHED = 1772438487000


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


def row(*, event: Mapping[str, Any] | None = None, **source: Any) -> dict[str, Any]:
    """A row of the log as the reference shows it, with a door and a person."""
    return {
        "@timestamp": "2026-03-02T08:01:27Z",
        "_id": "",
        "tag": "access",
        "_source": {
            "actor": {"id": PERSON, "type": "user", "display_name": "Mira Muster", "alternate_id": ""},
            "authentication": {"credential_provider": "NFC", "issuer": "6FC02554"},
            "event": {
                "type": "access.door.unlock",
                "display_message": "Access Granted (NFC)",
                "published": PUBLISHED,
                "reason": "",
                "result": "ACCESS",
                **(event or {}),
            },
            "target": [
                {"type": "UAH", "id": "7483c2773855", "display_name": "UA-HUB-3855"},
                {"type": "device_config", "id": "door_entry_method", "display_name": "exit"},
                {"type": "door", "id": DOOR, "display_name": "Front door"},
            ],
            **source,
        },
    }


def page(*rows: Any) -> bytes:
    return json.dumps({"code": "SUCCESS", "data": {"hits": list(rows), "page": 1, "total": 4}}).encode()


def sign(_setup: Setup, key: str, delivery: Delivery) -> tuple[Mapping[str, str], Mapping[str, str]]:
    at = int(delivery.received_at.timestamp())
    value = hmac.new(key.encode(), f"{at}.".encode() + delivery.body, hashlib.sha256).hexdigest()
    return {"signature": f"t={at},v1={value}"}, {}


CASE = Case(
    vendor="unifi-access",
    setup=setup("unifi-access", "hub", secrets=KEYS, api_base="https://192.0.2.7:12445"),
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
    # Without an api_key the webhooks count, and the poll's rows do not.
    answers=[
        Asked(name="poll", by="log", body=page(row()), becomes=[]),
        Asked(
            name="look",
            by="log",
            wanted={"since": 1772438400, "until": 1772438700},
            body=page(row(), row(actor={"id": ""}, event={"result": "BLOCKED"}), row(event={"type": "access.other"})),
            becomes=[("door.access", f"unifi:{PERSON}"), ("door.access", "badge:6FC02554")],
        ),
    ],
)
