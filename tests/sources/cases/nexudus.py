"""Nexudus: arrays of whole entities, as its reference names their fields."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from meter.sources.spec import Delivery, Setup
from tests.sources.case import KEYS, Asked, Case, Sample, setup


def sign(_setup: Setup, key: str, delivery: Delivery) -> tuple[Mapping[str, str], Mapping[str, str]]:
    made = hmac.new(key.encode(), delivery.body, hashlib.sha256).hexdigest().upper()
    return {"x-nexudus-hook-signature": made}, {}


def entities(*given: Mapping[str, Any]) -> bytes:
    return json.dumps(list(given)).encode()


BOOKING: Mapping[str, Any] = {
    "Id": 1234567,
    "UniqueId": "0b9c5c3e-1111-4222-8333-444455556666",
    "ResourceId": 77,
    "ResourceName": "Room 7",
    "CoworkerId": 4711,
    "CoworkerFullName": "Ada Lovelace",
    "FromTime": "2026-03-02T09:00:00Z",
    "ToTime": "2026-03-02T11:00:00Z",
    "Tentative": False,
    "Invoiced": False,
    "CreatedOn": "2026-02-20T08:00:00Z",
    "UpdatedOn": "2026-03-01T17:00:00Z",
}
COWORKER: Mapping[str, Any] = {
    "Id": 4711,
    "UniqueId": "1b9c5c3e-1111-4222-8333-444455556666",
    "CoworkerType": 1,
    "FullName": "Ada Lovelace",
    "Email": "ada@acme.example",
    "CompanyName": "ACME GmbH",
    "AccessCardId": "04A2991B",
    "TariffId": 5,
    "UpdatedOn": "2026-03-01T17:00:00Z",
}
CONTRACT: Mapping[str, Any] = {
    "Id": 99,
    "CoworkerId": 4711,
    "TariffId": 5,
    "TariffName": "Flex 10",
    "StartDate": "2026-01-01T00:00:00Z",
    "CancellationDate": None,
    "UpdatedOn": "2026-03-01T17:00:00Z",
}

CASE = Case(
    vendor="nexudus",
    setup=setup("nexudus", secrets=KEYS, options={"plans": {"Flex 10": "flex-10"}}),
    sign=sign,
    samples=[
        Sample(
            name="booking",
            body=entities(BOOKING),
            again=entities({**BOOKING, "Invoiced": True}),
            becomes=[("room.booking", "nexudus:4711")],
            required=["0.UniqueId", "0.ResourceId", "0.FromTime", "0.ToTime", "0.UpdatedOn"],
        ),
        Sample(
            name="coworker",
            body=entities(COWORKER),
            becomes=[("directory.draft", None), ("directory.draft", None)],
            required=["0.Id", "0.UpdatedOn"],
        ),
        Sample(name="contract", body=entities(CONTRACT), becomes=[("directory.draft", None)], required=["0.Id"]),
        Sample(name="product", body=entities({"Id": 1, "Name": "Coffee"}), becomes=[]),
    ],
    answers=[
        Asked(
            name="bookings",
            by="bookings",
            body=json.dumps({"Records": [BOOKING], "HasNextPage": False}).encode(),
            becomes=[("room.booking", "nexudus:4711")],
        ),
        Asked(
            name="a later page",
            by="bookings",
            body=json.dumps({"Records": [BOOKING], "HasNextPage": True}).encode(),
            becomes=[("room.booking", "nexudus:4711")],
            cursor={"since": "2026-03-01T09:30:00Z", "page": 2, "newest": "2026-03-01T16:00:00Z"},
        ),
    ],
)
