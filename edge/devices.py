"""Which devices were heard since the agent started: for people who wonder whether one is heard at all."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Final

# A large site has a few hundred; whoever was silent for longest goes when there are more.
DEVICES_MAX: Final = 500
# What could not be read may name itself at any length.
_NAME_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Who was heard: over what, under which source (None: what came could not be read), when last and how often.

    `taken` counts events, `refused` what could not be read.
    """

    origin: str
    source: str | None
    last: datetime
    taken: int
    refused: int


class Devices:
    """The devices that were heard last."""

    def __init__(self) -> None:
        """None was heard yet."""
        self._found: OrderedDict[tuple[str, str | None], Device] = OrderedDict()

    def heard(self, origin: str, source: str | None, *, at: datetime, readable: bool) -> None:
        """Take note of an event, or of what cannot be read."""
        source = None if source is None else source[:_NAME_CHARS_MAX]
        known = self._found.pop((origin, source), None)
        taken, refused = (0, 0) if known is None else (known.taken, known.refused)
        self._found[origin, source] = Device(
            origin=origin, source=source, last=at, taken=taken + readable, refused=refused + (not readable)
        )
        if len(self._found) > DEVICES_MAX:
            self._found.popitem(last=False)

    def all(self) -> list[Device]:
        """Return them, the one heard last first."""
        return list(reversed(self._found.values()))
