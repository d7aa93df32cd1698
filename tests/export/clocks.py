"""A clock that a test moves by hand."""

from __future__ import annotations


class VirtualClock:
    """Seconds that pass when `moment_s` is moved."""

    def __init__(self) -> None:
        self.moment_s = 0.0

    def __call__(self) -> float:
        return self.moment_s
