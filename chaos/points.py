"""Failpoints of gateways that run, armed and counted from outside through a directory.

A file `NAME.LEFT` arms a point: whoever passes renames it to one less, and who leaves nothing dies there, so that of
two gateways the one that comes first does. `log` has a line for each time that a point was passed, or killed at.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Literal


class Points:
    """The points of all gateways of a run, in `directory`, which is made."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "log").touch()

    def arm(self, name: str, *, at: int) -> None:
        """Have the next gateway die that passes there for the `at`-th time, of all gateways together."""
        (self.directory / f"{name}.{at}").touch()

    def disarm(self) -> None:
        """Have nobody die any more."""
        for path in self.directory.glob("*.*"):
            path.unlink(missing_ok=True)

    def passed(self) -> Counter[str]:
        """Return how often each was passed, killed or not."""
        return self._counted("passed")

    def killed(self) -> Counter[str]:
        """Return how often a gateway died at each."""
        return self._counted("killed")

    def _counted(self, what: str) -> Counter[str]:
        lines = (line.split() for line in (self.directory / "log").read_text().splitlines())
        return Counter(name for kind, name in lines if kind == what)


def pass_by(directory: Path, name: str) -> None:
    """Count that this process passes, and end it where it is its turn."""
    _note(directory, "passed", name)
    for path in directory.glob(f"{name}.*"):
        left = int(path.suffix[1:]) - 1
        try:
            if left:
                path.rename(path.with_suffix(f".{left}"))
                continue
            path.unlink()
        except FileNotFoundError:
            continue  # the other gateway came first
        _note(directory, "killed", name)
        os.kill(os.getpid(), signal.SIGKILL)


def _note(directory: Path, what: Literal["passed", "killed"], name: str) -> None:
    with (directory / "log").open("a") as log:  # one write, so that a line is whole or not there
        log.write(f"{what} {name}\n")
