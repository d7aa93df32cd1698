"""Which billing periods may close (rating.md, section 9), and why others may not yet.

usage at sites that have had an agent:   each of them complete up to the period's end
no such site:                            24 h after the end, or after the gateway was set up if that was later
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.facts import Facts
from meter.model.directory import Account
from meter.model.period import Period
from meter.rating.calendar import beats, starts
from meter.rating.facts import AccountFacts
from meter.store.closes import (
    Closes,
    Closing,
    awaiting_refold,
    closes_of,
    first_services,
    newest_seen,
    set_up_at,
    used_sites,
)
from meter.store.edges import site_marks

# rating.md, section 9.
WITHOUT_SITE_AFTER: Final = timedelta(hours=24)

ObstacleKind: TypeAlias = Literal["running", "waiting", "site", "empty", "unrated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was known at one moment: up to when each site that has had an agent is complete (None: it never said).

    `since`: when the gateway was set up; usage of before comes in after that. Everything that the marks vouch for was
    stored by transactions below `below_xid`.
    """

    at: datetime
    since: datetime
    marks: Mapping[str, datetime | None]
    below_xid: int


class Obstacle(NamedTuple):
    """Why a period does not close by itself.

    It runs, or waits, until then; a `site` is complete `until` then; the account has nothing so far; something that is
    known already may still change its books.
    """

    kind: ObstacleKind
    until: datetime | None = None
    site: str | None = None


async def look(connection: AsyncConnection, operator: str, *, at: datetime) -> Look:
    """Return what is known at `at`, the present."""
    since = await set_up_at(connection, operator)
    marks = await site_marks(connection, operator)
    return Look(at=at, since=since, marks=marks, below_xid=await newest_seen(connection))


def obstacles(period: Period, used_sites: Collection[str], known: Look) -> list[Obstacle]:
    """Return what keeps a period from closing by itself where the account had usage at `used_sites`; mostly nothing."""
    if known.at < period.end:
        return [Obstacle("running", period.end)]
    sites = sorted(set(used_sites) & known.marks.keys())
    if not sites:
        due = max(period.end, known.since) + WITHOUT_SITE_AFTER
        return [] if known.at >= due else [Obstacle("waiting", due)]
    found = [Obstacle("site", known.marks[site], site) for site in sites]
    return [obstacle for obstacle in found if obstacle.until is None or obstacle.until < period.end]


def blocks(period: Period, found: Collection[Obstacle], known: Look) -> bool:
    """Tell whether later periods wait for this one too: not where it is only given the day after the setting up."""
    return any(obstacle.kind != "waiting" for obstacle in found) or known.at < period.end + WITHOUT_SITE_AFTER


def first_due(facts: Facts, account: Account) -> datetime | None:
    """Return when something first falls due for the account without usage; None where nothing dated ever does."""
    catalogs = facts.catalogs.of_account(account.id)
    return starts(AccountFacts(account=account, directory=facts.directory, catalogs=catalogs))


def first_period(account: Account, first_service: datetime | None, due: datetime | None) -> Period | None:
    """Return the account's first billing period, by its earliest charge's and `first_due`; None: it has nothing."""
    instants = [instant for instant in (first_service, due) if instant is not None]
    return account.periods.at(min(instants)) if instants else None


def open_periods(account: Account, first: Period, closed: Collection[datetime], *, at: datetime) -> Iterator[Period]:
    """Give the periods from `first` on that are over at `at` and not closed, in order."""
    period = first
    while period.end <= at:
        if period.start not in closed:
            yield period
        period = account.periods.at(period.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """A period that somebody wants closed. `earlier`: the account's first period before it that is still open."""

    closing: Closing
    closed: bool
    obstacles: Collection[Obstacle]
    earlier: Period | None


async def prospects(
    connection: AsyncConnection, operator: str, facts: Facts, accounts: Collection[str], *, name: str, known: Look
) -> list[Prospect]:
    """Return what stands in the way of closing the period `name` ("2026-11") of each account.

    Raises BadInput (`bad_period`).
    """
    entries = {account: facts.directory.accounts[account] for account in sorted(accounts)}
    periods = {account: entry.periods.named(name) for account, entry in entries.items()}
    wanted = {account: Closing(account, period.start, period.end) for account, period in periods.items()}
    busy = await awaiting_refold(connection, operator, accounts)
    services = await first_services(connection, operator, accounts)
    closes = await closes_of(connection, operator, accounts)
    used = await used_sites(connection, operator, wanted.values())
    found = []
    for account, period in periods.items():
        closed = closes.get(account, Closes()).all
        first = first_period(entries[account], services.get(account), first_due(facts, entries[account]))
        standing = obstacles(period, used.get(wanted[account], frozenset()), known)
        if first is None or first.start > period.start:
            standing.append(Obstacle("empty"))
        if account in busy:
            standing.append(Obstacle("unrated"))
        before = () if first is None else open_periods(entries[account], first, closed, at=period.start)
        found.append(
            Prospect(
                closing=wanted[account],
                closed=period.start in closed,
                obstacles=standing,
                earlier=next(iter(before), None),
            )
        )
    return found


def has_minimum(facts: Facts, closing: Closing) -> bool:
    """Tell whether closing the period holds the account's usage against a minimum."""
    account_facts = AccountFacts(
        account=facts.directory.accounts[closing.account],
        directory=facts.directory,
        catalogs=facts.catalogs.of_account(closing.account),
        closed=frozenset((closing.start,)),
    )
    return any(beat.kind == "minimum" for beat in beats(account_facts, Period(closing.start, closing.end)))
