"""What the spool may answer but "stored": refusals, which the device sees, and failures, which end the process.

BadInput (item_unusable)      the event itself cannot be kept
Unavailable ── Full           no room; nothing of the put was kept
            └─ SpoolInUse     another process has it
Broken ─────── SpoolFailed    the disk failed, or the file is damaged: nothing is told safe any more
"""

from __future__ import annotations

import os
import sqlite3
from enum import Enum, auto
from typing import ClassVar, Final, Literal, NoReturn, TypeAlias

from meter.model.errors import Broken, Unavailable

# sysexits.h: an error occurred while doing I/O on some file.
EXIT_CODE: Final = os.EX_IOERR

Bound: TypeAlias = Literal["events", "bytes", "disk", "log"]


class Full(Unavailable):
    """There is no room: the device keeps its event and tries again. `bound` says which room."""

    default_code: ClassVar[str] = "spool_full"

    def __init__(self, detail: str, *, bound: Bound) -> None:
        """Keep which bound refused."""
        super().__init__(detail)
        self.bound: Bound = bound


class SpoolInUse(Unavailable):
    """Another process has the spool open."""

    default_code = "spool_in_use"


class SpoolFailed(Broken):
    """Nobody knows any more what the disk holds, or the file is damaged: the process ends with `EXIT_CODE`.

    `damaged`: the file is to be examined, and salvaged if need be, at the next start.
    """

    default_code = "spool_failed"

    def __init__(self, detail: str, *, damaged: bool = False) -> None:
        """Keep whether it is the file."""
        super().__init__(detail)
        self.damaged = damaged


class Fault(Enum):
    """What an error of SQLite means for the spool."""

    NO_ROOM = auto()
    BUSY = auto()
    DAMAGED = auto()
    ITEM = auto()
    FAILED = auto()


_PRIMARY: Final = {
    sqlite3.SQLITE_FULL: Fault.NO_ROOM,
    sqlite3.SQLITE_BUSY: Fault.BUSY,
    sqlite3.SQLITE_LOCKED: Fault.BUSY,
    sqlite3.SQLITE_CORRUPT: Fault.DAMAGED,
    sqlite3.SQLITE_NOTADB: Fault.DAMAGED,
    sqlite3.SQLITE_TOOBIG: Fault.ITEM,
    sqlite3.SQLITE_MISMATCH: Fault.ITEM,
}


def fault_of(error: Exception) -> Fault:
    """Return what the error means. What is not known is a failure: to go on would be a guess about the disk."""
    if not isinstance(error, sqlite3.Error):
        return Fault.ITEM  # raised before SQLite saw it: a lone surrogate, a number of more than 64 bits
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return Fault.ITEM  # raised by the module: a value that it cannot bind
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return Fault.NO_ROOM  # the log's index could not grow: ENOSPC under another name
    return _PRIMARY.get(code & 0xFF, Fault.FAILED)


def failed(error: Exception, what: str) -> SpoolFailed:
    """Return the failure that ends the process."""
    damaged = fault_of(error) is Fault.DAMAGED
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    remedy = (
        "the next start examines the file and salvages what it can"
        if damaged
        else "look at the disk and the kernel's log; what was not confirmed may or may not be stored"
    )
    return SpoolFailed(f"{what} failed ({name}: {error}); the agent stops: {remedy}", damaged=damaged)


def leave() -> NoReturn:
    """End the process at once. Any other way would close the file, and closing it SQLite would write once more."""
    os._exit(EXIT_CODE)
