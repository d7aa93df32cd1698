"""Reading files that something else writes: whole, the newest few, those left out that have not changed."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from glob import glob
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from meter.clock import Clock, now
from meter.model.event import Json
from meter.sources.spec import Answer, Request, Setup
from meter.transport.asking.transport import Declined, TryLater

# A day's log of a large site has a few megabytes.
FILE_BYTES_MAX: Final = 32 * 1024 * 1024
_NEWEST: Final = 8


class FileTransport:
    """Reads what the glob in a request's URL names: `arguments` are `newest` (files) and `unless` (name: SHA-256).

    The answer is a JSON array of {name, sha256, body}, oldest first, bodies in base64.
    """

    def __init__(self, *, clock: Clock = now) -> None:
        """Read nothing yet."""
        self._clock = clock

    async def ask(self, _setup: Setup, request: Request) -> Answer:
        """Return the files. Raises Declined where they cannot be read."""
        found = await asyncio.to_thread(_read, request.url, request.arguments)
        return Answer(status=200, body=msgspec.json.encode(found), received_at=self._clock())


def _read(pattern: str, arguments: Mapping[str, Json]) -> list[dict[str, str]]:
    unless: Mapping[str, str] = arguments.get("unless") or {}
    try:
        paths = [path for path in map(Path, glob(pattern)) if path.is_file()]  # noqa: PTH207 -- the pattern is absolute
        if not paths:
            message = f"no file matches {pattern}; check the option path, and that the gateway's user may read it"
            raise TryLater(message)
        paths.sort(key=lambda path: (path.stat().st_mtime_ns, path.name))
        read = []
        for path in paths[-int(arguments.get("newest") or _NEWEST) :]:
            if path.stat().st_size > FILE_BYTES_MAX:
                message = f"{path} has more than {FILE_BYTES_MAX} bytes; rotate it, or import it with meter import"
                raise Declined(message)
            body = path.read_bytes()
            seen = sha256(body).hexdigest()
            if unless.get(path.name) != seen:
                read.append({"name": path.name, "sha256": seen, "body": b64encode(body).decode()})
    except OSError as error:
        message = f"{error.filename or pattern}: {error.strerror or error}; the gateway's user must be able to read it"
        raise Declined(message) from error
    return read
