"""Optix: thin notices; the names of their fields are settings."""

import json

from tests.sources.case import KEYS, Case, Sample, by_token, setup


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
)
