"""The spool: a bounded file that keeps an event from the moment a device is told "safe" until the gateway has it.

    append ──▶ waiting ──acknowledge──▶ kept for replay ──35 days, or room is needed──▶ removed
                  ▲                          │
                  └──────── replay ──────────┘

One thread writes, one more may read (which method does which stands below). What a method returned is on the disk.
After SpoolFailed nothing more is taken or told, and the process ends by `errors.leave`.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from edge import failpoints
from edge.clock import Clock, SystemClock
from edge.spool.errors import Fault, Full, SpoolFailed, failed, fault_of
from edge.spool.files import SpoolFiles
from edge.spool.opening import Opening
from edge.spool.reading import Reader
from edge.spool.records import Acknowledgement, Bounds, Depth, Item, Measurement, Place, Put, Stored, Stretch
from edge.spool.schema import connect
from edge.spool.spans import REMOVED, Run
from edge.spool.state import State
from edge.spool.transaction import Transaction
from edge.spool.writer import Writer
from meter.model.errors import BadInput, Unavailable

# One message. Before the gateway's first acknowledgement nobody knows whether this file is an older copy.
FIRST_EVENTS: Final = 100
# A slice of removing, so that devices get their turn.
_EXPIRED_AT_ONCE: Final = 1_000

T = TypeVar("T")
Outcome: TypeAlias = tuple[Place, ...] | BadInput | Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something else that is written, by itself all or nothing; what `action` returns is told after the commit."""

    action: Callable[[Transaction], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is committed together. Each put and each act stands or falls by itself."""

    puts: tuple[Put, ...] = ()
    acts: tuple[Act, ...] = ()
    acknowledgements: tuple[Acknowledgement, ...] = ()
    measurements: tuple[Measurement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What became of a batch: of each put its numbers, of each act its result, or why it was refused.

    `released`: how many events were let go.
    """

    outcomes: tuple[Outcome, ...]
    results: tuple[Any, ...]
    released: int


class Spool:
    """One open spool; see the module for its threads."""

    def __init__(self, files: SpoolFiles, *, bounds: Bounds, clock: Clock) -> None:
        """Use `Spool.open`."""
        self._files = files
        self._writer = Writer(files, bounds=bounds, clock=clock)
        self._reader = Reader(connect(files.database, read_only=True))
        self._handed = Place(self.boot, 0)
        self._allowed_boot = 0

    @classmethod
    def open(cls, directory: Path, *, bounds: Bounds | None = None, clock: Clock | None = None) -> Spool:
        """Return the spool in `directory`, which is this process's alone from now on.

        Raises SpoolInUse, BadInput (the directory), SpoolFailed (the disk), Full (not even that can be written).
        """
        files = SpoolFiles(directory)
        files.lock()
        try:
            spool = cls(files, bounds=bounds or Bounds(), clock=clock or SystemClock())
        except BaseException:
            files.unlock()
            raise
        failpoints.reach("spool_opened")
        return spool

    # --- what it holds: any thread -----------------------------------------------------------------------------------

    @property
    def opening(self) -> Opening:
        """Return how the file was found."""
        return self._writer.opening

    @property
    def boot(self) -> int:
        """Return the boot that new events get."""
        return self._writer.state.boot

    @property
    def depth(self) -> Depth:
        """Return how much waits and how much is kept, as committed."""
        return self._writer.state.depth

    @property
    def last(self) -> Place | None:
        """Return the highest number given of the boot in use; None before the first."""
        state = self._writer.state
        return Place(state.boot, state.last_sequence) if state.last_sequence else None

    @property
    def waiting_boots(self) -> list[int]:
        """Return the boots of which something waits, older first: others than the one in use after a replay only."""
        return self._writer.state.waiting_boots()

    @property
    def kept(self) -> dict[int, list[Run]]:
        """Return which sequences of each boot the gateway has acknowledged, as far as they are still here."""
        return self._writer.state.kept()

    @property
    def proven(self) -> bool:
        """Return whether the gateway has acknowledged something to this process; until then not all is sent."""
        return self._writer.state.proven

    @property
    def is_held_back(self) -> bool:
        """Return whether `allow_first` would let more be sent."""
        state = self._writer.state
        return not state.proven and state.mark < state.last_sequence and self._allowed_boot != state.boot

    # --- what is read: the reading thread ----------------------------------------------------------------------------

    def unsent(self, boot: int, after: int, *, events_max: int, bytes_max: int) -> list[Stored]:
        """Return what waits of a boot after a sequence, in order; at most so many events and, but for one, bytes.

        Until the gateway has acknowledged something to this process, what is newer than the process is held back
        (`is_held_back`).
        """
        state = self._writer.state
        last = state.next_place if state.proven or boot != state.boot else state.mark
        with self._reading() as reader:
            found = reader.unsent(state, boot, after + 1, last, events_max=events_max, bytes_max=bytes_max)
        if found and found[-1].place > self._handed:
            self._handed = found[-1].place
        return found

    def oldest(self) -> Stored | None:
        """Return the oldest event that waits."""
        state = self._writer.state
        place = state.oldest()
        with self._reading() as reader:
            return None if place is None else reader.at(state, place)

    def positions(self) -> Mapping[str, str]:
        """Return how far each collector has read, as stored with its last events."""
        with self._reading() as reader:
            return reader.positions()

    def measurements(self) -> Mapping[str, Measurement]:
        """Return what was measured of machines' boots, by their names."""
        with self._reading() as reader:
            return reader.measurements()

    def read(self, action: Callable[[sqlite3.Connection, State], T]) -> T:
        """Return what `action` reads beside the events, by the numbers as committed."""
        with self._reading() as reader:
            return action(reader.connection, self._writer.state)

    def check(self, after: int) -> int | None:
        """Look at some hundred rows after a place, from 0 on; return where to go on, None at the end."""
        with self._reading() as reader:
            return reader.check(after)

    @contextmanager
    def _reading(self) -> Iterator[Reader]:
        try:
            yield self._reader
        except SpoolFailed as failure:
            self._writer.condemn(failure)
            raise
        except sqlite3.Error as error:
            unread = failed(error, "reading the spool")
            self._writer.condemn(unread)
            raise unread from error

    # --- what changes it: the writing thread -------------------------------------------------------------------------

    def append(self, items: Iterable[Item], positions: Mapping[str, str] | None = None) -> tuple[Place, ...]:
        """Store the events, all or none, with the positions, and return their numbers.

        Raises Full, BadInput (an item cannot be kept), Unavailable (somebody holds the file), SpoolFailed.
        """
        done = self.commit(Batch(puts=(Put(items=tuple(items), positions=positions or {}),)))
        self.tend()
        (outcome,) = done.outcomes
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def acknowledge(self, boot: int, up_to: int, also: Iterable[int] = ()) -> int:
        """Let go of what the gateway has committed, and return how many events it was."""
        done = self.commit(Batch(acknowledgements=(Acknowledgement(boot=boot, up_to=up_to, also=tuple(also)),)))
        self.tend()
        return done.released

    def commit(self, batch: Batch) -> Committed:
        """Do all of the batch in one transaction: one fsync, however much it is.

        Raises SpoolFailed; Full or Unavailable where not even the acknowledgements could be written. A device may be
        told what its put's outcome says, and `tend` is to be called after that.
        """
        refusal: Full | Unavailable | None = self._writer.refusal() if batch.puts or batch.acts else None
        if refusal is None:
            try:
                return self._commit(batch)
            except Full as full:
                self._writer.release_ballast()
                refusal = full
            except Unavailable as busy:
                refusal = busy
        outcomes, results = (refusal,) * len(batch.puts), (refusal,) * len(batch.acts)
        rest = replace(batch, puts=(), acts=())
        released = 0 if rest == Batch() else self._commit(rest).released
        return Committed(outcomes=outcomes, results=results, released=released)

    def _commit(self, batch: Batch) -> Committed:
        handed = self._handed
        with self._writer.transaction(sent=handed.sequence if handed.boot == self.boot else 0) as work:
            # What they let go makes room for what comes.
            released = sum(work.acknowledge(acknowledgement) for acknowledgement in batch.acknowledgements)
            for measurement in batch.measurements:
                work.measure(measurement)
            outcomes = tuple(_alone(work, partial(work.store, put)) for put in batch.puts)
            results = tuple(_alone(work, partial(act.action, work)) for act in batch.acts)
        failpoints.reach("after_commit_before_told")
        return Committed(outcomes=outcomes, results=results, released=released)

    def tend(self) -> None:
        """Copy the log into the file where it is long enough: after devices were told, for it takes its time."""
        if self._writer.needs_checkpoint:
            self._writer.checkpoint()

    def expire(self) -> bool:
        """Remove some of what was acknowledged long enough ago, and return whether there may be more."""
        with self._writer.transaction() as work:
            removed = work.expire(_EXPIRED_AT_ONCE)
        self.tend()
        return removed == _EXPIRED_AT_ONCE

    def allow_first(self) -> None:
        """Let one message of what is newer than this process be sent, before anything is acknowledged to it.

        Written down before it is sent: what another process finds acknowledged then is no sign of an older copy.
        """
        with self._writer.transaction() as work:
            work.allow(min(work.state.mark + FIRST_EVENTS, work.state.last_sequence))
        self._allowed_boot = self.boot

    def replay(self, *, since: datetime | None = None, stretches: Iterable[Stretch] = ()) -> int:
        """Let what is kept wait for the gateway again, under its old numbers, and return how many events it is.

        Those acknowledged since an instant (an hour's worth more), and those of the stretches.
        """
        state = self._writer.state
        runs = [run for stretch in stretches for run in state.places(*stretch)]
        if since is not None:
            hour = int(since.timestamp()) // 3600
            runs += [Run(span.first, span.last) for span in state.spans if span.hour != REMOVED and span.hour >= hour]
        with self._writer.transaction() as work:
            return work.reopen(runs)

    def close(self) -> None:
        """Leave an empty log, so that the next start has nothing to examine. For when no thread uses it any more."""
        self._reader.close()
        self._writer.close()
        self._files.unlock()


def _alone(work: Transaction, action: Callable[[], Any]) -> Any:
    """Return the action's result, or why nothing of it is stored."""
    try:
        with work.alone():
            return action()
    except (BadInput, Full) as refusal:
        return refusal
    except (sqlite3.Error, ValueError, ArithmeticError, struct.error) as error:
        if fault_of(error) is not Fault.ITEM:
            raise
        return BadInput(f"the event cannot be stored ({error})", code="item_unusable")
