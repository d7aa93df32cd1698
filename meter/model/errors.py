"""Who is at fault, and whether trying again can help. Every error of the gateway is one of these.

MeterError
├── BadInput      theirs: the same input fails again; say what is wrong and how to mend it
├── Unavailable   nobody's: a part does not answer; trying again later can help
└── Broken        ours: an invariant does not hold; stop rather than write on
"""

from __future__ import annotations

from typing import ClassVar


class MeterError(Exception):
    """An error with a stable `code` for machines and a `detail` for people: the fault, the facts, the remedy."""

    default_code: ClassVar[str] = "error"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        """Keep `detail` as the message and `code` (snake case, bounded set) for metrics, lists and APIs."""
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code


class BadInput(MeterError):
    """The sender's fault: refused, kept with its reason, never retried unchanged."""

    default_code = "invalid"


class Unavailable(MeterError):
    """A part does not answer now: nothing was acknowledged, the caller may try again."""

    default_code = "unavailable"


class Broken(MeterError):
    """An invariant of ours does not hold: stop before anything wrong is written."""

    default_code = "broken"
