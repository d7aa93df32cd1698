"""Logs that grow, read as they grow: what a line says is in the spool together with how far was read.

    folder ─▶ files of the log, oldest first ─▶ each known by its bytes ─▶ lines ─▶ events + marks: one commit
                                                     └ known by nothing: from its start

A file that is renamed, copied and emptied, compressed or written anew is found by its marks. In doubt a line is read
again: its event has the same id. A full spool is waited for where it is.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from os import stat_result
from pathlib import Path
from typing import Final

from edge.clock import Clock, monotonic_s
from edge.collect.marks import (
    COMPRESSED,
    LINE_BYTES_MAX,
    UNREADABLE,
    Chunk,
    LogFile,
    Mark,
    marks_of,
    moved,
    position_of,
)
from edge.heartbeat import CollectorState, State
from edge.intake import Intake, Origin
from edge.spool.keeper import Keeper
from meter.log import log
from meter.model.errors import BadInput, Unavailable
from meter.model.instant import EPOCH
from meter.model.wire import Parsed
from meter.sources.make import refused
from meter.sources.setups import ConfiguredSource
from meter.sources.spec import Lines
from meter.transport.reading import guarded

# A print is in the spool within a second of its line; looking costs one listing of a folder.
_LOOK_S: Final = 1.0
# A full spool or disk is not empty sooner.
_WAIT_S: Final = 5.0
# A server that has written half a line and nothing for so long has died in it.
_QUIET_S: Final = 300.0
# Two months of daily files; of older ones nobody waits for a bill.
FILES_MAX: Final = 100
# page_log.1, page_log.O (CUPS's own), page_log-20261122, each compressed or not.
_ROTATED: Final = re.compile(r"(?:(?:[.-]\d+)+|\.O|\.old)?(?:\.gz)?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file of the log; `current`: it is the newest of those that have not been rotated, so it may still grow."""

    path: Path
    stat: stat_result
    current: bool

    @property
    def key(self) -> tuple[int, int]:
        """Return where the file is."""
        return self.stat.st_dev, self.stat.st_ino

    @property
    def version(self) -> tuple[int, int]:
        """Return what changes when somebody writes to it."""
        return self.stat.st_size, self.stat.st_mtime_ns


def files_of(log_path: Path) -> list[Found]:
    """Return the log's files, oldest first: those of its name, which may be a pattern, and rotated ones beside them.

    Raises OSError.
    """
    found: list[tuple[Path, stat_result]] = []
    for path in log_path.parent.iterdir():
        if _is_of(path.name, log_path.name) and path.is_file():
            with suppress(FileNotFoundError):  # renamed since it was listed: at the next look it has its new name
                found.append((path, path.stat()))
    found.sort(key=lambda one: (one[1].st_mtime_ns, one[0].name))
    growing = [path for path, _ in found if fnmatchcase(path.name, log_path.name) and path.suffix != COMPRESSED]
    return [Found(path=path, stat=stat, current=path in growing[-1:]) for path, stat in found[-FILES_MAX:]]


