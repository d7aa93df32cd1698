"""Faults that come one after the other, a few at once: what every rig of real processes does with a schedule."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from tests.edge.e2e.schedule import Fault
from tests.edge.e2e.wires import Wire

_AT_ONCE: Final = 3


class Heard(Protocol):
    """A journal of what devices were told."""

    async def more(self, count: int) -> None:
        """Wait until so many more answers were heard."""


@dataclass(kw_only=True)
class Suffering:
    """Does what a fault is called, by its method of that name. `done` counts the faults that were."""

    journal: Heard
    wires: dict[str, Wire]
    done: Counter[str] = field(default_factory=Counter)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def suffer(self, faults: Sequence[Fault]) -> None:
        """Let one fault come after the other; return when all are over."""
        async with asyncio.TaskGroup() as tasks:
            for fault in faults:
                await self.journal.more(fault.after)
                await self._room.acquire()
                tasks.create_task(self._suffer(fault))

    async def _suffer(self, fault: Fault) -> None:
        part = fault.wire if fault.what == "cut" else fault.what.partition("_")[2]
        try:
            async with self.alone(part):
                await getattr(self, f"_{fault.what}")(fault)
                self.done[f"cut {fault.how}" if fault.what == "cut" else fault.what] += 1
        finally:
            self._room.release()

    def alone(self, part: str) -> asyncio.Lock:
        """Return what keeps two faults of one part or wire from meeting."""
        return self._locks.setdefault(part, asyncio.Lock())

    async def _cut(self, fault: Fault) -> None:
        wire = self.wires[fault.wire]
        wire.break_(fault.how)
        await self.journal.more(fault.lasts)
        wire.heal(lost=fault.lost)
