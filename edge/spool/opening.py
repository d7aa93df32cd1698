"""A spool's file, ready to be written: made, examined, salvaged where it is damaged.

no file            make one
log is empty       the last process closed it: nothing to examine
log is not empty   it was killed: examined where that takes about a second, otherwise in the background
suspect            the last process found damage: quick_check whatever it takes
damaged            what can be read goes to a new file under another boot; the old one is set aside
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from edge.clock import Reading
from edge.spool.errors import Fault, Full, SpoolFailed, failed, fault_of
from edge.spool.files import SpoolFiles, create_private, make_private
from edge.spool.reading import Reader
from edge.spool.records import Bounds
from edge.spool.rows import load_state, write_meta, write_segments
from edge.spool.salvage import Salvage, copy_readable
from edge.spool.schema import PAGE_BYTES, connect, prepare
from edge.spool.state import Segment, State
from edge.spool.transaction import draw_boot

# SD cards read some 40 MB/s and a Raspberry Pi checks pages about as fast.
CHECKED_AT_ONCE_BYTES_MAX: Final = 32 * 1024 * 1024
# The index of the log and the lock, beside the file and the log.
_BESIDE_BYTES: Final = 128 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How the file was found. `unchecked`: it was not closed and is too large to be examined before it is used."""

    unclean: bool
    unchecked: bool
    salvage: Salvage | None


class Opened(NamedTuple):
    """The writer's connection, the numbers, and how the file was found."""

    connection: sqlite3.Connection
    state: State
    opening: Opening


def open_database(files: SpoolFiles, bounds: Bounds, now: Reading) -> Opened:
    """Return the file, opened. The directory is locked.

    Raises SpoolFailed where the disk does not do its work, Full where it has no room for what must be written first.
    """
    try:
        files.finish()
        try:
            return _open(files, bounds, now, salvage=None)
        except SpoolFailed as failure:
            if not failure.damaged:
                raise
            salvage = _salvage(files, bounds, now, fault=failure.detail)
        files.trust()
        return _open(files, bounds, now, salvage=salvage)
    except OSError as error:
        raise SpoolFailed(f"the spool in {files.directory} cannot be opened ({error}); look at the disk") from error


def _open(files: SpoolFiles, bounds: Bounds, now: Reading, *, salvage: Salvage | None) -> Opened:
    unclean = files.log.exists() and files.log.stat().st_size > 0
    if unclean and not files.database.exists():
        raise SpoolFailed(f"{files.log} is there and its file is not", damaged=True)
    make_private(files.home)
    create_private(files.database)
    suspect = files.is_suspect
    small = files.database.stat().st_size <= CHECKED_AT_ONCE_BYTES_MAX
    connection = None
    try:
        connection = connect(files.database)
        if suspect or (unclean and small):
            examine(connection)
        state = begin(connection, bounds, now)
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise _not_opened(error) from error
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    files.trust()
    unchecked = unclean and not small and not suspect
    return Opened(connection, state, Opening(unclean=unclean, unchecked=unchecked, salvage=salvage))


def _not_opened(error: sqlite3.Error) -> SpoolFailed | Full:
    if fault_of(error) is Fault.NO_ROOM:
        return Full("the spool cannot be opened: the disk is full; free some room", bound="disk")
    return failed(error, "opening the spool")


def examine(connection: sqlite3.Connection) -> None:
    """Look at every page and every row. Raises SpoolFailed (damaged)."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != ("ok",):
        raise SpoolFailed(f"the spool's file is damaged: {found[0]}", damaged=True)
    if connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'events'").fetchone() == (1,):
        reader, after = Reader(connection), 0
        while (reached := reader.check(after)) is not None:
            after = reached


def begin(connection: sqlite3.Connection, bounds: Bounds, now: Reading) -> State:
    """Make the file what this version writes, and return its numbers. A fresh one gets its boot.

    What an earlier process may have sent is at most what there is now: an acknowledgement of more is not for this file.
    """
    pages = (bounds.bytes_max - bounds.log_bytes_max - bounds.ballast_bytes - _BESIDE_BYTES) // PAGE_BYTES
    prepare(connection, pages_max=pages, log_bytes_kept=bounds.log_bytes_max // 4)
    state = _begun(connection, now)
    if not state.proven:
        return state
    mine = replace(state, mark=state.last_sequence, proven=False)
    try:
        # The mark first: each is a transaction of its own, and one that goes further than it need be does no harm.
        write_meta(connection, {"mark": mine.mark, "proven": 0})
    except sqlite3.Error as error:
        # On a full disk nothing new is taken, so that the next process would find the same numbers.
        if fault_of(error) is not Fault.NO_ROOM:
            raise
    return mine


def _begun(connection: sqlite3.Connection, now: Reading) -> State:
    if connection.execute("SELECT count(*) FROM segments").fetchone() == (0,):
        write_segments(connection, (Segment(1, draw_boot(now, after=0), 1),))
    return load_state(connection)


def _salvage(files: SpoolFiles, bounds: Bounds, now: Reading, *, fault: str) -> Salvage:
    make_private(files.new_home)
    path = files.new_home / files.database.name
    create_private(path)
    connection = connect(path)
    try:
        begin(connection, bounds, now)
        copied = copy_readable(files.database, connection)
    except sqlite3.Error as error:
        raise _not_opened(error) from error
    finally:
        connection.close()
    return copied.named(fault=fault, aside=files.replace_by_new().name)
