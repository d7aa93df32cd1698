"""The generator: what happens at any number of sites on any number of days, the same for the same seed.

No clock is asked: the first day is given. Each site's day draws its own chance, so the days of a longer run and the
sites of a wider one only add to those of a smaller.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from hashlib import blake2b
from typing import Final

from meter.model.errors import BadInput
from meter.model.instant import zone
from meter.simulate.event import Happening, LocalDay, TrueEvent, encode
from meter.simulate.meetings import booking_events, everyday_jobs, handouts, meetings
from meter.simulate.network import passing_devices, wifi_events
from meter.simulate.population import Space, population
from meter.simulate.till import member_sales, walk_in_sales
from meter.simulate.visits import door_events, front_door, visits

SEED: Final = 1
MEMBERS: Final = 40
DAYS_MAX: Final = 400

# Tills and calendars write local time with its offset, everything else UTC: both are in the wild.
_LOCAL_TIME: Final = frozenset({"pos.sale", "room.booking"})


def simulate(
    *, start_day: date, sites: int = 1, members: int = MEMBERS, days: int = 1, seed: int = SEED
) -> Iterator[TrueEvent]:
    """Yield every event of `days` local days from `start_day` at `sites` sites of `members` members, in order of time.

    `seed` decides what happens; who exists is the same for all (population.py). One day of all sites is held in memory,
    about a kilobyte an event. Raises BadInput for no or too many sites (500), members (2000 a site) or days (400).
    """
    if not 1 <= days <= DAYS_MAX:
        raise BadInput(f"{days} days; take 1 to {DAYS_MAX}", code="bad_population")
    spaces = population(sites=sites, members=members)
    return _days(spaces, start_day, days, seed)


def _days(spaces: tuple[Space, ...], start_day: date, days: int, seed: int) -> Iterator[TrueEvent]:
    for number in range(days):
        day = start_day + timedelta(days=number)
        # Zones span less than the night between two days (population.py), so whole days follow one another in time.
        today = [event for space in spaces for event in site_day(space, day, seed=seed)]
        today.sort(key=lambda event: (event.time, event.source, event.id))
        yield from today


def site_day(space: Space, day: date, *, seed: int) -> list[TrueEvent]:
    """Return the events of one local day at one site in order of time, numbered where an edge sends them."""
    today = LocalDay(day, zone(space.site.zone))
    happened = sorted(_happenings(space, today, seed), key=lambda happening: (happening.at_ms, happening.device))
    return [_event(space, today, happening, sequence) for sequence, happening in enumerate(happened, start=1)]


def _happenings(space: Space, today: LocalDay, seed: int) -> Iterator[Happening]:
    day = today.day
    came = visits(space, day, seed=seed)
    for visit in came:
        yield from door_events(visit, day, seed=seed)
        yield from wifi_events(visit, day, seed=seed)
        yield from member_sales(visit, day, seed=seed)
        yield from everyday_jobs(visit, day, seed=seed)
    for meeting in meetings(space, came, day, seed=seed):
        yield from booking_events(meeting, space, today, seed=seed)
        yield from handouts(meeting, space, day, seed=seed)
    yield from front_door(space, day, seed=seed)
    yield from passing_devices(space, day, seed=seed)
    yield from walk_in_sales(space, day, seed=seed)


def _event(space: Space, today: LocalDay, happening: Happening, sequence: int) -> TrueEvent:
    source = f"{space.site.id}/{happening.device}"
    local = happening.type in _LOCAL_TIME
    written = today.offset_text(happening.at_ms) if local else today.utc_text(happening.at_ms)
    fields: dict[str, object] = {"source": source, "type": happening.type}
    if happening.subject is not None:
        fields["subject"] = happening.subject
    fields |= {"time": written, "data": happening.data}
    # The id follows from all that the event says: two runs can never send one id with two contents.
    event_id = blake2b(encode(fields), digest_size=10).hexdigest()
    marks: dict[str, object] = {}
    if space.site.edge:
        # The agent begins each day with a fresh spool, so the numbers do not depend on the days simulated before.
        marks = {"edge": f"{space.site.id}-edge", "boot": today.day.toordinal(), "sequence": sequence}
    body = encode({"specversion": "1.0", "id": event_id, **marks, **fields})
    return TrueEvent(time=today.instant(happening.at_ms), source=source, id=event_id, body=body)
