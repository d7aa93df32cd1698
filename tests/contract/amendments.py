"""What the vendors' documents leave out, and the vendors say elsewhere: put in before a document is served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

_ANYWHERE = ""
_COMPANY = "/v3/company/{realmId}"
_STRIPE_METADATA = {
    "maxProperties": 50,
    "propertyNames": {"maxLength": 40, "pattern": r"^[^\[\]]+$"},
    "additionalProperties": {"type": "string", "maxLength": 500},
}
_SQUARE_METADATA = {
    "maxProperties": 10,
    "propertyNames": {"maxLength": 60, "pattern": "^[A-Za-z0-9_-]+$"},
    "additionalProperties": {"type": "string", "maxLength": 255},
}
_METER_EVENT = (("event_name", {"maxLength": 100}), ("identifier", {"maxLength": 100}))


@dataclass(frozen=True, slots=True)
class _Limit:
    """What holds of each property `name` in what is sent to paths that contain `path`; without a name, of the body."""

    path: str
    name: str
    rule: Mapping[str, Any]


_LIMITS: Mapping[str, Sequence[_Limit]] = {
    "quickbooks": [
        _Limit(_ANYWHERE, "DocNumber", {"maxLength": 21}),
        _Limit("/batch", "bId", {"maxLength": 10}),
        _Limit("/journalentry", "Line", {"items": {"required": ["Amount", "DetailType", "JournalEntryLineDetail"]}}),
        _Limit("/journalentry", "JournalEntryLineDetail", {"required": ["AccountRef", "PostingType"]}),
        _Limit("/journalentry", "Entity", {"required": ["EntityRef", "Type"]}),
    ],
    "square": [
        _Limit("/v2/refunds", "idempotency_key", {"maxLength": 45}),
        _Limit("/v2/orders", "metadata", _SQUARE_METADATA),
    ],
    "stripe": [
        _Limit(_ANYWHERE, "metadata", _STRIPE_METADATA),
        _Limit("/v1/invoiceitems", "", {"anyOf": [{"required": ["customer"]}, {"required": ["customer_account"]}]}),
        *(_Limit("/v1/billing/meter_event", name, rule) for name, rule in _METER_EVENT),
    ],
    "stripe-v2": [
        _Limit("/meter_event_stream", "events", {"minItems": 1, "maxItems": 100}),
        _Limit(_ANYWHERE, "timestamp", {"format": "date-time"}),
        *(_Limit(_ANYWHERE, name, rule) for name, rule in _METER_EVENT),
    ],
    "xero": [
        _Limit(_ANYWHERE, "Tracking", {"maxItems": 2}),
        _Limit("/ManualJournals", "JournalLines", {"items": {"required": ["LineAmount"]}}),
        _Limit("/TrackingCategories", "", {"required": ["Name"]}),
    ],
}
# An item is created at this path; at those below it one is changed.
_EXACTLY = frozenset({"/v1/invoiceitems"})


def amended(name: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the document of this name, with what it leaves out."""
    changed = deepcopy(dict(document))
    for limit in _LIMITS.get(name, ()):
        for schema in _bodies(changed, limit.path):
            for one in _named(schema, limit.name) if limit.name else [schema]:
                _merge(one, limit.rule)
    if name == "quickbooks":
        _quickbooks_reads(changed)
        _quickbooks_changes(changed)
    if name == "xero":
        changed["components"]["parameters"]["idempotencyKey"]["schema"]["maxLength"] = 128
    return changed


def _quickbooks_reads(document: dict[str, Any]) -> None:
    """Put in queries, reading by id and the company's own record, which no schema describes."""
    like = document["paths"][f"{_COMPANY}/invoice"]["post"]
    realm, version = like["parameters"][:2]
    text = {"required": True, "schema": {"type": "string", "minLength": 1}}
    content = {"application/json": {"example": {"QueryResponse": {}}, "schema": {"type": "object"}}}
    read = {
        "parameters": [realm, version],
        "security": like.get("security", document["security"]),
        "responses": {"200": {"description": "ok", "content": content}},
    }
    by_id = [template for template in document["paths"] if template != f"{_COMPANY}/batch"]
    number = {"name": "id", "in": "path", **text}
    for template in by_id:
        answers = {"200": document["paths"][template]["post"]["responses"]["200"]}
        by_number = {**read, "parameters": [realm, version, number], "responses": answers}
        document["paths"][f"{template}/{{id}}"] = {"get": by_number}
    document["paths"][f"{_COMPANY}/companyinfo/{{id}}"] = {"get": {**read, "parameters": [realm, version, number]}}
    query = {"name": "query", "in": "query", **text}
    document["paths"][f"{_COMPANY}/query"] = {"get": {**read, "parameters": [realm, version, query]}}


def _quickbooks_changes(document: dict[str, Any]) -> None:
    """Let what is deleted, voided or changed in part be named by id alone; a class and a department need a name.

    The key of a batch is shorter than others.
    """
    for template in (f"{_COMPANY}/class", f"{_COMPANY}/department"):
        for schema in _bodies(document, template):
            schema["required"] = ["Name"]
    for schema in _bodies(document, _COMPANY):
        whole = schema.pop("required", [])
        if whole and "Id" in schema["properties"]:
            schema["anyOf"] = [{"required": whole}, {"required": ["Id", "SyncToken"]}]
        else:
            schema["required"] = whole
    for parameter in document["paths"][f"{_COMPANY}/batch"]["post"]["parameters"]:
        if parameter["name"] == "requestid":
            parameter["schema"] = {"type": "string", "maxLength": 36}


def _bodies(document: Mapping[str, Any], path: str) -> Iterator[dict[str, Any]]:
    for template, operations in document["paths"].items():
        if template == path or (path in template and path not in _EXACTLY):
            for method in ("post", "put"):
                content = operations.get(method, {}).get("requestBody", {}).get("content", {})
                yield from (one["schema"] for one in content.values() if "schema" in one)


def _named(node: Any, name: str) -> Iterator[dict[str, Any]]:
    """Yield the schemas of all properties of this name; where there is a choice, each branch that is no text alone."""
    if isinstance(node, dict):
        found = node.get("properties", {}).get(name)
        if found is not None:
            yield from (one for one in found.get("anyOf", [found]) if "enum" not in one)
        for one in node.values():
            yield from _named(one, name)
    elif isinstance(node, list):
        for one in node:
            yield from _named(one, name)


def _merge(schema: dict[str, Any], rule: Mapping[str, Any]) -> None:
    for key, value in rule.items():
        if isinstance(value, dict) and isinstance(schema.get(key), dict) and key == "items":
            _merge(schema[key], value)
        else:
            schema[key] = deepcopy(value)
