"""What an account's fold needs from the log: its events that count, in order, and the charges that stand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.facts import Facts
from meter.model.event import EventKey, Position, UsageEvent
from meter.rating.effective import effective
from meter.rating.fold import PlacedEvent
from meter.rating.resolve import Placed, Unresolved, place
from meter.store import usage


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Of some accounts after a position: their events that count, in order; and those that nobody answers for."""

    placed: Mapping[str, list[PlacedEvent]]
    unresolved: Sequence[tuple[UsageEvent, str | None]]

    def keys_of(self, accounts: Collection[str]) -> set[EventKey]:
        """Return the keys of the events placed with any of `accounts`."""
        return {placed.event.key for account in accounts for placed in self.placed.get(account, ())}


async def load_history(
    connection: AsyncConnection, operator: str, accounts: Collection[str], facts: Facts, *, after: Position
) -> History:
    """Return what the log holds for `accounts` after a position, with voids, amendments and things applied."""
    subjects: set[str] = set()
    for account in accounts:
        subjects |= facts.directory.subjects_of(account)
    found = await usage.events_of_subjects(connection, operator, subjects, after=after) if subjects else []
    sites = _walk_in_sites(accounts, facts)
    if sites:
        found += await usage.sales_at(connection, operator, sites, after=after)
    counted = await effective_of(connection, operator, found)
    placed: dict[str, list[PlacedEvent]] = {account: [] for account in accounts}
    unresolved = []
    for event in counted:
        if event.position <= after:
            continue
        placement = place(event, directory=facts.directory, catalogs=facts.catalogs)
        if isinstance(placement, Placed) and placement.account in placed:
            placed[placement.account].append(PlacedEvent(event=event, member=placement.member))
        elif isinstance(placement, Unresolved):
            unresolved.append((event, placement.identity))
    return History(placed=placed, unresolved=unresolved)


async def effective_of(connection: AsyncConnection, operator: str, events: Sequence[UsageEvent]) -> list[UsageEvent]:
    """Return what counts of `events` and of the events on the same things, in order."""
    known = {event.key: event for event in events}
    for other in await usage.events_of_things(connection, operator, events):
        known.setdefault(other.key, other)
    revisions = await usage.revisions_of(connection, operator, known.keys())
    return effective(known.values(), revisions)


def _walk_in_sites(accounts: Collection[str], facts: Facts) -> set[str]:
    """Return the sites whose paid sales to unknown guests any catalog version gives to one of `accounts`."""
    return {
        site.id for version in facts.catalogs.versions for site in version.sites.values() if site.walk_in in accounts
    }
