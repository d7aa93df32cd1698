"""Webhooks as Square sends them (shape of its api.json of 2025-08-19), signed by the formula."""

import base64
import hashlib
import hmac
import json
from typing import Any

URL = "https://meter.example/hooks/square/till"
KEYS = ["the-active-key", "the-next-key"]


def payment(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": "hYy9pRFVxpDsO1FB05SunFWUe9JZY",
        "created_at": "2026-03-02T08:01:27.120Z",
        "updated_at": "2026-03-02T08:01:28.000Z",
        "amount_money": {"amount": 420, "currency": "EUR"},
        "tip_money": {"amount": 50, "currency": "EUR"},
        "total_money": {"amount": 470, "currency": "EUR"},
        "status": "COMPLETED",
        "source_type": "CARD",
        "order_id": "03O3USaPaAaFnI6kkwB1JxGgBsUZY",
        "customer_id": "RDX9Z4XTIZR7MRZJUXNY9HUK6I",
        "version_token": "H8Vnk5Z11SKcueuRti79jGpszSEsSVdhKRrSKCOzILG6o",
    } | changes
    return {name: value for name, value in made.items() if value is not None}


def webhook(kind: str = "payment.created", **changes: Any) -> bytes:
    return notification(kind, "payment", payment(**changes))


def notification(kind: str, name: str, content: dict[str, Any]) -> bytes:
    envelope = {
        "merchant_id": "6SSW7HV8K2ST5",
        "type": kind,
        "event_id": "13b867cf-db3d-4b1c-90b6-2f32a9d78124",
        "created_at": "2026-03-02T08:01:28.120Z",
        "data": {"type": name, "id": "hYy9pRFVxpDsO1FB05SunFWUe9JZY", "object": {name: content}},
    }
    return json.dumps(envelope).encode()


def signature(body: bytes, *, key: str = KEYS[0], url: str = URL) -> str:
    return base64.b64encode(hmac.new(key.encode(), url.encode() + body, hashlib.sha256).digest()).decode()
