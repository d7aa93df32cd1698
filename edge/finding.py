"""One thing that `meter-edge check` has looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meter.model.errors import MeterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was looked at, whether it is as it should be, and what there is or what to do about it."""

    about: str
    good: bool = True
    detail: str


def judged(about: str, look: Callable[[], str]) -> Finding:
    """Return what `look` finds; what it raises is a fault."""
    try:
        return Finding(about=about, detail=look())
    except MeterError as error:
        return Finding(about=about, good=False, detail=error.detail)
