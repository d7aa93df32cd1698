"""The day of an entry: what it is about, or the day of booking where that day may no longer change (decision 0013)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from meter.model.catalog import Catalog
from meter.model.charge import Charge
from meter.model.instant import local_date


def moment_of(charge: Charge) -> datetime:
    """Return the instant that a charge is about: of what falls due at its period's end the last moment of that."""
    line = charge.line
    if line.key.time < line.period.end or line.key.of_expiry:
        return line.key.time
    return line.period.end - datetime.resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingDay:
    """Today in the operator's zone, and the last day that the accountant has closed."""

    today: date
    timezone: str
    locked: date | None = None

    @classmethod
    def at(cls, booked_at: datetime, catalog: Catalog) -> BookingDay:
        """Return the day of `booked_at` by the catalog that is in force then."""
        today = local_date(booked_at, catalog.timezone)
        return cls(today=today, timezone=catalog.timezone, locked=catalog.ledger.locked)

    def of(self, day: date, *, adjusts: bool = False) -> date:
        """Return the date of an entry about `day`; `adjusts`: about a period that is closed."""
        return self.today if adjusts or (self.locked is not None and day <= self.locked) else day

    def of_charge(self, charge: Charge) -> date:
        """Return the date of a charge's entry."""
        return self.of(self.day(moment_of(charge)), adjusts=charge.kind == "adjustment")

    def day(self, instant: datetime) -> date:
        """Return the local day of an instant."""
        return local_date(instant, self.timezone)
