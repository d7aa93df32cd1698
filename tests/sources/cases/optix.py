"""Optix: thin notices; the names of their fields are settings."""

import json

from tests.sources.case import KEYS, Asked, Case, Sample, by_token, setup

BOOKING = {
    "id": 8123,
    "start": 1772442000,
    "end": 1772449200,
    "cancelled": False,
    "updated": 1772438400,
    "resource": {"id": 5, "name": "Booth"},
    "account": {"member": 77, "team": None},
}


def notice(event: str) -> bytes:
    return json.dumps({"event": event, "booking_id": "8123"}).encode()


CASE = Case(
    vendor="optix",
    setup=setup("optix", secrets=KEYS, api_key="the-token"),
    sign=by_token,
    tamper=False,
    samples=[
        Sample(
            name="member_booking_created",
            body=notice("member_booking_created"),
            becomes=[("source.changed", None)],
            required=["event", "booking_id"],
        ),
        Sample(name="plan_created", body=notice("plan_created"), becomes=[]),
    ],
    answers=[
        Asked(
            name="booking",
            by="booking",
            body=json.dumps({"data": {"booking": BOOKING}}).encode(),
            becomes=[("room.booking", "optix:77")],
            wanted={"kind": "booking", "object": "8123", "at": "2026-03-02T09:30:00Z"},
        ),
    ],
)
