"""A clock that a test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from edge.clock import Reading

START = datetime(2026, 11, 22, 10, tzinfo=UTC)


class VirtualClock:
    """Stands still until it is moved. `machine_boot` is counted up by `reboot`."""

    def __init__(self, wall: datetime = START, *, synchronised: bool | None = True) -> None:
        self.wall = wall
        self.boottime_ns = 60_000_000_000
        self.boots = 1
        self.synchronised = synchronised

    def read(self) -> Reading:
        return Reading(
            wall=self.wall,
            boottime_ns=self.boottime_ns,
            machine_boot=f"machine-boot-{self.boots}",
            synchronised=self.synchronised,
        )

    def advance(self, by: timedelta) -> None:
        """Let time pass on all clocks."""
        self.wall += by
        self.boottime_ns += by // timedelta(microseconds=1) * 1000

    def set_wall(self, wall: datetime) -> None:
        """Set the wall clock only, as NTP or a person does."""
        self.wall = wall

    def reboot(self) -> None:
        """Start the machine anew: the monotonic clock begins at zero."""
        self.boots += 1
        self.boottime_ns = 0
