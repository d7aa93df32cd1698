"""What Prism is given of a vendor's document: all of it takes a server some ten seconds to read.

The paths that exporters ask, what those refer to, and an answer without a body, for who wants none (`judged.PLAIN`). A
path that is missing here is refused ("no path matched"), so that a target which asks a new one says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

# How the paths begin; "" is all of them.
_ASKED: Final[Mapping[str, tuple[str, ...]]] = {
    "quickbooks": ("",),
    "square": ("/v2/invoices", "/v2/locations", "/v2/orders", "/v2/payments", "/v2/refunds"),
    "stripe-v2": ("",),
    "xero": ("/Accounts", "/CreditNotes", "/Invoices", "/ManualJournals", "/Organisation", "/TrackingCategories"),
}
_METHODS: Final = frozenset({"delete", "get", "patch", "post", "put"})


def served(name: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is served of the document of this name."""
    paths = {
        template: {method: _answering(one) if method in _METHODS else one for method, one in operations.items()}
        for template, operations in document["paths"].items()
        if template.startswith(_ASKED[name])
    }
    components = document.get("components", {})
    named = _named(document, [paths, components.get("securitySchemes", {})])
    kept = {
        kind: ones
        if kind == "securitySchemes"
        else {one: value for one, value in ones.items() if f"#/components/{kind}/{one}" in named}
        for kind, ones in components.items()
        if isinstance(ones, dict)
    }
    return {**document, "paths": paths, "components": kept}


def _answering(operation: Mapping[str, Any]) -> dict[str, Any]:
    return {**operation, "responses": {**operation["responses"], "204": {"description": "it fits"}}}


def _named(document: Mapping[str, Any], begun: list[Any]) -> set[str]:
    """Return every reference that leads on from these."""
    found: set[str] = set()
    while begun:
        for reference in _references(begun.pop()):
            if reference not in found:
                found.add(reference)
                begun.append(resolved(document, reference))
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for one in node.values():
            yield from _references(one)
    elif isinstance(node, list):
        for one in node:
            yield from _references(one)


def resolved(document: Mapping[str, Any], reference: str) -> Any:
    """Return what `#/a/b` stands for."""
    here: Any = document
    for step in reference.removeprefix("#/").split("/"):
        here = here[step]
    return here
