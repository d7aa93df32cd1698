"""Stripe's first interface: forms held against the schema of each operation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from tests.contract.judged import VIOLATIONS, Sent, Verdict
from tests.targets.fakes.forms import decode

_KEY_CHARACTERS_MAX = 255
_FORM = "application/x-www-form-urlencoded"


class StripeJudge:
    """Judges a request by the document, and answers one that fits with a small object that echoes what was sent."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._answered = 0
        # A literal path before one with parameters: /v1/invoices/search is no invoice's id.
        self._paths = [
            (re.compile(re.sub(r"\\\{[^/]+?\\\}", "([^/]+)", re.escape(template))), operations)
            for template, operations in sorted(document["paths"].items(), key=lambda item: item[0].count("{"))
        ]

    def __call__(self, sent: Sent) -> Verdict:
        if not re.fullmatch(r"Bearer \S+", sent.headers.get("authorization", "")):
            return _refused(401, "You did not provide an API key")
        found = next(
            ((match, operations) for pattern, operations in self._paths if (match := pattern.fullmatch(sent.path))),
            None,
        )
        operation = found and found[1].get(sent.method.lower())
        if found is None or operation is None:
            return _refused(404, f"Unrecognized request URL ({sent.method}: {sent.path})")
        if wrong := _wrong_in_headers(sent):
            return _refused(400, wrong)
        given: dict[str, Any] = {}
        for name, text, schema in (
            ("query", sent.query, _query_schema(operation)),
            ("body", sent.body.decode(), _body_schema(operation)),
        ):
            try:
                part = coerced(decode(text), schema)
            except ValueError as fault:
                return _refused(400, f"Invalid form in the {name}: {fault}")
            error = _worst(Draft202012Validator(schema).iter_errors(part))
            if error is not None:
                where = ".".join([name, *map(str, error.absolute_path)])
                return _refused(400, f"{where}: {error.message}", parameter=_bracketed(list(error.absolute_path)))
            given |= part
        return self._accepted(sent, operation, found[0].groups(), given)

    def _accepted(
        self, sent: Sent, operation: Mapping[str, Any], parts: tuple[str, ...], given: Mapping[str, Any]
    ) -> Verdict:
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        if "$ref" not in schema:
            answer: dict[str, Any] = {"object": "list", "data": [], "has_more": False, "url": sent.path}
            return _answered(answer)
        kind = schema["$ref"].rpartition("/")[2]
        self._answered += 1
        answer = {**given, "id": parts[0] if parts else f"{kind}_{self._answered}", "object": kind, "livemode": False}
        if sent.method == "DELETE":
            return _answered({"id": answer["id"], "object": kind, "deleted": True})
        if kind == "invoice":
            answer["status"] = "open" if sent.path.endswith("/finalize") else "draft"
        return _answered(answer)


def coerced(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return the form's text as what the schema expects; what cannot be stays text, for the check to refuse."""
    if "anyOf" in schema and "type" not in schema:
        for branch in schema["anyOf"]:
            candidate = coerced(value, branch)
            if Draft202012Validator(branch).is_valid(candidate):
                return candidate
        return value
    kind = schema.get("type")
    if isinstance(value, dict):
        known, other = schema.get("properties", {}), schema.get("additionalProperties")
        rest = other if isinstance(other, dict) else {}
        return {name: coerced(one, known.get(name, rest)) for name, one in value.items()}
    if isinstance(value, list):
        return [coerced(one, schema.get("items", {})) for one in value]
    if kind == "integer" and re.fullmatch(r"-?\d+", value):
        return int(value)
    if kind == "number" and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return float(value)
    if kind == "boolean" and value in {"true", "false"}:
        return value == "true"
    return value


def _worst(errors: Iterable[ValidationError]) -> ValidationError | None:
    """Return the error to tell of; where no branch of a choice fits, that of the branch of the right kind."""
    error: ValidationError | None = best_match(errors)
    while error is not None and (
        nearer := [one for one in error.context or () if one.validator not in {"enum", "type"}]
    ):
        error = best_match(nearer)
    return error


def _query_schema(operation: Mapping[str, Any]) -> dict[str, Any]:
    listed = [one for one in operation.get("parameters", []) if one["in"] == "query"]
    return {
        "type": "object",
        "properties": {one["name"]: one["schema"] for one in listed},
        "required": [one["name"] for one in listed if one.get("required")],
        "additionalProperties": False,
    }


def _body_schema(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    content = operation.get("requestBody", {}).get("content", {})
    found: Mapping[str, Any] = content.get(_FORM, {}).get("schema", {"type": "object", "additionalProperties": False})
    return found


def _wrong_in_headers(sent: Sent) -> str | None:
    kind = sent.headers.get("content-type", _FORM).partition(";")[0]
    if sent.body and kind != _FORM:
        return f"Content-Type is {kind}, not {_FORM}"
    length = len(sent.headers.get("idempotency-key", ""))
    if length > _KEY_CHARACTERS_MAX:
        return f"Idempotency-Key has {length} characters; {_KEY_CHARACTERS_MAX} is the most"
    return None


def _bracketed(path: list[str | int]) -> str:
    return "".join(str(step) if number == 0 else f"[{step}]" for number, step in enumerate(path))


def _answered(content: Mapping[str, Any]) -> Verdict:
    return Verdict(status=200, headers={"Content-Type": "application/json"}, body=json.dumps(content).encode())


def _refused(status: int, message: str, *, parameter: str = "") -> Verdict:
    error = {"type": "invalid_request_error", "message": message} | ({"param": parameter} if parameter else {})
    headers = {"Content-Type": "application/json", VIOLATIONS: json.dumps([message])}
    return Verdict(status=status, headers=headers, body=json.dumps({"error": error}).encode(), violations=(message,))
