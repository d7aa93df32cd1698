"""What a random space is drawn with: one generator, dates that are remembered, and the words that all parts share."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

from tests.reference.values import Doc

T = TypeVar("T")
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Havana", "UTC")
SITES = {"berlin": "Europe/Berlin", "lordhowe": "Australia/Lord_Howe", "havana": "America/Havana"}
ACCOUNTS = ("acme", "solo", "zeta")
MEMBERS = ("ada", "bob", "eve", "kim")
BADGES = ("badge:B1", "badge:B2", "badge:B3", "badge:B4", "badge:B5")
# Summer time begins, summer time ends, a leap day.
STARTS = (
    datetime(2026, 2, 18, tzinfo=UTC),
    datetime(2026, 2, 18, tzinfo=UTC),
    datetime(2026, 9, 20, tzinfo=UTC),
    datetime(2028, 1, 30, tzinfo=UTC),
)
DAYS = 50
METERS: Doc = {
    "pages": {"event": "print.job", "where": {"status": "completed"}, "aggregate": "sum", "value": "impressions",
              "unit": "page", "group_by": ["color"]},
    "jobs": {"event": "print.job", "where": {"impressions": {"gte": 3, "lt": 30}}, "aggregate": "count",
             "unit": "job", "group_by": ["color", "paper"]},
    "days": {"event": "door.access", "where": {"granted": True, "direction": {"in": ["in", "both"]}},
             "aggregate": "unique_days", "unit": "day"},
    "denied": {"event": "door.access", "where": {"reason": {"exists": True}}, "aggregate": "count", "unit": "try",
               "group_by": ["door"]},
    "visits": {"event": "door.access", "aggregate": "count", "unit": "visit", "group_by": ["door"]},
    "presence": {"event": "door.access", "where": {"granted": True}, "aggregate": "duration", "unit": "hour",
                 "key": "member", "start": {"direction": "in"}, "end": {"direction": "out"}, "group_by": ["door"]},
    "online": {"event": "wifi.session", "aggregate": "duration", "unit": "minute", "key": "session",
               "start": {"status": "start"}, "end": {"status": "stop"}},
    "traffic": {"event": "wifi.session", "aggregate": "counter", "value": "bytes_in", "key": "session",
                "scale": "0.001", "unit": "MB", "group_by": ["ap"]},
    "peak": {"event": "space.gauge", "aggregate": "max", "value": "level", "unit": "seat"},
    "plants": {"event": "space.gauge", "aggregate": "latest", "value": "level", "unit": "plant"},
    "zones": {"event": "space.gauge", "aggregate": "unique", "value": "area", "unit": "area"},
    "rooms": {"event": "room.booking", "where": {"status": {"in": ["booked", "used"]}}, "aggregate": "sum",
              "value": "hours", "unit": "hour", "group_by": ["resource"]},
    "cafe": {"event": "pos.sale", "aggregate": "sum", "value": "lines.amount", "unit": "EUR", "group_by": ["category"]},
    "laundry": {"event": "pos.sale", "aggregate": "sum",
                "value": "lines.quantity", "scale": "7", "unit": "minute"},
    "weight": {"event": "pos.sale", "aggregate": "sum", "value": "lines.detail.kg", "unit": "kg",
               "group_by": ["lines.category"]},
    "items": {"event": "pos.sale", "aggregate": "sum", "value": "lines.quantity", "unit": "item"},
    "receipts": {"event": "pos.sale", "aggregate": "count", "unit": "receipt"},
    "data": {"event": "usage.reported", "unit": "GB", "group_by": ["kind"]},
}  # fmt: skip
VALUES: dict[str, list[Any]] = {
    "color": [True, False], "paper": ["a4", "a3"], "door": ["main", "back"], "category": ["food", "drink"],
    "lines.category": ["food", "drink"], "kind": ["up", 1], "ap": ["ap1", "ap2"], "resource": ["big", "small"],
}  # fmt: skip
UNITS = {name: meter["unit"] for name, meter in METERS.items() if meter["unit"] != "EUR"}


@dataclass
class Scenario:
    """`versions` in the order of application, each with its date; `puts` are parts of the directory."""

    versions: list[tuple[str | None, Doc]]
    puts: list[Doc]
    now: datetime
    start: datetime
    closes: list[tuple[str, datetime]] = field(default_factory=list)
    events: list[Doc] = field(default_factory=list)


class Chance:
    """Draws from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 -- the same scenario for the same seed
        self.start = self.one_of(STARTS)
        self.moments: list[datetime] = []
        self.turns: list[datetime] = []

    def one_of(self, several: list[T] | tuple[T, ...]) -> T:
        return self.random.choice(several)

    def yes(self, odds: float) -> bool:
        return self.random.random() < odds

    def count(self, least: int, most: int) -> int:
        return self.random.randint(least, most)

    def some(self, several: list[T], most: int) -> list[T]:
        return self.random.sample(several, min(len(several), self.random.randint(1, most)))

    def day(self) -> datetime:
        return self.start + timedelta(days=self.count(1, DAYS - 1))

    def date(self) -> str:
        """A date, or now and then an instant; remembered, so that events fall close to it."""
        if self.turns and self.yes(0.1):
            return self.one_of(self.turns).date().isoformat()
        at = self.day().replace(hour=0)
        if self.yes(0.2):
            at += timedelta(hours=self.count(0, 23), minutes=self.one_of([0, 30]))
            self.moments.append(at)
            return text_of(at)
        self.moments.append(at)
        return at.date().isoformat()

    def instant(self) -> str:
        """An instant, as the dates of members are put: whose midnight a date means hangs on their accounts so far."""
        at = self.day() + timedelta(hours=self.one_of([0, 4, 5, 13, 23]))
        self.moments.append(at)
        return text_of(at)

    def after(self, start: str | None, *, dates: bool = True) -> str:
        for _ in range(50):
            found = self.date() if dates else self.instant()
            if start is None or (date.fromisoformat(found[:10]) - date.fromisoformat(start[:10])).days > 1:
                return found
        begun = self.start.date() if start is None else date.fromisoformat(start[:10])
        later = max(begun + timedelta(days=10), self.start.date() + timedelta(days=100)).isoformat()
        return later if dates else f"{later}T00:00:00Z"

    def moment(self) -> datetime:
        """When something happens: anywhere, close to a remembered date, or close to a midnight or closing time."""
        at = self.start + timedelta(seconds=self.count(0, DAYS * 86400))
        if self.yes(0.3) and self.moments:
            at = self.one_of(self.moments) + timedelta(hours=self.count(-14, 14))
            at += timedelta(microseconds=self.one_of([-1, 0, 0, 1]))
        elif self.yes(0.3):
            at = at.replace(hour=self.one_of([4, 5, 13, 22, 23]), minute=self.one_of([0, 59]), second=0)
        return at

    def money(self) -> str:
        return self.one_of(["0.004", "0.05", "0.333", "1.25", "2", "0", "12.345"])


def text_of(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
