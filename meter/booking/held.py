"""Which sites keep billing periods from closing that are over, by the rule of `meter.booking.closing`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.closing import Look, obstacles
from meter.booking.facts import Facts
from meter.model.period import Period, Periods
from meter.store.closes import Closes, Closing, closes_of, used_sites

# Looked back so many periods of an account: what has stayed open for longer than a year is known by then.
PERIODS_MAX: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldClosings:
    """What a site keeps open: periods of so many accounts, the earliest of which ended at `since`."""

    accounts: int
    since: datetime


async def held_closings(
    connection: AsyncConnection, operator: str, facts: Facts, known: Look
) -> dict[str, HeldClosings]:
    """Return by site what its agents' marks keep open; sites that keep nothing open are left out."""
    over: dict[Periods, list[Period]] = {}
    wanted: list[Closing] = []
    for account in facts.directory.accounts.values() if known.marks else ():
        periods = account.periods
        if periods not in over:
            over[periods] = _over(periods, known)
        wanted += [Closing(account.id, period.start, period.end) for period in over[periods]]
    if not wanted:
        return {}
    closed = await closes_of(connection, operator, {one.account for one in wanted})
    standing = [one for one in wanted if one.start not in closed.get(one.account, Closes()).all]
    held: dict[str, list[Closing]] = {}
    for one, sites in (await used_sites(connection, operator, standing)).items():
        for obstacle in obstacles(Period(one.start, one.end), sites, known):
            if obstacle.site is not None:
                held.setdefault(obstacle.site, []).append(one)
    return {
        site: HeldClosings(accounts=len({one.account for one in some}), since=min(one.end for one in some))
        for site, some in sorted(held.items())
    }


def _over(periods: Periods, known: Look) -> list[Period]:
    """Return the latest periods that are over and that some site is not complete for."""
    found: list[Period] = []
    period = periods.at(known.at)
    while len(found) < PERIODS_MAX:
        period = periods.at(period.start - datetime.resolution)
        if all(mark is not None and mark >= period.end for mark in known.marks.values()):
            break
        found.append(period)
    return found
