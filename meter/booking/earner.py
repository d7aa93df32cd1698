"""Enters what the days that have ended have earned of deferred fees: sweep after sweep, by the operator's clock.

midnight ──▶ schedules with days to enter, some a transaction, locked ──▶ entries of those days ──▶ until tomorrow

The rows say what is left to do, so any number of processes may sweep, and one that dies has entered a day or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from meter.booking.worker import RatingWorker
from meter.clock import Clock, monotonic_s
from meter.export.journal import BookingDay, earned_entries
from meter.model.instant import local_midnight
from meter.model.journal import Deferral
from meter.store.deferrals import lock_due, move_on
from meter.store.engine import Database
from meter.store.journal import insert_entries
from meter.telemetry import Telemetry

# What was booked just before midnight and committed just after it is found by the next look.
SWEEP_INTERVAL_S: Final = 60.0
# Gone through in one transaction: an entry each for the day that has just ended, in some 50 ms.
DEFERRALS_MAX: Final = 200
# After a standstill of days a transaction goes no further than about so many entries: others share its loop.
ENTRIES_MAX: Final = 1000


class Earner:
    """Enters the days of an operator's schedules once they have ended."""

    def __init__(
        self,
        worker: RatingWorker,
        *,
        database: Database,
        operator: str,
        telemetry: Telemetry,
        clock: Clock,
        booked: Callable[[], None] = lambda: None,
        interval_s: float = SWEEP_INTERVAL_S,
    ) -> None:
        """Prepare to sweep for `operator`: when its day ends, and each `interval_s` for what came late.

        `booked` is called after each commit of entries.
        """
        self._worker = worker
        self._database = database
        self._operator = operator
        self._telemetry = telemetry
        self._clock = clock
        self._booked = booked
        self._interval_s = interval_s
        self._midnight: datetime | None = None
        self._next_s = monotonic_s()

    async def step(self) -> bool:
        """Do a transaction's share of a sweep that is due; return whether there is more of it.

        Raises Unavailable where the database is away; nothing of the share was written then.
        """
        if monotonic_s() < self._next_s and (self._midnight is None or self._clock() < self._midnight):
            return False
        self._next_s, self._midnight = monotonic_s() + self._interval_s, None
        async with self._database.begin() as connection:
            facts = await self._worker.facts.current(connection)
            if facts is None:
                return False
            booked_at = self._clock()
            day = BookingDay.at(booked_at, facts.catalogs.at(booked_at))
            deferrals = await lock_due(connection, self._operator, before=day.today, deferrals_max=DEFERRALS_MAX)
            before = _reach(deferrals, day.today)
            entries = earned_entries(deferrals, before=before, dated=day.of)
            await insert_entries(connection, self._operator, entries)
            await move_on(connection, self._operator, [one.charge for one in deferrals], before=before)
        if deferrals:
            self._next_s = monotonic_s()
            self._telemetry.entries_suspended(sum(entry.suspense for entry in entries))
            self._booked()
            return True
        self._midnight = local_midnight(day.today + timedelta(days=1), day.timezone)
        return False


def _reach(deferrals: Sequence[Deferral], today: date) -> date:
    """Return the day up to which one transaction enters: today, or as many days from the oldest as it bears."""
    if not deferrals:
        return today
    days = max(1, ENTRIES_MAX // len(deferrals))
    return min(today, min(one.next_day for one in deferrals) + timedelta(days=days))
