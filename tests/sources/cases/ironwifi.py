"""IronWiFi: sessions as its hosted RADIUS passes them on; the fields' names are RADIUS' own."""

import hmac
import json
from collections.abc import Mapping
from typing import Any

from meter.sources.spec import Delivery, Setup
from tests.sources.case import KEYS, Case, Sample, setup


def sign(_setup: Setup, key: str, delivery: Delivery) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return {"x-ironwifi-signature": hmac.new(key.encode(), delivery.body, "sha256").hexdigest()}, {}


def webhook(event: str, **changes: Any) -> bytes:
    data = {
        "username": "ada@acme.example",
        "acct_session_id": "iw-17",
        "calling_station_id": "AA:BB:CC:DD:EE:01",
        "called_station_id": "00:10:a4:23:19:c0:Guests",
        "nas_identifier": "ap-lobby",
        "acct_session_time": 60,
        "acct_input_octets": 10,
        "acct_output_octets": 20,
        "timestamp": "2026-03-02T08:05:09Z",
    } | changes
    return json.dumps({"event": event, "data": data}).encode()


_ADA = ("wifi.session", "email:ada@acme.example")

CASE = Case(
    vendor="ironwifi",
    setup=setup("ironwifi", "hosted", secrets=KEYS),
    sign=sign,
    samples=[
        Sample(
            name="session.stop",
            body=webhook("session.stop"),
            again=webhook("session.stop", acct_delay_time=12),
            becomes=[_ADA],
            required=["event", "data.acct_session_id"],
        ),
        Sample(name="session.start", body=webhook("session.start", acct_session_time=None), becomes=[_ADA]),
        Sample(name="session.update", body=webhook("session.update"), becomes=[_ADA]),
        Sample(name="auth.accept", body=webhook("auth.accept"), becomes=[]),
    ],
)
