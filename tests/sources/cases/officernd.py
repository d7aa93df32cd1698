"""OfficeRnD: objects as its reference names their fields; signed as its own demo does."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from meter.sources.spec import Delivery, Setup
from tests.sources.case import KEYS, Case, Sample, setup


def sign(_setup: Setup, key: str, delivery: Delivery) -> tuple[Mapping[str, str], Mapping[str, str]]:
    stamp = str(int(delivery.received_at.timestamp()))
    made = hmac.new(key.encode(), delivery.body + b"." + stamp.encode(), hashlib.sha256).hexdigest()
    return {"officernd-signature": f"t={stamp},signature={made}"}, {}


def webhook(event: str, thing: Mapping[str, Any], **more: Any) -> bytes:
    return json.dumps({"eventType": event, "data": {"object": thing}, **more}).encode()


BOOKING: Mapping[str, Any] = {
    "_id": "65e1c0ffee",
    "resourceId": "65aa01",
    "start": {"dateTime": "2026-03-02T09:00:00.000Z"},
    "end": {"dateTime": "2026-03-02T10:30:00.000Z"},
    "member": "65bb01",
    "team": "65cc01",
    "canceled": False,
    "tentative": False,
    "summary": "Board",
    "createdAt": "2026-02-20T08:00:00.000Z",
    "modifiedAt": "2026-03-01T17:00:00.000Z",
}
MEMBER = {
    "_id": "65bb01",
    "name": "Ada",
    "email": "Ada@ACME.example",
    "team": "65cc01",
    "modifiedAt": "2026-03-01T17:00:00Z",
}
MEMBERSHIP = {
    "_id": "65dd01",
    "name": "Flex 10",
    "plan": "65ee01",
    "team": "65cc01",
    "member": None,
    "startDate": "2026-01-01T00:00:00.000Z",
    "endDate": None,
    "modifiedAt": "2026-03-01T17:00:00Z",
}

CASE = Case(
    vendor="officernd",
    setup=setup("officernd", secrets=KEYS, timezone="Europe/Berlin", options={"plans": {"65ee01": "flex-10"}}),
    sign=sign,
    signed_time=True,
    samples=[
        Sample(
            name="booking.created",
            body=webhook("booking.created", BOOKING),
            again=webhook("booking.updated", BOOKING, attempt=2),
            becomes=[("room.booking", "officernd:65bb01")],
            required=["eventType", "data.object._id", "data.object.resourceId", "data.object.start.dateTime"],
        ),
        Sample(
            name="booking.removed",
            body=webhook("booking.removed", {**BOOKING, "member": None}),
            becomes=[("room.booking", "officernd:65cc01")],
        ),
        Sample(name="member.updated", body=webhook("member.updated", MEMBER), becomes=[("directory.draft", None)]),
        Sample(
            name="company.created",
            body=webhook("company.created", {"_id": "65cc01", "name": "ACME", "modifiedAt": "2026-03-01T17:00:00Z"}),
            becomes=[("directory.draft", None)],
            required=["data.object._id"],
        ),
        Sample(
            name="membership.created",
            body=webhook("membership.created", MEMBERSHIP),
            becomes=[("directory.draft", None)],
            required=["data.object._id", "data.object.team"],
        ),
        Sample(name="member.removed", body=webhook("member.removed", MEMBER), becomes=[]),
        Sample(name="fee.created", body=webhook("fee.created", {"_id": "65ff01"}), becomes=[]),
    ],
)
