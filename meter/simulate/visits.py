"""Who comes when, and what the doors say about it.

arrival        lunch out    lunch in             departure
├── morning ───────┤            ├──── afternoon ─────┤
in                out           in                  out   (the last one forgotten at times)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from meter.simulate.dice import Dice, digest
from meter.simulate.event import HOUR_MS, MINUTE_MS, SECOND_MS, Happening
from meter.simulate.population import Member, Site, Space

# How often a member of a plan comes on a good day, and how good the days are (Monday first). In percent.
_ATTENDANCE: Final[Mapping[str, int]] = {"resident": 90, "team": 80, "flex-10": 55, "day-pass": 50}
_WEEKDAYS: Final = (85, 100, 100, 95, 65, 14, 5)
_SATURDAY: Final = 5
_SUNDAY: Final = 6

_FORGOTTEN_EXIT: Final = 7
_FORGOTTEN_LUNCH_EXIT: Final = 3
_STAY_MS_MIN: Final = 40 * MINUTE_MS
_LUNCH_FROM_MS: Final = 11 * HOUR_MS
_LUNCH_UNTIL_MS: Final = 14 * HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One person's day: `spans` of presence in milliseconds of the local day; `member` is None for a stranger."""

    member: Member | None
    badge: str
    spans: tuple[tuple[int, int], ...]

    @property
    def arrival(self) -> int:
        """Return when the person first comes in."""
        return self.spans[0][0]

    @property
    def departure(self) -> int:
        """Return when the person leaves for good."""
        return self.spans[-1][1]

    @property
    def lunch_return(self) -> int | None:
        """Return when the person comes back from lunch, or None for one who stays in."""
        return self.spans[1][0] if len(self.spans) > 1 else None

    def present(self, start: int, end: int) -> bool:
        """Tell whether the person is in the space from `start` to `end`."""
        return any(begin <= start and end <= finish for begin, finish in self.spans)


def opening(site: Site, day: date) -> tuple[int, int]:
    """Return when the doors let members in on `day`, in milliseconds of the local day: shorter at weekends."""
    if day.weekday() == _SUNDAY:
        return 10 * HOUR_MS, 18 * HOUR_MS
    if day.weekday() == _SATURDAY:
        return 9 * HOUR_MS, 19 * HOUR_MS
    return site.opens * MINUTE_MS, site.closes * MINUTE_MS


def visits(space: Space, day: date, *, seed: int) -> list[Visit]:
    """Return who comes on `day`, in the order of the members, strangers last."""
    hours = opening(space.site, day)
    came = []
    for member in space.members:
        dice = Dice(seed, day, member.id, "visit")
        if dice.chance(_ATTENDANCE[member.plan] * _WEEKDAYS[day.weekday()] // 100):
            # A member keeps to a rhythm: early birds stay early birds.
            rhythm = Dice(seed, member.id, "rhythm").bell(9 * 60 + 10, 100) * MINUTE_MS
            came.append(Visit(member=member, badge=member.badge, spans=_spans(dice, rhythm, hours)))
    dice = Dice(seed, day, space.site.id, "strangers")
    for number in range(dice.between(0, 2) if day.weekday() < _SATURDAY else 0):
        # A badge that the front desk gave out and nobody has entered yet: granted, and claimed later or never.
        badge = "badge:04" + digest(seed, day, space.site.id, number, size_bytes=6).upper()
        came.append(Visit(member=None, badge=badge, spans=_spans(dice, dice.bell(10 * 60, 60) * MINUTE_MS, hours)))
    return came


def _spans(dice: Dice, rhythm: int, hours: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    opens, closes = hours
    latest = closes - 2 * MINUTE_MS
    arrival = dice.bell(rhythm, 45 * MINUTE_MS) + dice.between(0, MINUTE_MS)
    arrival = min(max(arrival, opens + dice.between(0, 10 * MINUTE_MS)), latest - _STAY_MS_MIN)
    stay = dice.bell(7 * HOUR_MS + 30 * MINUTE_MS, 5 * HOUR_MS)
    departure = min(arrival + max(stay, _STAY_MS_MIN), latest - dice.between(0, 20 * MINUTE_MS))
    departure = max(departure, arrival + 15 * MINUTE_MS)
    out = dice.bell(12 * HOUR_MS + 25 * MINUTE_MS, 70 * MINUTE_MS)
    back = out + dice.between(25 * MINUTE_MS, 65 * MINUTE_MS)
    goes = arrival < _LUNCH_FROM_MS and departure > _LUNCH_UNTIL_MS and dice.chance(65)
    return ((arrival, out), (back, departure)) if goes and back + _STAY_MS_MIN < departure else ((arrival, departure),)


def door_events(visit: Visit, day: date, *, seed: int) -> Iterator[Happening]:
    """Yield what the badge does at the doors: in and out at the main one, the studio's inner one, a misread before."""
    dice = Dice(seed, day, visit.badge, "door")
    if dice.chance(3):
        at = visit.arrival - dice.between(3, 15) * SECOND_MS
        yield _swipe(at, visit.badge, "main", "in", reason="unreadable")
    for number, (start, end) in enumerate(visit.spans):
        yield _swipe(start, visit.badge, "main", "in")
        last = number == len(visit.spans) - 1
        # Someone held the door: the badge stays in the pocket and no exit is known.
        if not dice.chance(_FORGOTTEN_EXIT if last else _FORGOTTEN_LUNCH_EXIT):
            yield _swipe(end, visit.badge, "main", "out")
    if visit.member is not None and visit.member.plan in {"team", "resident"}:
        start, end = visit.spans[0]
        for _ in range(dice.between(0, 2)):
            yield _swipe(dice.between(start + 30 * SECOND_MS, end - SECOND_MS), visit.badge, "studio", "in")


def front_door(space: Space, day: date, *, seed: int) -> Iterator[Happening]:
    """Yield what no visit explains: refused badges, known and unknown, and the pulses of a door held open."""
    dice = Dice(seed, day, space.site.id, "front door")
    opens, closes = opening(space.site, day)
    for number in range(dice.between(0, 2)):
        badge = "badge:04" + digest(seed, day, space.site.id, "refused", number, size_bytes=6).upper()
        yield _swipe(dice.between(opens, closes), badge, "main", "in", reason="unknown_credential")
    if dice.chance(30):
        member = dice.pick(space.members)
        yield _swipe(opens - dice.between(5, 40) * MINUTE_MS, member.badge, "main", "in", reason="outside_hours")
    for _ in range(dice.between(0, 3)):
        at = dice.between(opens, closes)
        for pulse in range(dice.between(2, 6)):
            held = (pulse + 1) * 10
            data = {"door": "main", "seconds": held}
            yield Happening(at_ms=at + held * SECOND_MS, device="door/main", type="door.held", subject=None, data=data)


def _swipe(at_ms: int, badge: str, door: str, direction: str, *, reason: str | None = None) -> Happening:
    data = {"door": door, "direction": direction, "granted": reason is None, "credential": "card"}
    if reason is not None:
        data["reason"] = reason
    return Happening(at_ms=at_ms, device=f"door/{door}", type="door.access", subject=badge, data=data)
