"""Vendors' own OpenAPI documents, where they are at hand: what is sent and what a fake answers is held against them."""

import json
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

# The documents are too large to be kept here; each is NAME.json in this folder.
_FOLDER = Path(os.environ.get("METER_TEST_SPECS") or Path(__file__).parents[2] / "shared" / "specs")


def spec_or_none(name: str) -> "Spec | None":
    """The document of a vendor; None where it is not at hand."""
    path = _FOLDER / f"{name}.json"
    return _read(path) if path.exists() else None


def spec(name: str) -> "Spec":
    """The document of a vendor; the test is skipped where it is not at hand."""
    found = spec_or_none(name)
    if found is None:
        pytest.skip(f"{name}.json is not at hand; METER_TEST_SPECS names the folder of vendors' OpenAPI documents")
    return found


@cache
def _read(path: Path) -> "Spec":
    return Spec(json.loads(path.read_text(encoding="utf-8")))


class Spec:
    """An OpenAPI document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    @property
    def document(self) -> Mapping[str, Any]:
        """Return all of it."""
        return self._document

    def validate(self, content: Any, schema: str) -> None:
        """Fail unless the content is what the component named `schema` says."""
        self._validate(content, {"$ref": f"#/components/schemas/{schema}"})

    def validate_call(self, method: str, path: str, query: Mapping[str, str], body: Any, answer: Any) -> None:
        """Fail unless a request fits its operation, with all it sends, and a 200 answers it as documented."""
        operation = self._operation(method, path)
        known = {one["name"]: one["schema"] for one in operation.get("parameters", []) if one["in"] == "query"}
        for name, value in query.items():
            assert name in known, f"{method} {path} has no query parameter {name}"
            given = json.loads(value) if known[name].get("type") in {"integer", "boolean"} else value
            self._validate(given, known[name])
        wanted = operation.get("requestBody")
        assert (body is None) == (wanted is None), f"{method} {path}: body {body!r}"
        if wanted is not None:
            self._validate(body, wanted["content"]["application/json"]["schema"])
        self._validate(answer, operation["responses"]["200"]["content"]["application/json"]["schema"])

    def _operation(self, method: str, path: str) -> Mapping[str, Any]:
        # A literal path before one with parameters: /v2/orders/search is no order's id.
        for template, operations in sorted(self._document["paths"].items(), key=lambda item: item[0].count("{")):
            pattern = re.sub(r"\\\{[^/]+?\\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, path) and method.lower() in operations:
                found: Mapping[str, Any] = operations[method.lower()]
                return found
        raise AssertionError(f"no operation is documented for {method} {path}")

    def _validate(self, content: Any, schema: Mapping[str, Any]) -> None:
        root = {**schema, "components": self._document["components"]}
        Draft202012Validator(root).validate(content)
