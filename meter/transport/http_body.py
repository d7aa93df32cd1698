"""The body of an HTTP request, unpacked by us and only as far as it may go.

aiohttp unpacks what is beyond the limit as well, for as long as a peer sends it: some megabytes cost seconds of CPU.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Any, Final

from aiohttp import web

from meter.model.errors import BadInput
from meter.model.wire import BODY_BYTES_MAX

# How `web.AppRunner(app, **RAW_BODIES)` has to be made for bodies to be read by `read_body`.
RAW_BODIES: Final[dict[str, Any]] = {"auto_decompress": False}

_BODY: Final = web.RequestKey("body", bytes)
# zlib tells gzip (RFC 1952) and deflate (RFC 1950) by their heads.
_ANY_HEAD: Final = zlib.MAX_WBITS | 32
_PACKED: Final = frozenset({"gzip", "x-gzip", "deflate"})


async def read_body(request: web.Request, *, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """Return the whole body, unpacked as its `Content-Encoding` says; the second time the same bytes.

    Raises web.HTTPRequestEntityTooLarge beyond `bytes_max` (packed ones as the application's `client_max_size` has it),
    and BadInput (`bad_encoding`) where it is not encoded as it says, or in a way that is not known here.
    """
    if _BODY in request:
        return request[_BODY]
    try:
        raw = await request.read()
    except web.RequestPayloadError as error:
        raise BadInput("the body is not encoded as its headers say", code="bad_encoding") from error
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        body = raw
    elif encoding in _PACKED:
        # A bomb takes some milliseconds, in which zlib lets other threads run.
        body = await asyncio.to_thread(unpacked, raw, bytes_max=bytes_max)
    else:
        known_here = ", ".join(sorted(_PACKED))
        message = f"bodies are taken as they are, or as {known_here}; not as {encoding[:40]!r}"
        raise BadInput(message, code="bad_encoding")
    if len(body) > bytes_max:
        raise web.HTTPRequestEntityTooLarge(max_size=bytes_max, actual_size=len(body))
    request[_BODY] = body
    return body


def unpacked(packed: bytes, *, bytes_max: int) -> bytes:
    """Return what is packed, of several parts all; at most one byte beyond `bytes_max`. Raises BadInput."""
    found = bytearray()
    left = packed
    while left:
        part = zlib.decompressobj(wbits=_ANY_HEAD)
        try:
            found += part.decompress(left, bytes_max + 1 - len(found))
        except zlib.error as error:
            raise BadInput("the body is not encoded as its headers say", code="bad_encoding") from error
        if len(found) > bytes_max:
            break
        if not part.eof:
            raise BadInput("the body is not encoded as its headers say: it ends too early", code="bad_encoding")
        left = part.unused_data
    return bytes(found)
