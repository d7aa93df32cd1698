"""One child process: started through launch.py, watched, stopped in order.

    start ──▶ running ──stop──▶ first signal, wait ──▶ next signal, wait ──▶ SIGKILL
                 └── ends by itself ──▶ `watch` raises with its last words

The launcher becomes the program, so there is one process a child and its id is the program's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from meter.model.errors import Broken, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meter.embedded.runas import RunAs

_POLL_INTERVAL_S: Final = 0.02  # while starting or stopping, where someone waits
_WATCH_INTERVAL_S: Final = 0.5  # while running: how late a dead child is noticed
_TAIL_LINES: Final = 15  # of the log in an error: enough for PostgreSQL's reason with its hints
_LOG_BYTES_MAX: Final = 4 * 1024 * 1024  # then it moves to `.1`, so two files of this size at most
_LAUNCHER: Final = Path(__file__).with_name("launch.py")
_NEVER_S: Final = 10.0  # for SIGKILL to take effect; longer means a process stuck in the kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run: `argv[0]` is absolute, `cwd` is the directory that only this program uses.

    `stop` lists signals with how many seconds each is given; SIGKILL follows. The first is also what the kernel sends
    when the gateway is gone.
    """

    name: str
    argv: Sequence[str]
    cwd: Path
    log: Path
    run_as: RunAs
    stop: Sequence[tuple[signal.Signals, float]]


class Child:
    """A running program. Not tied to an event loop; start it on a thread that lives as long as it shall.

    (Linux sends the death signal when the thread that started the child ends, not only when the process does.)
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The running process, or None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it in a session of its own, so that the terminal's Ctrl-C reaches the gateway alone."""
        program, run_as = self.program, self.program.run_as
        spec = {
            "argv": list(program.argv),
            "cwd": str(program.cwd),
            "uid": run_as.uid,
            "gid": run_as.gid,
            "inside": run_as.inside,
            "death_signal": program.stop[0][0],
            "parent": os.getpid(),
        }
        rotate(program.log)
        # Appending, so that the log can be cut under the writer's hands.
        log = os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own launcher and program
                [sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(spec)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(log)

    async def ended(self, *, within_s: float) -> int | None:
        """The exit code (negative: the signal), or None when it still runs after `within_s`."""
        deadline = asyncio.get_running_loop().time() + within_s
        while self._process is not None:
            code = self._process.poll()
            if code is not None or asyncio.get_running_loop().time() >= deadline:
                return code
            await asyncio.sleep(_POLL_INTERVAL_S)
        return None

    async def watch(self) -> None:
        """Run until cancelled, keeping the log within its bound; raise Unavailable when the child ends by itself."""
        while self._process is not None and self._process.poll() is None:
            rotate(self.program.log)
            await asyncio.sleep(_WATCH_INTERVAL_S)
        raise Unavailable(self.obituary(), code="embedded_part_ended")

    async def stop(self) -> None:
        """End it: signal after signal, each with its time, then SIGKILL. Does nothing when it has ended."""
        if self._process is None:
            return
        for number, wait_s in (*self.program.stop, (signal.SIGKILL, _NEVER_S)):
            if self._process.poll() is None:
                self._process.send_signal(number)
            if await self.ended(within_s=wait_s) is not None:
                self._process = None
                return
        raise Broken(f"{self.program.name} (process {self._process.pid}) does not end, not even by SIGKILL")

    def obituary(self) -> str:
        """How it ended and its last log lines."""
        code = (self._process.poll() if self._process is not None else None) or 0
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        return f"{self.program.name} ended {how}. The end of {self.program.log}:\n{self.last_words()}"

    def last_words(self) -> str:
        """The last lines of the log."""
        with contextlib.suppress(FileNotFoundError), self.program.log.open(encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, maxlen=_TAIL_LINES)).rstrip() or "(empty)"
        return "(none)"


def rotate(log: Path) -> None:
    """Move a log that is over its bound to `.1`. By copy and cut: its writer holds it open and is not told."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_BYTES_MAX:
            log.with_name(log.name + ".1").write_bytes(log.read_bytes())
            os.truncate(log, 0)


def leftovers(home: Path, command: str) -> list[int]:
    """Processes named `command` that work in `home` or below: children of a gateway that was killed. Linux only."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            cwd = (entry / "cwd").readlink()
            if cwd.is_relative_to(home) and (entry / "comm").read_text().strip() == command:
                found.append(int(entry.name))
    return found


async def stop_leftovers(home: Path, command: str, stop: Sequence[tuple[signal.Signals, float]]) -> None:
    """End what a killed gateway left running in `home`, so that one server at most ever works on its files."""
    for number, wait_s in (*stop, (signal.SIGKILL, _NEVER_S)):
        deadline = asyncio.get_running_loop().time() + wait_s
        for pid in leftovers(home, command):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while leftovers(home, command) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 -- not ours
            await asyncio.sleep(_POLL_INTERVAL_S)
    if found := leftovers(home, command):
        raise Broken(f"processes {found} of an earlier gateway still work in {home} and do not end: end them by hand")
