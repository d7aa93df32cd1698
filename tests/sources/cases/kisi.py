"""Kisi: lock.unlock as docs.kisi.io shows it, with invented values."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from meter.sources.spec import Delivery, Setup
from tests.sources.case import KEYS, Case, Sample, setup

_UNLOCK: Mapping[str, Any] = {
    "uuid": "5a9b33f4-96a8-4e4c-8c2f-1f4f7a0d1a3e",
    "actor_type": "User",
    "actor_id": 4711,
    "actor_name": "Mira Muster",
    "object_type": "Lock",
    "object_id": 2402,
    "object_name": "Front door",
    "organization_id": 12,
    "place_id": 34,
    "success": True,
    "type": "lock.unlock",
    "error_code": None,
    "error_message": None,
    "created_at": "2026-03-02T08:01:27Z",
}


def unlock(**changes: Any) -> bytes:
    return json.dumps({**_UNLOCK, **changes}).encode()


def sign(_setup: Setup, key: str, delivery: Delivery) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return {"x-signature": hmac.new(key.encode(), delivery.body, hashlib.sha256).hexdigest()}, {}


CASE = Case(
    vendor="kisi",
    setup=setup("kisi", "front", secrets=KEYS),
    sign=sign,
    samples=[
        Sample(
            name="lock.unlock",
            body=unlock(),
            becomes=[("door.access", "kisi:4711")],
            again=json.dumps(dict(sorted(_UNLOCK.items())), indent=1).encode(),
            required=["uuid", "type", "object_id", "success", "created_at"],
        ),
        Sample(
            name="denied",
            body=unlock(success=False, error_code="lock_access_denied", error_message="Not allowed"),
            becomes=[("door.access", "kisi:4711")],
        ),
        Sample(
            name="exit button",
            body=unlock(actor_type=None, actor_id=None, actor_name=None),
            becomes=[("door.access", None)],
        ),
        Sample(
            name="link", body=unlock(actor_type="GroupLink", actor_name="For guests"), becomes=[("door.access", None)]
        ),
        Sample(name="lockdown", body=unlock(type="lock.lockdown"), becomes=[]),
    ],
)
