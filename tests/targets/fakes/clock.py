"""The clock of a fake: it stands where it was set, until the test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Clock:
    """A vendor's time. Nothing moves it but `advance`: what a vendor forgets after a day is forgotten on request."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return self._now

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> datetime:
        """Move on; return the new time."""
        self._now += timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return self._now

    def unix_s(self) -> int:
        """Return the time in whole seconds since 1970."""
        return int(self._now.timestamp())
