"""The agent's word on itself: what it holds, how its collectors are, and up to when its site is complete.

A heartbeat has a number like any event, so it counts at the gateway once every lower one is there. It is made only
while the gateway can hear it: a week of them in the spool would say nothing but that there was nobody to hear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import msgspec

from edge.clock import Clock
from edge.intake import Intake
from edge.spool.keeper import Keeper
from edge.spool.records import Item
from edge.uplink.recall import Recall
from edge.uplink.timekeeper import Timekeeper
from meter import __version__
from meter.model.event import HEARTBEAT
from meter.model.instant import EPOCH, instant_text

State: TypeAlias = Literal["running", "waiting", "failing"]

_DETAIL_CHARS_MAX: Final = 120
_FAULTS_MAX: Final = 10
_FAULT_CHARS_MAX: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorState:
    """How a collector is. `last`: when it last took something. `complete_until`: up to when it has read (None: now)."""

    state: State = "running"
    detail: str | None = None
    last: datetime | None = None
    complete_until: datetime | None = None


class Heartbeats:
    """Makes heartbeats.

    `collectors` tells how each is, `faults` what a person should look at, `asking` how the answers of the agent stand.
    """

    def __init__(
        self,
        *,
        site: str,
        edge: str,
        keeper: Keeper,
        intake: Intake,
        timekeeper: Timekeeper,
        recall: Recall,
        clock: Clock,
        collectors: Callable[[], Mapping[str, CollectorState]],
        faults: Callable[[], Sequence[str]],
        asking: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        """Make none yet."""
        self._source = f"{site}/edge/{edge}"
        self._edge = edge
        self._keeper = keeper
        self._intake = intake
        self._timekeeper = timekeeper
        self._recall = recall
        self._clock = clock
        self._collectors = collectors
        self._faults = faults
        self._asking = asking

    async def beat(self) -> None:
        """Store a heartbeat. Raises Full, Unavailable, SpoolFailed."""
        oldest = await self._keeper.oldest()
        states = self._collectors()
        depth = self._keeper.depth
        offset_ms = self._timekeeper.offset_ms()
        asked = self._timekeeper.ask()
        data: dict[str, Any] = {
            "complete_until": instant_text(self._complete_until(states.values(), offset_ms)),
            "asked": asked,
            "boots": self._recall.asking(asked) or None,
            "spooled": depth.events,
            "spooled_bytes": depth.bytes,
            "oldest": None if oldest is None else instant_text(oldest.heard.wall),
            "refused": self._intake.turned_away,
            "clock_offset_ms": offset_ms,
            "ntp": self._clock.read().synchronised,
            "authorizations": self._asking() or None,
            "version": __version__,
            "collectors": {name: _told(state) for name, state in states.items()},
            "faults": [fault[:_FAULT_CHARS_MAX] for fault in self._faults()][:_FAULTS_MAX],
        }
        body = self._envelope({name: value for name, value in data.items() if value is not None})
        await self._keeper.put(
            [Item(body=msgspec.json.encode(body), heard=self._clock.read(), named=False, stamped=True)]
        )

    def probe(self) -> bytes:
        """Return a heartbeat that asks for the time and says nothing else: it has no number and is not kept."""
        asked = self._timekeeper.ask()
        data = {"complete_until": instant_text(EPOCH), "asked": asked}
        envelope = self._envelope(data)
        envelope["id"] = f"probe-{self._keeper.boot}-{self._clock.read().boottime_ns}"
        envelope |= {"edge": self._edge, "boot": self._keeper.boot}
        return msgspec.json.encode(envelope)

    def _envelope(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {"specversion": "1.0", "source": self._source, "type": HEARTBEAT, "data": data}

    def _complete_until(self, states: Iterable[CollectorState], offset_ms: int | None) -> datetime:
        """Return up to when everything has a lower number than what is stored next, in true time as far as known."""
        marks = [state.complete_until for state in states if state.complete_until is not None]
        least = min([*marks, self._intake.complete_until()])
        return least - timedelta(milliseconds=offset_ms or 0)


def _told(state: CollectorState) -> dict[str, str]:
    told: dict[str, str] = {"state": state.state}
    if state.detail:
        told["detail"] = state.detail[:_DETAIL_CHARS_MAX]
    if state.last is not None:
        told["last"] = instant_text(state.last)
    return told
