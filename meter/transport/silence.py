"""Why nobody answered, in words for people."""

from __future__ import annotations

import aiohttp


def silence(error: Exception) -> str:
    """Return the cause in a few words; aiohttp's own text of it shows objects of Python's."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    said = cause.strerror if isinstance(cause, OSError) else None
    return (said or str(cause) or type(cause).__name__)[:200]