def _is_of(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(_ROTATED.sub("", name, count=1), pattern)


class Tail:
    """Reads one log."""

    def __init__(self, path: Path, source: ConfiguredSource, *, keeper: Keeper, intake: Intake, clock: Clock) -> None:
        """Read nothing yet. The source's vendor has `lines`."""
        self.name = f"file:{source.setup.name}"
        self._path = path
        self._source = source
        self._keeper = keeper
        self._intake = intake
        self._clock = clock
        self._marks: list[Mark] = []
        self._done: dict[tuple[int, int], tuple[int, int]] = {}
        self._partial: dict[tuple[int, int], tuple[int, float]] = {}
        self.state = CollectorState(state="waiting", complete_until=EPOCH)

    async def run(self) -> None:
        """Read until cancelled. Raises SpoolFailed."""
        self._marks = marks_of((await self._keeper.positions()).get(self.name))
        while True:
            try:
                await self.look()
            except UNREADABLE as error:
                self._tell("failing", f"{self._path}: {error}; its reader must be able to read it")
            except Unavailable as error:
                self._tell("waiting", error.detail)
                await asyncio.sleep(_WAIT_S)
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> None:
        """Read what is there and was not read. Raises Unavailable and SpoolFailed; UNREADABLE after all that can be."""
        until = self._clock.read().wall
        found = await asyncio.to_thread(files_of, self._path)
        present = {file.key for file in found}
        for known in (self._done, self._partial):
            for key in known.keys() - present:
                del known[key]
        # Those that were not renamed or copied first: what is a copy of one then has nothing that was not read.
        marked = {mark.file for mark in self._marks}
        failure: Exception | None = None
        for file in sorted(found, key=lambda file: file.key not in marked):
            if self._done.get(file.key) != file.version:
                try:
                    await self._read(file, present)
                except FileNotFoundError:
                    until = self.state.complete_until or EPOCH  # renamed meanwhile: at the next look
                except UNREADABLE as error:
                    failure = error
        if failure is not None:
            raise failure
        if any(monotonic_s() - since < _QUIET_S for _, since in self._partial.values()):
            until = self.state.complete_until or EPOCH  # a line is being written, and it is older than now
        self.state = CollectorState(
            state="running" if found else "waiting",
            detail=None if found else f"there is no {self._path.name} yet",
            last=self.state.last,
            complete_until=until,
        )

    async def _read(self, file: Found, present: set[tuple[int, int]]) -> None:
        with await asyncio.to_thread(LogFile, file.path) as opened:
            mark = known = await asyncio.to_thread(self._known, opened)
            while True:
                chunk = await asyncio.to_thread(opened.after, mark, final=self._is_final(file, opened))
                if chunk is None:
                    return  # emptied and written anew since it was opened: at the next look it is a file of its own
                if chunk.mark.offset and chunk.mark not in self._marks:
                    marks = moved(self._marks, chunk.mark, known, there=present)
                    await self._keep(file.path, chunk, marks)
                    self._marks, known = marks, chunk.mark
                mark = chunk.mark
                if chunk.ended:
                    break
        self._ended(file, opened, chunk.partial)

    def _known(self, opened: LogFile) -> Mark:
        """Return the mark that fits the file; where several do, the one that was its, then the one furthest on."""
        own = opened.start().file
        for mark in sorted(self._marks, key=lambda mark: (mark.file != own, -mark.offset)):
            if mark.offset and opened.fits(mark):
                return opened.continued(mark)
        return opened.start()

    async def _keep(self, path: Path, chunk: Chunk, marks: Sequence[Mark]) -> None:
        origin = Origin(name=f"file {path.name}"[:200], same_clock=True)
        items = self._items(path.name, chunk)
        await self._intake.keep(items, origin=origin, positions={self.name: position_of(marks)})
        if items:
            self.state = CollectorState(last=self._clock.read().wall, complete_until=self.state.complete_until)

    def _items(self, name: str, chunk: Chunk) -> Sequence[Parsed]:
        """Return what the lines say, each as if the file had been read from its start."""
        long = [line for line in chunk.lines if len(line) >= LINE_BYTES_MAX]
        lines = [line for line in chunk.lines if len(line) < LINE_BYTES_MAX]
        message = f"a line has {LINE_BYTES_MAX} bytes or more; no log has one for a reason"
        beyond: list[Parsed] = [refused(BadInput(message, code="bad_payload"), line) for line in long]
        try:
            read = len(self._lines(name, chunk.before)) if chunk.before else 0
            return [*self._lines(name, [*chunk.before, *lines])[read:], *beyond]
        except BadInput as error:
            return [refused(error, b"\n".join(lines)), *beyond]

    def _lines(self, name: str, lines: Sequence[bytes]) -> Sequence[Parsed]:
        setup, read = self._source.setup, self._source.vendor.lines
        if read is None:
            return ()
        told = Lines(name=name, lines=lines, received_at=self._clock.read().wall)
        return guarded(partial(read, setup, told), vendor=setup.vendor, source=setup.name).items

    def _is_final(self, file: Found, opened: LogFile) -> bool:
        if opened.compressed:
            return True
        size, since = self._partial.get(file.key, (-1, 0.0))
        return not file.current and size == file.stat.st_size and monotonic_s() - since >= _QUIET_S

    def _ended(self, file: Found, opened: LogFile, partial_bytes: int) -> None:
        """Remember that all was read but a line that is being written."""
        if not partial_bytes:
            self._partial.pop(file.key, None)
            self._done[file.key] = (opened.stat.st_size, opened.stat.st_mtime_ns)
        elif self._partial.get(file.key, (-1, 0.0))[0] != opened.stat.st_size:
            self._partial[file.key] = (opened.stat.st_size, monotonic_s())

    def _tell(self, state: State, detail: str) -> None:
        if self.state.detail != detail:
            log.warning("log_not_read", file=self.name, detail=detail)
        self.state = CollectorState(
            state=state, detail=detail, last=self.state.last, complete_until=self.state.complete_until
        )
