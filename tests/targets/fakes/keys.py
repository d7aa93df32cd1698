"""What a vendor remembers of the idempotency keys it was given.

begin --> nothing known: the caller works, then `finish`es or `drop`s
      --> first answer: it is given again
      --> KeyMisused: the key came with something else
      --> KeyInUse: the first request under the key has not been answered yet
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.targets.fakes.clock import Clock
from tests.targets.fakes.http import Answer


class KeyMisused(Exception):
    """The key was first used with other parameters."""


class KeyInUse(Exception):
    """A request under the key is being worked on."""


@dataclass(slots=True)
class _Entry:
    fingerprint: str
    until: datetime
    answer: Answer | None = None


class KeyMemory:
    """Keys and their first answers, kept for `kept` after they were first seen."""

    def __init__(self, clock: Clock, *, kept: timedelta) -> None:
        self._clock, self._kept = clock, kept
        self._entries: dict[str, _Entry] = {}

    def begin(self, key: str, fingerprint: str) -> Answer | None:
        """Return the first answer under the key; None where it is new, and from now on in use."""
        known = self._entries.get(key)
        if known is None or (known.answer is not None and known.until <= self._clock.now()):
            self._entries[key] = _Entry(fingerprint, self._clock.now() + self._kept)
            return None
        if known.fingerprint != fingerprint:
            raise KeyMisused(key)
        if known.answer is None:
            raise KeyInUse(key)
        return known.answer

    def finish(self, key: str, answer: Answer) -> None:
        """Keep the answer."""
        self._entries[key].answer = answer

    def drop(self, key: str) -> None:
        """Forget the key: nothing was begun under it."""
        self._entries.pop(key, None)
