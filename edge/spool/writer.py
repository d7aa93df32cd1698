"""The spool's one writer: transactions, what their errors mean, the log, and room on the disk.

commit fails        rolled back
  disk is full      ballast released: acknowledgements go on, events are refused until it could be made again
  somebody holds it refused
  anything else     SpoolFailed: nothing more is written or told
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from edge import failpoints
from edge.clock import Clock
from edge.spool.ballast import Ballast
from edge.spool.errors import Fault, Full, SpoolFailed, failed, fault_of
from edge.spool.files import SpoolFiles
from edge.spool.opening import open_database
from edge.spool.records import Bounds
from edge.spool.schema import BUSY_TIMEOUT_S, PAGE_BYTES
from edge.spool.transaction import Transaction
from meter.model.errors import Unavailable

# A megabyte: what a checkpoint copies while devices wait.
_CHECKPOINT_PAGES: Final = 256
# The inner pages, spans and positions that a transaction touches besides the events.
_TOUCHED_PAGES: Final = 8
# Of acknowledged events when the disk is full, in each of some steps: a few megabytes of usual ones.
_GIVEN_UP_AT_ONCE: Final = 1_000
_GIVING_UP_STEPS: Final = 8


class Writer:
    """The connection that writes, for one thread at a time. `state` is what is committed, to be read by anyone."""

    def __init__(self, files: SpoolFiles, *, bounds: Bounds, clock: Clock) -> None:
        """Open the file. The directory is locked."""
        self._files = files
        self._bounds = bounds
        self._clock = clock
        self._connection, self.state, self.opening = open_database(files, bounds, clock.read())
        self._ballast = Ballast(files.ballast, bounds.ballast_bytes)
        self._ballast.make()
        self._opened_as = secrets.token_hex(4)
        # What an earlier process left in the log is copied at the first opportunity.
        self._log_pages = _CHECKPOINT_PAGES
        self._failure: SpoolFailed | None = None

    @contextmanager
    def transaction(self, *, sent: int = 0) -> Iterator[Transaction]:
        """Commit what is done inside and take its state over.

        Raises Full (the disk) and Unavailable with everything rolled back, SpoolFailed with nobody knows what.
        """
        self._check_usable()
        work = Transaction(
            self._connection, self.state, self._bounds, now=self._clock.read(), sent=sent, opening=self._opened_as
        )
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            failpoints.reach("after_begin")
            yield work
            failpoints.reach("before_commit")
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if isinstance(error, sqlite3.Error):
                self._raise(error, "storing")
            if isinstance(error, SpoolFailed):
                self._fail(error)
            raise
        self.state = work.state
        self._log_pages += _TOUCHED_PAGES + work.pages

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._fail(failed(error, "rolling back"))

    def _raise(self, error: sqlite3.Error, what: str) -> NoReturn:
        fault = fault_of(error)
        if fault is Fault.NO_ROOM:
            raise self._disk_full() from error
        if fault is Fault.BUSY:
            raise Unavailable(
                f"some process holds {self._files.database} for longer than {BUSY_TIMEOUT_S:g} s: end it",
                code="spool_held",
            ) from error
        self._fail(failed(error, what))

    def condemn(self, failure: SpoolFailed) -> None:
        """Take nothing any more, and have the next start look at the file where it is damaged. From any thread."""
        self._failure = failure
        if failure.damaged:
            with contextlib.suppress(OSError):
                self._files.suspect()

    def _fail(self, failure: SpoolFailed) -> NoReturn:
        self.condemn(failure)
        raise failure

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._failure

    # --- room ---------------------------------------------------------------------------------------------------------

    def refusal(self) -> Full | None:
        """Return why no events may be stored now, after trying to mend it."""
        self._check_usable()
        for _ in range(_GIVING_UP_STEPS):
            if self._ballast.make() or not self._give_up_kept():
                break
        if self._log_is_long and not self.checkpoint() and self._ballast.held:
            return Full(
                f"the spool's log cannot be emptied: some process reads {self._files.database}; end it", bound="log"
            )
        return None if self._ballast.held else self._disk_full()

    def release_ballast(self) -> None:
        """Give the ballast's room to the disk, and use it before others do.

        A log that is copied is written over from its beginning: acknowledgements then need no further room.
        """
        self._ballast.release()
        failpoints.reach("ballast_released")
        self.checkpoint()

    def _disk_full(self) -> Full:
        return Full(
            f"the disk of {self._files.directory} is full; what is stored stays, and nothing more is taken until "
            f"{2 * self._bounds.ballast_bytes} bytes are free: free some room",
            bound="disk",
        )

    def _give_up_kept(self) -> bool:
        """Give the room of acknowledged events and of free pages to the disk; return whether that may have helped."""
        # What is moved goes through the log.
        pages = self._bounds.log_bytes_max // 4 // PAGE_BYTES
        try:
            with self.transaction() as work:
                removed = work.evict(_GIVEN_UP_AT_ONCE)
            if not (removed or self._connection.execute("PRAGMA freelist_count").fetchone()[0]):
                return False
            # Each page is a row without columns: `execute` would stop after the first.
            self._connection.executescript(f"PRAGMA incremental_vacuum({pages})")
            self._log_pages += pages
            return self.checkpoint()
        except Unavailable:
            return False
        except sqlite3.Error as error:
            if fault_of(error) in {Fault.NO_ROOM, Fault.BUSY}:
                return False
            self._raise(error, "giving room to the disk")

    # --- the log ------------------------------------------------------------------------------------------------------

    @property
    def needs_checkpoint(self) -> bool:
        """Return whether the log is long enough to be copied."""
        return self._log_pages >= _CHECKPOINT_PAGES

    @property
    def _log_is_long(self) -> bool:
        return self._log_pages * PAGE_BYTES >= self._bounds.log_bytes_max // 2

    def checkpoint(self) -> bool:
        """Copy the log into the file, and return whether it is short then. An fsync that fails here is a failure."""
        self._check_usable()
        failpoints.reach("before_checkpoint")
        if not self._copy_log():
            return False
        failpoints.reach("after_checkpoint")
        return not self._log_is_long

    def _copy_log(self) -> bool:
        """Return whether the disk had room for it, with the ballast's if need be."""
        try:
            for mode in ("PASSIVE", "RESTART"):
                busy, pages, copied = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
                self._log_pages = pages if busy or copied < pages else 0
                if not self._log_is_long:
                    break
        except sqlite3.Error as error:
            if fault_of(error) is not Fault.NO_ROOM:
                self._raise(error, "copying the log")
            if not self._ballast.held:
                return False
            self._ballast.release()
            return self._copy_log()
        return True

    def close(self) -> None:
        """Leave an empty log. After a failure nothing: closing, SQLite would write once more."""
        if self._failure is None:
            failpoints.reach("before_close")
            self._connection.close()
