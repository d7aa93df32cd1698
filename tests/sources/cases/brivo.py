"""Brivo: events of a subscription as a public consumer of them reads them, with invented values."""

import json
from typing import Any

from tests.sources.case import KEYS, Case, Sample, by_token, setup


def event(*, data: dict[str, Any] | None = None, **changes: Any) -> bytes:
    made = {
        "uuid": "8f6f0e2c-32ab-4bd5-8c67-35d2be2cb5a1",
        "occurred": "2026-03-02T08:01:27Z",
        "actor": {"id": 889, "name": "Mira Muster"},
        "eventData": {
            "actionAllowed": True,
            "objectName": "Front door",
            "credentials": [{"id": 5501, "disabled": False}],
            **(data or {}),
        },
    }
    return json.dumps({**made, **changes}).encode()


CASE = Case(
    vendor="brivo",
    setup=setup("brivo", "office", secrets=KEYS),
    sign=by_token,
    tamper=False,
    samples=[
        Sample(
            name="access",
            body=event(),
            becomes=[("door.access", "brivo:889")],
            again=event(processed="2026-03-05T00:00:00Z"),
            required=["occurred", "eventData.actionAllowed", "eventData.objectName", "eventData"],
        ),
        Sample(
            name="without uuid",
            body=event(uuid=None),
            becomes=[("door.access", "brivo:889")],
            again=event(uuid=None, processed="2026-03-05T00:00:00Z"),
        ),
        Sample(name="denied", body=event(data={"actionAllowed": False}), becomes=[("door.access", "brivo:889")]),
        Sample(name="exit button", body=event(data={"credentials": []}), becomes=[("door.access", None)]),
        Sample(name="credential 0", body=event(data={"credentials": [{"id": 0}]}), becomes=[("door.access", None)]),
        Sample(
            name="door held open",
            body=event(actor={"id": 0}, data={"actionAllowed": None, "credentials": []}),
            becomes=[],
        ),
    ],
)
