"""The OpenAPI 3.1 document, made from the route table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from meter import __version__
from meter.api.problems import PROBLEM, Problem
from meter.api.routing import ANY, JSON, Route
from meter.export.targets.webhook import EVENTS

_REFERENCE: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"\{(\w+)(?::[^{}]*)?\}")
_DESCRIPTION: Final = (
    "Usage events in, booked charges out. Amounts, quantities and rates are strings; instants are UTC with `Z`; errors "
    "are problem details (RFC 9457). Keys go into `Authorization: Bearer`; beside a key stands the scope that it needs."
)

_WEBHOOK_HEADERS: Final[Mapping[str, str]] = {
    "webhook-id": "What a receiver takes once: the same whenever the message is sent again.",
    "webhook-timestamp": "When it was sent this time, in seconds since 1970.",
    "webhook-signature": "`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`; one for each active secret.",
}


def document_route(table: list[Route]) -> Route:
    """Return the route of the document about `table`, which shall include this route in the end."""
    rendered: list[bytes] = []

    async def show(_request: web.Request) -> web.StreamResponse:
        if not rendered:
            rendered.append(msgspec.json.encode(document(table)))
        return web.Response(body=rendered[0], content_type=JSON)

    return Route(
        method="GET",
        path="/openapi.json",
        handler=show,
        tag="service",
        summary="This document",
        scope=None,
        answers={JSON: dict[str, Any]},
    )


def document(table: Iterable[Route]) -> dict[str, Any]:
    """Return the OpenAPI document of the routes."""
    routes = list(table)
    kinds = {id(kind): kind for route in routes for kind in (*route.bodies.values(), *route.answers.values())}
    described = [kind for kind in (*kinds.values(), Problem, *EVENTS.values()) if kind is not bytes]
    schemas, components = msgspec.json.schema_components(described, ref_template=_REFERENCE)
    components = _plainly(components)
    schema_of = {id(kind): _plainly(schema) for kind, schema in zip(described, schemas, strict=True)}
    schema_of[id(bytes)] = {}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route, schema_of)
        paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Coworking meter",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "webhooks": {event: {"post": _webhook(event, schema_of[id(kind)])} for event, kind in EVENTS.items()},
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "mk_..."}},
        },
    }


def _plainly(schema: Any) -> Any:
    """Return the schema with pairs of a kind said as `items` of that kind: not every tool reads `prefixItems`."""
    if isinstance(schema, list):
        return [_plainly(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _plainly(value) for name, value in schema.items()}
    places = found.get("prefixItems")
    if isinstance(places, list) and all(place == places[0] for place in places):
        found["items"] = found.pop("prefixItems")[0]
    return found


def _webhook(event: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a receiver of the target `webhook` has to serve."""
    return {
        "operationId": "webhook_" + event.replace(".", "_"),
        "tags": ["webhooks"],
        "summary": EVENTS[event].__doc__,
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": about, "schema": {"type": "string"}}
            for name, about in _WEBHOOK_HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {JSON: {"schema": schema}}},
        "responses": {
            "2XX": {"description": "Taken, now or before"},
            "410": {"description": "Gone: nothing is sent for an hour"},
            "429": {"description": "Not so fast; Retry-After says when"},
            "4XX": {"description": "Never to be taken: it is not sent again, and a person looks"},
            "5XX": {"description": "Sent again, the same"},
        },
        "security": [],
    }


def _operation(route: Route, schema_of: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    def content(kinds: Mapping[str, Any]) -> dict[str, Any]:
        return {media: {"schema": schema_of[id(kind)]} for media, kind in kinds.items()}

    success: dict[str, Any] = {"description": "Done"}
    if route.answers:
        success["content"] = content(route.answers)
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": {
            str(route.status): success,
            "default": {"description": "A problem", "content": {PROBLEM: {"schema": schema_of[id(Problem)]}}},
        },
        "security": [] if route.scope is None else [{"key": [] if route.scope == ANY else [route.scope]}],
    }
    if route.description:
        operation["description"] = route.description
    if route.bodies:
        operation["requestBody"] = {"required": True, "content": content(route.bodies)}
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"\w+", _PARAMETER.sub(r"by_\1", route.path.removeprefix("/v1")))
    return "_".join([route.method.lower(), *words])


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([route.query], ref_template=_REFERENCE)
    schema = components[route.query.__name__]
    required = set(schema.get("required", ()))
    return [_query_parameter(name, field, name in required) for name, field in schema["properties"].items()]


def _query_parameter(name: str, field: Mapping[str, Any], required: bool) -> dict[str, Any]:  # noqa: FBT001
    """Return a parameter: one that is empty counts as left out, and null cannot be said in an address."""
    schema = {key: value for key, value in field.items() if key != "anyOf" and (key, value) != ("default", None)}
    options = [option for option in field.get("anyOf", ()) if option != {"type": "null"}]
    schema |= options[0] if len(options) == 1 else {"anyOf": options} if options else {}
    described: dict[str, Any] = {"name": name, "in": "query", "required": required, "schema": schema}
    return described if required else {**described, "allowEmptyValue": True}
