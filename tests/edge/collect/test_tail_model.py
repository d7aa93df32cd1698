"""Whatever is done to a log between two looks, and however often the agent starts anew: each line once."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import tempfile
from itertools import count
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.collect.marks import marks_of
from edge.spool.errors import Full
from tests.edge.collect.kept import Kept
from tests.edge.collect.logs import line, numbers, tail


class Log(RuleBasedStateMachine):
    """A log as servers and logrotate treat it: names shift, files are copied and compressed, agents end anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "page_log"
        self.kept = Kept()
        self.tail = tail(self.path, self.kept)
        self.written = 0
        self.half = b""
        self.ticks = count(1_000_000_000)

    def teardown(self) -> None:
        try:
            self.write(b"")
            self.kept.full = False
            for _ in range(2):
                self.look()
            assert sorted(numbers(self.kept)) == [*range(self.written)]
            assert self.kept.refusals == []
        finally:
            shutil.rmtree(self.directory)

    def write(self, more: bytes) -> None:
        """Append what is half written and `more`, at a moment of its own."""
        with self.path.open("ab") as opened:
            opened.write(self.half + more)
        self.half = b""
        self.touch(self.path)

    def touch(self, path: Path) -> None:
        moment = next(self.ticks)
        os.utime(path, (moment, moment))

    def shift(self) -> None:
        """page_log.1 becomes page_log.2, and so on, compressed ones as well."""
        for number in range(40, 0, -1):
            for end in ("", ".gz"):
                path = self.directory / f"page_log.{number}{end}"
                if path.exists():
                    path.rename(self.directory / f"page_log.{number + 1}{end}")

    @rule(lines=st.integers(1, 30))
    def append(self, lines: int) -> None:
        fresh = b"".join(line(number) for number in range(self.written, self.written + lines))
        self.written += lines
        self.write(fresh)

    @rule(cut=st.integers(1, 20))
    def append_a_half(self, cut: int) -> None:
        whole = line(self.written)
        self.written += 1
        self.write(whole[:cut])
        self.half = whole[cut:]

    @precondition(lambda self: self.path.exists() and not self.half)
    @rule()
    def rename(self) -> None:
        self.shift()
        self.path.rename(self.directory / "page_log.1")

    @precondition(lambda self: self.path.exists() and not self.half)
    @rule()
    def copy_and_empty(self) -> None:
        self.shift()
        shutil.copy(self.path, self.directory / "page_log.1")
        self.touch(self.directory / "page_log.1")
        os.truncate(self.path, 0)
        self.touch(self.path)

    @rule(number=st.integers(1, 10))
    def compress(self, number: int) -> None:
        path = self.directory / f"page_log.{number}"
        if path.exists():
            with gzip.open(f"{path}.gz", "wb") as packed:
                packed.write(path.read_bytes())
            self.touch(Path(f"{path}.gz"))
            path.unlink()

    @rule()
    def look(self) -> None:
        try:
            asyncio.run(self.tail.look())
        except Full:
            assert self.kept.full

    @rule(full=st.booleans())
    def fill(self, full: bool) -> None:  # noqa: FBT001 -- drawn
        self.kept.full = full

    @rule()
    def restart(self) -> None:
        self.tail = tail(self.path, self.kept)
        self.tail._marks = marks_of(self.kept.stored.get(self.tail.name))

    @invariant()
    def none_twice(self) -> None:
        assert len(set(numbers(self.kept))) == len(numbers(self.kept))


TestLog = Log.TestCase
TestLog.settings = settings(max_examples=60, stateful_step_count=30)
