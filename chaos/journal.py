"""What was meant to happen and what was told of it, in a file that no process of the system knows.

Each intent is written before its first byte is sent. A line is a JSON list: `["intent", {...}]` or `["told", id, way]`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

# Who waits for answers goes on after this: where nobody is answered, the next fault is due all the same.
PATIENCE_S: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One event that a device will send. `at` is None where it leaves the time to whoever hears it first."""

    id: str
    way: str
    account: str
    meter: str
    quantity: Decimal
    subject: str
    at: datetime | None


class Journal:
    """Intents by id, and how often each was told to be safe. `heard` counts answers to devices."""

    def __init__(self, path: Path) -> None:
        self.intents: dict[str, Intent] = {}
        self.told: Counter[str] = Counter()
        self.heard = 0
        self._path = path
        self._fd = -1
        self._more = asyncio.Event()

    def __enter__(self) -> Self:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        os.close(self._fd)

    def intend(self, *intents: Intent) -> None:
        """Write down what is about to be sent for the first time."""
        for intent in intents:
            if intent.id in self.intents:
                raise ValueError(intent.id)
            self.intents[intent.id] = intent
        self._write(*(["intent", _plain(intent)] for intent in intents))

    def tell(self, *ids: str) -> None:
        """Write down that a device was told of these that they are safe."""
        for id in ids:
            self.told[id] += 1
        self._write(*(["told", id] for id in ids))
        self.heard += len(ids)
        self._more.set()

    async def more(self, count: int) -> None:
        """Wait until so many more were told, or `PATIENCE_S`."""
        until = self.heard + count
        try:
            async with asyncio.timeout(PATIENCE_S):
                while self.heard < until:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            pass

    def _write(self, *lines: list[Any]) -> None:
        # One write: a line is whole or not there.
        os.write(self._fd, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _plain(intent: Intent) -> Mapping[str, Any]:
    at = None if intent.at is None else intent.at.isoformat()
    return {**asdict(intent), "quantity": str(intent.quantity), "at": at}
