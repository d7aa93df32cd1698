"""Has sent again what the gateway acknowledged and lost (decision 0015).

heartbeat ─▶ what is told so far is noted, under the heartbeat's mark
answer    ─▶ what of that is not stored there waits again, under its old numbers
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final

import msgspec

from edge.clock import Clock, monotonic_s
from edge.spool.keeper import Keeper
from edge.spool.records import Stretch
from edge.spool.spans import Run
from edge.uplink.lost import Held, lost
from meter.log import log
from meter.model.errors import Unavailable
from meter.model.instant import instant_text

# What is kept of a boot, as it was when a question was asked.
Told = Mapping[int, Sequence[Run]]

# Questions whose answers may still come. The next one is never far.
_ASKED_MAX: Final = 4
# As many as a heartbeat may name; a spool has more after as many salvages within what it keeps.
_BOOTS_MAX: Final = 16
# A gateway that goes on losing, or that answers from a copy which lags, is not sent everything with each heartbeat.
_PAUSE_FIRST_S: Final = 600.0
_PAUSE_MAX_S: Final = 86_400.0


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to go again: what was acknowledged since an instant (an hour's worth more), stretches of sequences."""

    since: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    stretches: Annotated[list[Stretch], msgspec.Meta(max_length=100)] = []


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How many events wait again that did not, and how many wait in all."""

    events: int
    spooled: int


class Recall:
    """Compares what is kept here with what the gateway holds. `faults` says what was lost since the agent started."""

    def __init__(self, keeper: Keeper, *, clock: Clock, replayed: Callable[[], None]) -> None:
        """Ask nothing yet. `replayed` is called when events wait again that were acknowledged."""
        self._keeper = keeper
        self._clock = clock
        self._replayed = replayed
        self._asked: OrderedDict[str, Told] = OrderedDict()
        self._pause_s = _PAUSE_FIRST_S
        self._next_s = 0.0
        self._lost = 0
        self.faults: list[str] = []

    def told(self) -> Told:
        """Return what was acknowledged until now and is still here, of the newest boots."""
        kept = self._keeper.kept
        return {boot: kept[boot] for boot in sorted(kept)[-_BOOTS_MAX:]}

    def asking(self, mark: str) -> list[int]:
        """Return of which boots a question that leaves now is to ask, and note what was told before it."""
        self._asked[mark] = told = self.told()
        if len(self._asked) > _ASKED_MAX:
            self._asked.popitem(last=False)
        return list(told)

    async def answered(self, mark: str, held: Iterable[Held]) -> None:
        """Take the answer to a question; another process's question, or an old one, has none to compare with."""
        told = self._asked.pop(mark, None)
        if told is not None:
            await self.compare(told, held)

    async def compare(self, told: Told, held: Iterable[Held]) -> None:
        """Have sent again what of `told` the gateway does not hold, as it says after it was told."""
        missing = [Stretch(one.boot, *run) for one in held for run in lost(told.get(one.boot, ()), one)]
        if not missing:
            self._pause_s, self._next_s = _PAUSE_FIRST_S, 0.0
            return
        if monotonic_s() < self._next_s:
            return
        try:
            events = await self._keeper.replay(stretches=missing)
        except Unavailable as error:
            log.warning("replay_not_possible", code=error.code, detail=error.detail)
            return
        self._next_s = monotonic_s() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _PAUSE_MAX_S)
        if events:
            self._tell(events, missing)
            self._replayed()

    async def again(self, wanted: Wanted) -> Replayed:
        """Have sent again what somebody asks for, whatever the gateway says it holds. Raises Unavailable."""
        events = await self._keeper.replay(since=wanted.since, stretches=wanted.stretches)
        log.info("replay_asked", events=events)
        self._replayed()
        return Replayed(events=events, spooled=self._keeper.depth.events)

    def _tell(self, events: int, missing: Sequence[Stretch]) -> None:
        self._lost += events
        at = instant_text(self._clock.read().wall)
        told = "the gateway lost what it had acknowledged, as one that was restored from a backup has"
        self.faults = [f"{told}: {self._lost} events are sent again since this agent started, the last ones at {at}"]
        log.error("gateway_lost_events", detail=told, events=events, stretches=[tuple(one) for one in missing[:10]])
