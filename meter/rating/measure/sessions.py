"""A session: a start that waits for its end, what it comes to, and what becomes of it if no end comes.

start ────────────▶ end                       counts, if end - start <= max
start ──▶ reading ──▶ reading ─ idle ─┐       last_seen: ends at the last reading, known once idle has passed
start ──────────── closing time ──┐   │       close_at: ends there, known at once
start ───────────────────── max ──┴───┴─▶     cap: ends there; an end after it is an orphan
start ──▶ end that is an estimate             ends there, until an end comes that is none
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import NamedTuple

from meter.model.catalog import Meter, MissingEnd, Pairing, Site
from meter.model.errors import Broken
from meter.model.event import EventKey, Json, UsageEvent
from meter.model.instant import local_date, local_instant
from meter.model.money import ZERO
from meter.rating.measure.contribution import Contribution
from meter.rating.measure.reading import RunKey, dimensions

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


def pairing_of(meter: Meter) -> Pairing:
    """Return how the meter finds its ends. Raises Broken (`no_pairing`) if it is no meter of sessions."""
    if meter.pairing is None:
        message = f"the meter {meter.id} has no start and end; sessions are measured by `duration` meters only"
        raise Broken(message, code="no_pairing")
    return meter.pairing


class Terms(NamedTuple):
    """What of a meter's pairing, and of the site, says what an open session comes to."""

    missing_end: MissingEnd
    minimum_s: int
    first_s: int
    step_s: int
    idle_s: int
    closes: str | None
    timezone: str


class SaidEnd(NamedTuple):
    """An end whose event says of itself that it is an estimate: `data.estimated` is true."""

    event: EventKey
    time: datetime


class Session(NamedTuple):
    """An open session. `event` is its start, `until` the last instant at which an end still counts.

    `until`, `terms` and `dimensions` are of meter and site as they were at the start, whichever version sees the end.
    `last` is the last reading between, kept where the policy asks for it. `said` stands for the end before any policy.
    """

    key: RunKey
    event: UsageEvent
    until: datetime
    terms: Terms
    dimensions: Mapping[str, Json]
    last: datetime | None = None
    said: SaidEnd | None = None

    @property
    def member(self) -> str | None:
        """Return the member whose session it is, if any."""
        return self.key.member or None

    def deadline(self) -> datetime | None:
        """Return when the clock settles the session without an end; None: by what is known so far, never."""
        end = self.estimate()
        if end is not None and self.said is None and self.terms.missing_end == "last_seen":
            return end + timedelta(seconds=self.terms.idle_s)
        return end

    def estimate(self) -> datetime | None:
        """Return when the session ended as an event estimates it, else by the policy; None: it counts nothing."""
        if self.said is not None:
            return self.said.time
        terms = self.terms
        if terms.missing_end == "close_at" and terms.closes is not None:
            return min(self.until, next_closing(self.event.time, closes=terms.closes, zone_name=terms.timezone))
        if terms.missing_end in {"cap", "close_at"}:
            return self.until
        return self.last if terms.missing_end == "last_seen" else None

    def outcome(self, meter: Meter, until: datetime | None) -> Contribution | None:
        """Return what the session counts without an end if its deadline is not after `until` (None: no clock).

        An end that is an estimate needs no clock.
        """
        deadline = self.deadline()
        if self.said is None and (until is None or deadline is None or deadline > until):
            return None
        return self.missed(meter)

    def missed(self, meter: Meter, latest: datetime | None = None) -> Contribution:
        """Return what the session counts by the policy, but not beyond `latest`; a quantity of 0 if nothing."""
        end = self.estimate()
        if end is not None and latest is not None:
            end = min(end, latest)
        events = (self.event.key,) if self.said is None else (self.event.key, self.said.event)
        return self._counted(meter, end, events, estimated=True)

    def ended(self, meter: Meter, end: UsageEvent) -> Contribution:
        """Return what the session counts with its end."""
        return self._counted(meter, end.time, (self.event.key, end.key), estimated=False)

    def _counted(
        self, meter: Meter, end: datetime | None, events: tuple[EventKey, ...], *, estimated: bool
    ) -> Contribution:
        start, ended = self.event, end if estimated else None
        quantity = ZERO if end is None else Decimal(billed_s(end - start.time, self.terms))
        return Contribution(meter, start, self.member, 0, quantity, self.dimensions, None, events, estimated, ended)


def opened(meter: Meter, event: UsageEvent, key: RunKey, site: Site) -> Session:
    """Return the session that `event` begins at `site`."""
    pairing = pairing_of(meter)
    terms = Terms(
        missing_end=pairing.missing_end,
        minimum_s=pairing.minimum_s,
        first_s=pairing.increment.first_s,
        step_s=pairing.increment.step_s,
        idle_s=pairing.idle_s,
        closes=site.closes,
        timezone=site.timezone,
    )
    until = event.time + timedelta(seconds=pairing.max_s)
    return Session(key, event, until, terms, dimensions(meter, event.data) if meter.group_by else {})


def billed_s(length: timedelta, terms: Terms) -> int:
    """Return the seconds that a session of `length` counts: whole ones, at least the minimum, in increments.

    Nothing in whole increments is nothing: a session that ends where it starts counts the minimum, or 0.
    """
    seconds = max(-(-length // _SECOND), terms.minimum_s)
    first, step = terms.first_s, terms.step_s
    if seconds == 0:
        return 0
    return first if seconds <= first else first - (first - seconds) // step * step


def next_closing(instant: datetime, *, closes: str, zone_name: str) -> datetime:
    """Return the first instant after `instant` at which a site closes that does so at `closes`, `HH:MM` of its zone.

    Each date has one: of two when the clocks are set back the first, of none the moment at which they are set forward.
    """
    hours, minutes = closes.split(":")
    after_midnight = timedelta(hours=int(hours), minutes=int(minutes))
    midnight = datetime.combine(local_date(instant, zone_name), time.min)
    while (at := local_instant(midnight + after_midnight, zone_name)) <= instant:
        midnight += _DAY
    return at
