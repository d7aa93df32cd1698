"""RADIUS accounting on site: an answer says that what the packet holds is in the spool.

What is not answered, the NAS sends again: a full spool answers nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from edge.clock import Clock
from edge.heartbeat import CollectorState
from edge.intake import Intake, Origin
from meter.model.errors import MeterError
from meter.model.wire import Parsed, Refusal
from meter.sources.setups import ConfiguredSource
from meter.sources.spec import Setup
from meter.transport.radius import Address, Clients, radius_port
from meter.transport.samples import Samples

# What is not answered by then comes again.
_FINISH_S: Final = 5.0


class RadiusCollector:
    """The port before the spool. `counted` tells how many packets had which outcome."""

    def __init__(
        self, address: Address, *, sources: Sequence[ConfiguredSource], setting: str, intake: Intake, clock: Clock
    ) -> None:
        """Listen to nothing yet."""
        self._address = address
        self._clients = Clients(source.setup for source in sources)
        self._setting = setting
        self._intake = intake
        self._clock = clock
        self._samples = Samples()
        self._tasks: set[asyncio.Task[None]] = set()
        self._last: datetime | None = None
        self.counted: Counter[str] = Counter()

    @property
    def state(self) -> CollectorState:
        """Return how it is, with the packets that were not answered."""
        unheard = [f"{number} {outcome}" for outcome, number in sorted(self.counted.items()) if outcome != "accepted"]
        return CollectorState(detail=", ".join(unheard) or None, last=self._last)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Address]:
        """Listen for as long as the context is open, and give the address. Raises BadInput (`port_taken`)."""
        async with radius_port(
            self._address, clients=self._clients, intake=self, setting=self._setting, clock=self._now
        ) as bound:
            try:
                yield bound
            finally:
                if self._tasks:
                    await asyncio.wait(self._tasks, timeout=_FINISH_S)

    def take(
        self,
        items: Sequence[Parsed],
        *,
        setup: Setup,  # noqa: ARG002 -- the events hold their site
        origin: str,
        received_at: datetime,  # noqa: ARG002 -- the intake reads all clocks at once
        settled: Callable[[bool], None],
    ) -> bool:
        """Have the items committed; the port bounds how many wait."""
        if items:
            self._begin(self._keep(items, origin, settled))
        else:
            settled(True)
        return True

    def sample(self, refusal: Refusal, *, setup: Setup | None, origin: str, received_at: datetime) -> None:  # noqa: ARG002
        """Keep some of what is not answered for people."""
        if self._samples.take():
            self._begin(self._keep([refusal], origin, lambda _stored: None))

    def count(self, outcome: str) -> None:
        """Count a packet."""
        self.counted[outcome] += 1
        if outcome == "accepted":
            self._last = self._now()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, items: Sequence[Parsed], origin: str, settled: Callable[[bool], None]) -> None:
        stored = False
        try:
            await self._intake.keep(items, origin=Origin(name=origin))
            stored = True
        except MeterError:
            pass  # full, or failed: the agent tells that elsewhere
        finally:
            settled(stored)

    def _now(self) -> datetime:
        return self._clock.read().wall
