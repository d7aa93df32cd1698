"""Rooms and printers: meetings are booked, held or dropped, and handouts are printed just before they begin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from meter.simulate.dice import Dice, digest
from meter.simulate.event import HOUR_MS, MINUTE_MS, SECOND_MS, Happening, LocalDay
from meter.simulate.population import Member, Space
from meter.simulate.visits import Visit, opening

_ROOMS: Final = ("attic", "garden", "harbour")
_PRINTERS: Final = ("ground-floor", "first-floor")
_HALF_HOUR_MS: Final = 30 * MINUTE_MS
# The last meeting begins at five.
_LAST_START_MS: Final = 17 * HOUR_MS
# One wish for so many members who came, and two that somebody has anyway; about half find the room free.
_MEMBERS_PER_WISH: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """A room, its hours in milliseconds of the local day, and who booked it."""

    organiser: Member
    room: str
    start: int
    end: int


def meetings(space: Space, came: Sequence[Visit], day: date, *, seed: int) -> list[Meeting]:
    """Return the day's meetings: none overlaps another in its room, and who booked is in the space throughout."""
    dice = Dice(seed, day, space.site.id, "meetings")
    organisers = [visit for visit in came if visit.member is not None]
    planned: list[Meeting] = []
    for _ in range(len(organisers) // _MEMBERS_PER_WISH + 2 if organisers else 0):
        visit = dice.pick(organisers)
        room = dice.pick(_ROOMS)
        start = dice.between(9 * 2, _LAST_START_MS // _HALF_HOUR_MS) * _HALF_HOUR_MS
        end = start + dice.pick((1, 2, 2, 3, 4)) * _HALF_HOUR_MS
        taken = any(other.room == room and start < other.end and other.start < end for other in planned)
        if visit.member is not None and visit.present(start - 20 * MINUTE_MS, end) and not taken:
            planned.append(Meeting(organiser=visit.member, room=room, start=start, end=end))
    return planned


def booking_events(meeting: Meeting, space: Space, today: LocalDay, *, seed: int) -> Iterator[Happening]:
    """Yield the booking and what became of it: used at its end, cancelled before its start, or nothing more."""
    dice = Dice(seed, today.day, space.site.id, meeting.room, meeting.start, "booking")
    booking = digest(seed, today.day, space.site.id, meeting.room, meeting.start)
    opens, _ = opening(space.site, today.day)
    booked_at = max(opens, meeting.start - dice.between(20, 300) * MINUTE_MS) + dice.between(0, 59_999)

    def happening(at_ms: int, status: str) -> Happening:
        data = {
            "booking": booking,
            "resource": f"room-{meeting.room}",
            "start": today.offset_text(meeting.start),
            "end": today.offset_text(meeting.end),
            "hours": Decimal((meeting.end - meeting.start) // _HALF_HOUR_MS) / 2,
            "status": status,
        }
        subject = meeting.organiser.email
        return Happening(at_ms=at_ms, device="room/calendar", type="room.booking", subject=subject, data=data)

    yield happening(booked_at, "booked")
    fate = dice.between(0, 99)
    if fate < 88:
        yield happening(meeting.end, "used")
    elif fate < 96:
        yield happening(meeting.start - dice.between(1, 14) * MINUTE_MS, "cancelled")


def handouts(meeting: Meeting, space: Space, day: date, *, seed: int) -> Iterator[Happening]:
    """Yield the burst at the printer in the quarter of an hour before a meeting."""
    dice = Dice(seed, day, space.site.id, meeting.room, meeting.start, "handouts")
    if not dice.chance(65):
        return
    at = meeting.start - dice.between(6, 15) * MINUTE_MS
    for _ in range(dice.between(1, 4)):
        yield _job(dice, at, meeting.organiser, pages=dice.between(2, 16), copies=dice.between(1, 5))
        at += dice.between(20, 70) * SECOND_MS + dice.between(0, 999)


def everyday_jobs(visit: Visit, day: date, *, seed: int) -> Iterator[Happening]:
    """Yield the odd page that a member prints at any time of a visit."""
    if visit.member is None:
        return
    dice = Dice(seed, day, visit.badge, "print")
    if dice.chance(50):
        for _ in range(dice.between(1, 3)):
            start, end = dice.pick(visit.spans)
            at = dice.between(start + MINUTE_MS, end - SECOND_MS)
            yield _job(dice, at, visit.member, pages=dice.between(1, 8), copies=1)


def _job(dice: Dice, at_ms: int, member: Member, *, pages: int, copies: int) -> Happening:
    color = dice.chance(30)
    duplex = dice.chance(60)
    impressions = pages * copies
    sheets = (pages + 1) // 2 * copies if duplex else impressions
    data = {
        "printer": dice.pick(_PRINTERS),
        "job": digest(at_ms, member.id, dice.between(0, 1 << 60)),
        "impressions": impressions,
        "sheets": sheets,
        "color": color,
        "color_impressions": dice.between(1, impressions) if color else 0,
        "duplex": duplex,
        "paper": "A4",
        "copies": copies,
        "status": "cancelled" if dice.chance(4) else "completed",
    }
    return Happening(at_ms=at_ms, device=f"print/{data['printer']}", type="print.job", subject=member.user, data=data)
