"""Calling what reads a vendor: whatever it does, its bytes are kept and it holds up nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from meter.log import log
from meter.model.errors import BadInput

Read = TypeVar("Read")


def guarded(read: Callable[[], Read], *, vendor: str, source: str) -> Read:
    """Return what a source's function makes of what came in.

    Raises BadInput only, `undecodable` where the function fails: the vendor would send the same again for days.
    """
    try:
        return read()
    except BadInput:
        raise
    except Exception as error:
        log.exception("reading_failed", vendor=vendor, source=source)
        message = f"reading what came in failed ({type(error).__name__}); report it with its bytes"
        raise BadInput(message, code="undecodable") from error
