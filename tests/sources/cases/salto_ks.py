"""SALTO KS: entries with the fields that the vendor's own client knows, with invented values."""

import json
from typing import Any

from tests.sources.case import Asked, Case, setup

OPTIONS = {
    "site_id": "5f0c1a",
    "client_id": "the-client",
    "token_url": "https://identity.example/connect/token",
    "scope": "user_api.full_access",
}


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "id": "en-1001",
        "event_category": "Entry",
        "event_detail": None,
        "utc_date_time": "2026-03-02T08:01:27Z",
        "local_date_time": "2026-03-02T09:01:27",
        "lock_id": "lock-7",
        "lock_customer_reference": "Front door",
        "accessor_id": "ac-31",
        "access_by": "tag",
        "exit_requested": False,
        **changes,
    }


def page(*entries: Any, token: str | None = None) -> bytes:
    return json.dumps({"items": list(entries), "continuation_token": token}).encode()


CASE = Case(
    vendor="salto-ks",
    setup=setup(
        "salto-ks", "office", options=OPTIONS, api_base="https://user-api.example", api_key="the-client-secret"
    ),
    samples=[],
    answers=[
        Asked(
            name="entries",
            by="entries",
            body=page(
                entry(),
                entry(id="en-1002", event_category="Rejection", event_detail="No access"),
                entry(id="en-1003", accessor_id=None),
                entry(id="en-1004", access_by="RemoteUnlock"),
            ),
            becomes=[
                ("door.access", "salto:ac-31"),
                ("door.access", "salto:ac-31"),
                ("door.access", None),
                ("door.access", None),
            ],
        ),
        Asked(name="nothing", by="entries", body=page(), becomes=[]),
    ],
)
