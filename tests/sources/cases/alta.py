"""Avigilon Alta: the three events of one unlock, with the default paths and invented values."""

import json
from typing import Any

from tests.sources.case import KEYS, Case, Sample, by_token, setup


def hook(kind: str = "entry.unlocked", **changes: Any) -> bytes:
    made = {
        "type": kind,
        "id": "ev-1001",
        "time": 1772438487,
        "entry": {"id": 77, "name": "Front door"},
        "user": {"id": 301, "email": "mira@example.com"},
    }
    return json.dumps({**made, **changes}).encode()


CASE = Case(
    vendor="alta",
    setup=setup("alta", "office", secrets=KEYS),
    sign=by_token,
    tamper=False,
    samples=[
        Sample(
            name="unlocked",
            body=hook(),
            becomes=[("door.access", "alta:301")],
            again=hook(attempt=2),
            required=["type", "time", "entry.id"],
        ),
        Sample(name="authenticated", body=hook("entry.authenticated", id="ev-999"), becomes=[]),
        Sample(name="authorized", body=hook("entry.authorized", id="ev-1000"), becomes=[]),
        Sample(name="not authorized", body=hook("entry.authorized.failed"), becomes=[("door.access", "alta:301")]),
        Sample(name="exit button", body=hook(user=None), becomes=[("door.access", None)]),
        Sample(name="forced open", body=hook("entry.forcedOpen"), becomes=[]),
    ],
)
