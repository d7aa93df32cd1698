"""CloudEvents in HTTP requests: structured, batched and binary mode (CloudEvents 1.0.2, HTTP binding)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from meter.model.errors import BadInput
from meter.model.wire import UNREADABLE, Parsed, Refusal, read_batch, read_event, structured
from meter.sources.make import refused

ONE: Final = "application/cloudevents+json"
MANY: Final = "application/cloudevents-batch+json"
_PREFIX: Final = "ce-"


def read_request(request: web.Request, body: bytes) -> tuple[Sequence[Parsed], BadInput | None]:
    """Return what the body holds and, where it cannot be read as a whole, what the caller is told.

    Raises BadInput (`unsupported_media_type`).
    """
    media, binary = request.content_type, "ce-specversion" in request.headers
    if media not in {ONE, MANY} and not binary:
        message = f"Content-Type is {media[:80]!r}; send {ONE}, {MANY}, or the attributes as ce- headers"
        raise BadInput(message, code="unsupported_media_type")
    try:
        if media == MANY:
            return read_batch(body), None
        if media != ONE:
            body = structured(_attributes(request), request.headers.get("Content-Type", ""), body)
    except BadInput as error:
        return [refused(error, body)], error
    event = read_event(body)
    if isinstance(event, Refusal) and event.code in UNREADABLE:
        return [event], BadInput(event.detail, code=event.code)
    return [event], None


def _attributes(request: web.Request) -> dict[str, str]:
    """Return the attributes of binary mode (CloudEvents 1.0.2, HTTP binding 3.1.3: values are percent-encoded)."""
    found: dict[str, str] = {}
    for header, value in request.headers.items():
        name = header.lower()
        if not name.startswith(_PREFIX):
            continue
        if name in found:
            raise BadInput(f"the header {name[:60]!r} is sent twice; send it once", code="duplicate_key")
        try:
            found[name] = unquote(value, errors="strict")
        except UnicodeDecodeError as error:
            message = f"the header {name[:60]!r} does not encode UTF-8; percent-encode its bytes"
            raise BadInput(message, code="bad_string") from error
    return {name.removeprefix(_PREFIX): value for name, value in found.items()}
