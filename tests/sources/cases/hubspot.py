"""HubSpot: batches as its documentation shows them, signed with version 3."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from meter.sources.spec import Delivery, Setup
from tests.sources.case import KEYS, Asked, Case, Sample, setup

URL = "https://meter.example/hooks/hubspot/main"


def sign(setup: Setup, key: str, delivery: Delivery) -> tuple[Mapping[str, str], Mapping[str, str]]:
    stamp = str(int(delivery.received_at.timestamp() * 1000))
    signed = b"POST" + (setup.url or "").encode() + delivery.body + stamp.encode()
    made = base64.b64encode(hmac.new(key.encode(), signed, hashlib.sha256).digest()).decode()
    return {"x-hubspot-signature-v3": made, "x-hubspot-request-timestamp": stamp}, {}


WON: Mapping[str, Any] = {
    "eventId": 100,
    "subscriptionId": 12345,
    "portalId": 62515,
    "appId": 54321,
    "occurredAt": 1772442000000,
    "subscriptionType": "deal.propertyChange",
    "attemptNumber": 0,
    "objectId": 9001,
    "propertyName": "dealstage",
    "propertyValue": "closedwon",
    "changeSource": "CRM_UI",
}


DEAL: dict[str, Any] = {
    "id": "9001",
    "properties": {
        "dealname": "ACME moves in",
        "dealstage": "closedwon",
        "closedate": "2026-03-01T00:00:00Z",
        "hs_lastmodifieddate": "2026-03-02T09:00:00.123Z",
        "plan": "Flex",
    },
    "associations": {"contacts": {"results": [{"id": "51", "type": "deal_to_contact"}, {"id": "51"}, {"id": "52"}]}},
}
CONTACT: dict[str, Any] = {
    "id": "51",
    "properties": {
        "firstname": "Ada",
        "lastname": "Lovelace",
        "email": "ada@acme.example",
        "company": "ACME",
        "lastmodifieddate": "2026-03-01T00:00:00Z",
    },
}


def batch(*changes: Mapping[str, Any]) -> bytes:
    return json.dumps(changes).encode()


CASE = Case(
    vendor="hubspot",
    setup=setup("hubspot", secrets=KEYS, url=URL, api_key="the-token"),
    sign=sign,
    signed_time=True,
    samples=[
        Sample(
            name="deal.propertyChange",
            body=batch(WON),
            again=batch({**WON, "attemptNumber": 3}),
            becomes=[("source.changed", None)],
            required=["0.subscriptionType", "0.objectId", "0.eventId", "0.occurredAt"],
        ),
        Sample(
            name="others",
            body=batch(
                {**WON, "propertyValue": "qualifiedtobuy"},
                {**WON, "subscriptionType": "contact.creation", "propertyName": None},
            ),
            becomes=[],
        ),
    ],
    answers=[
        Asked(
            name="deal",
            by="deal",
            body=json.dumps(DEAL).encode(),
            becomes=[("source.changed", None)] * 2,
            wanted={"kind": "deal", "object": "9001"},
        ),
        Asked(
            name="contact",
            by="contact",
            body=json.dumps(CONTACT).encode(),
            becomes=[("directory.draft", None)] * 2,
            wanted={"kind": "contact", "object": "51", "company": None, "at": "2026-03-02T09:00:00Z"},
        ),
    ],
)
