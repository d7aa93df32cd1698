"""Starts and ends: each session found by looking at all events of its member, site and key from the beginning.

start ──── reading ──── reading ──── end             the end's time, exactly
start ──── reading ──── (max has passed)             `missing_end` says, never later than the next start
start ──── estimated end ──── (no other)             the last estimated end's time
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction

from tests.reference.counting import Contribution, Placed, aggregate_of, dimensions_of, factor, fits, key_of, keyless
from tests.reference.dates import NEVER, next_closing, seconds_of
from tests.reference.facts import Facts
from tests.reference.values import SECONDS, Doc


@dataclass
class _Open:
    """A session that has begun, judged by the meter as it was then."""

    start: Placed
    meter: Doc
    readings: list[datetime] = field(default_factory=list)
    # The last end that says of itself that it is an estimate.
    said: Placed | None = None

    @property
    def max_end(self) -> datetime:
        return self.start.time + timedelta(seconds=seconds_of(self.meter.get("max", "24h")))


class Sessions:
    """The sessions of one account, by meter, member, site and key."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.found: list[Contribution] = []
        self.orphans: set[tuple[str, str, str]] = set()
        self.unread: set[tuple[str, str, str]] = set()

    def all(self, events: list[Placed]) -> None:
        streams: dict[tuple[str, str | None, str, str | None], list[Placed]] = {}
        for placed in events:
            for name, meter in placed.catalog["meters"].items():
                if aggregate_of(meter) != "duration" or meter["event"] != placed.event["type"]:
                    continue
                if not fits(meter.get("where", {}), placed.event["data"]):
                    continue
                if keyless(meter, placed.event["data"]):
                    self.unread.add((placed.event["source"], placed.event["id"], name))
                else:
                    key = (name, placed.member, placed.site, key_of(meter, placed.event["data"]))
                    streams.setdefault(key, []).append(placed)
        for (name, *_), stream in streams.items():
            self._stream(name, stream)

    def _stream(self, name: str, stream: list[Placed]) -> None:
        now: _Open | None = None
        for placed in stream:
            meter, data = placed.catalog["meters"][name], placed.event["data"]
            starts, ends = fits(meter["start"], data), fits(meter["end"], data)
            if now is not None and placed.time > now.max_end:
                self._estimate(name, now, no_later=NEVER)
                now = None
            if ends and now is not None and data.get("estimated") is True:
                now.said = placed
            elif ends and now is not None:
                self._close(name, now, placed.time, ended_by=placed)
                now = None
            elif starts:
                if now is not None:
                    self._estimate(name, now, no_later=placed.time)
                now = _Open(placed, meter)
            elif ends:
                self.orphans.add((placed.event["source"], placed.event["id"], name))
            elif now is not None:
                now.readings.append(placed.time)
        if now is not None and (now.said is not None or self._deadline(now) < self.facts.now):
            self._estimate(name, now, no_later=NEVER)

    def _deadline(self, session: _Open) -> datetime:
        if session.meter.get("missing_end") == "last_seen":
            idle = timedelta(seconds=seconds_of(session.meter.get("idle", "1h")))
            return max([session.start.time, *session.readings]) + idle
        return self._policy(session) or NEVER

    def _policy(self, session: _Open) -> datetime | None:
        """When the session is taken to have ended."""
        policy = session.meter.get("missing_end", "none")
        if policy == "none":
            return None
        if policy == "last_seen":
            return max(session.readings) if session.readings else None
        start = session.start
        closes = start.catalog.get("sites", {}).get(start.site, {}).get("closes")
        if policy == "close_at" and closes is not None:
            zone = self.facts.zone_of_site(start.site, start.time)
            return min(session.max_end, next_closing(start.time, closes, zone))
        return session.max_end

    def _estimate(self, name: str, session: _Open, *, no_later: datetime) -> None:
        end = self._policy(session) if session.said is None else session.said.time
        if end is not None:
            self._close(name, session, min(end, no_later), ended_by=session.said, estimated=True)

    def _close(
        self, name: str, session: _Open, end: datetime, *, ended_by: Placed | None, estimated: bool = False
    ) -> None:
        lasted = end - session.start.time
        seconds = -(-lasted // timedelta(seconds=1))
        seconds = max(seconds, seconds_of(session.meter.get("minimum", 0)))
        seconds = stepped(seconds, str(session.meter.get("increment", "1s")))
        meter, unit = session.meter, session.meter["unit"]
        if seconds > 0:
            self.found.append(
                Contribution(
                    at=session.start,
                    meter=name,
                    quantity=Fraction(seconds) if unit in SECONDS else Fraction(seconds, factor(meter)),
                    dimensions=dimensions_of(meter, session.start.event["data"], None),
                    ends=[] if ended_by is None else [(ended_by.event["source"], ended_by.event["id"])],
                    estimated=estimated,
                )
            )


def stepped(seconds: int, increment: str) -> int:
    """Rounded up: first the first length, then steps of the second."""
    first_text, _, step_text = increment.partition("/")
    first = seconds_of(first_text)
    step = seconds_of(step_text) if step_text else first
    if seconds <= 0:
        return 0
    if seconds <= first:
        return first
    return first + -(-(seconds - first) // step) * step
