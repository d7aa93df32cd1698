"""Which command runs, and what it was given: what a record of it says."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Running:
    """A command as it is typed (`meter members show`), and its arguments and options by name, defaults included."""

    path: str
    given: dict[str, Any]


RUNNING: Final[ContextVar[Running | None]] = ContextVar("running", default=None)


def known(command: Any, path: str) -> Any:
    """Return `command`, a command or a group of the command line; it and all below it set RUNNING when they run."""
    for name, below in getattr(command, "commands", {}).items():
        known(below, f"{path} {name}")
    callback: Callable[..., Any] | None = command.callback
    if callback is not None:

        @wraps(callback)
        def run(**given: Any) -> Any:
            RUNNING.set(Running(path, given))
            return callback(**given)

        command.callback = run
    return command
