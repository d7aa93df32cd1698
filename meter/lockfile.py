"""A file that one process at a time has: the kernel lets go of it when the process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_NUMBER_BYTES_MAX: Final = 32


class Locked(Exception):
    """Another process has the file; `holder` is its number, or `unknown`."""

    def __init__(self, holder: str) -> None:
        """Name who has it."""
        super().__init__(holder)
        self.holder = holder


def take(path: Path) -> int:
    """Return the descriptor of the locked file, which now holds this process's number; closed, it is free again.

    Raises OSError where it cannot be opened, Locked where another process has it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, _NUMBER_BYTES_MAX).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise Locked(holder) from None
    with suppress(OSError):  # a full disk has no room for the number, and the lock holds without it
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
