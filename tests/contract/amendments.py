"""What the vendors' documents leave out, and the vendors say elsewhere: put in before a document is served.

Each function returns the document changed. What a document says wrongly or not at all is listed in README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

_QUICKBOOKS_BATCH_KEY_MAX = 36
_STRIPE_METADATA = {
    "maxProperties": 50,
    "propertyNames": {"maxLength": 40, "pattern": r"^[^\[\]]+$"},
    "additionalProperties": {"type": "string", "maxLength": 500},
}


def amended(name: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the document of this name, with what it leaves out."""
    changed = deepcopy(dict(document))
    if name in _AMENDMENTS:
        _AMENDMENTS[name](changed)
    return changed


def _quickbooks(document: dict[str, Any]) -> None:
    company = document["paths"]["/v3/company/{realmId}/invoice"]["post"]
    realm, version = company["parameters"][:2]
    query = {"name": "query", "in": "query", "required": True, "schema": {"type": "string", "minLength": 1}}
    answer = {"content": {"application/json": {"example": {"QueryResponse": {}}, "schema": {"type": "object"}}}}
    document["paths"]["/v3/company/{realmId}/query"] = {
        "get": {
            "operationId": "query",
            "parameters": [realm, version, query],
            "security": company.get("security", document["security"]),
            "responses": {"200": {"description": "ok", **answer}},
        }
    }
    for parameter in document["paths"]["/v3/company/{realmId}/batch"]["post"]["parameters"]:
        if parameter["name"] == "requestid":
            parameter["schema"]["maxLength"] = _QUICKBOOKS_BATCH_KEY_MAX


def _xero(document: dict[str, Any]) -> None:
    document["components"]["parameters"]["idempotencyKey"]["schema"]["maxLength"] = 128
    for lines in ("LineItem", "ManualJournalLine"):
        document["components"]["schemas"][lines]["properties"]["Tracking"]["maxItems"] = 2


def _stripe(document: dict[str, Any]) -> None:
    for schema in _schemas(document["paths"]):
        metadata = schema.get("properties", {}).get("metadata", {})
        for branch in (metadata, *metadata.get("anyOf", ())):
            if branch.get("type") == "object":
                branch.update(deepcopy(_STRIPE_METADATA))
    items = document["paths"]["/v1/invoiceitems"]["post"]["requestBody"]["content"]
    items["application/x-www-form-urlencoded"]["schema"]["required"] = ["customer"]


def _schemas(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for one in node.values():
            yield from _schemas(one)
    elif isinstance(node, list):
        for one in node:
            yield from _schemas(one)


_AMENDMENTS: Mapping[str, Callable[[dict[str, Any]], None]] = {
    "quickbooks": _quickbooks,
    "stripe": _stripe,
    "xero": _xero,
}
