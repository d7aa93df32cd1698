"""Cobot: thin notices, as its documentation of webhooks shows them, and a booking that was deleted."""

import json

from tests.sources.case import KEYS, Asked, Case, Sample, by_token, setup

BASE = "https://co-up.cobot.example"
BOOKING = {
    "id": "b17",
    "from": "2026/03/02 10:00:00 +0100",
    "to": "2026/03/02 12:30:00 +0100",
    "title": "Board",
    "resource": {"id": "r1", "name": "Room 1"},
    "membership": {"id": "m93207605", "name": "Ada Lovelace"},
    "created_at": "2026/02/20 09:00:00 +0000",
    "updated_at": "2026/03/01 18:00:00 +0000",
}
MEMBERSHIP = {
    "id": "m93207605",
    "name": "Ada Lovelace",
    "email": None,
    "user": {"id": "u1", "email": "ada@acme.example"},
    "address": {"company": "ACME GmbH"},
    "plan": {"id": "p1", "name": "Flex 10"},
    "confirmed_at": "2026/01/01 12:00:00 +0000",
    "canceled_to": "2026/12/31",
    "updated_at": "2026/03/01 18:00:00 +0000",
}


def notice(path: str) -> bytes:
    return json.dumps({"url": BASE + path}).encode()


CASE = Case(
    vendor="cobot",
    setup=setup("cobot", secrets=KEYS, api_base=BASE, api_key="the-token", timezone="Europe/Berlin"),
    sign=by_token,
    tamper=False,
    samples=[
        Sample(name="created_booking", body=notice("/api/bookings/b17"), becomes=[("source.changed", None)]),
        Sample(
            name="confirmed_membership", body=notice("/api/memberships/m93207605"), becomes=[("source.changed", None)]
        ),
        Sample(name="created_invoice", body=notice("/api/invoices/9"), becomes=[]),
        Sample(
            name="deleted_booking",
            body=json.dumps(BOOKING).encode(),
            becomes=[("room.booking", "cobot:m93207605")],
            required=["id", "from", "to", "resource.id"],
        ),
        Sample(name="deleted_membership", body=json.dumps(MEMBERSHIP).encode(), becomes=[]),
    ],
    answers=[
        Asked(
            name="booking",
            by="booking",
            body=json.dumps(BOOKING).encode(),
            becomes=[("room.booking", "cobot:m93207605")],
            wanted={"kind": "booking", "object": "b17", "at": "2026-03-02T09:30:00Z"},
        ),
        Asked(
            name="membership",
            by="membership",
            body=json.dumps(MEMBERSHIP).encode(),
            becomes=[("directory.draft", None)] * 3,
            wanted={"kind": "membership", "object": "m93207605", "at": "2026-03-02T09:30:00Z"},
        ),
        Asked(
            name="gone",
            by="booking",
            body=b"",
            status=404,
            becomes=[],
            wanted={"kind": "booking", "object": "b17", "at": "2026-03-02T09:30:00Z"},
        ),
    ],
)
