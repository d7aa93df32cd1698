"""What is stored, held against itself: the ties of the store, and two that need to know what the facts say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from decimal import Decimal, localcontext
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.facts import Facts
from meter.booking.history import effective_of
from meter.booking.preview import facts_now
from meter.export.journal import owed_accounts, tax_accounts
from meter.model.event import REFUND, UsageEvent
from meter.model.money import EXACT, ONE, ZERO, plain, round_amount, round_quantity, unit_scale
from meter.rating.fold import AccountFacts
from meter.rating.grants import find
from meter.rating.resolve import Unresolved, place
from meter.store.engine import Database
from meter.store.ties import TIES, Broken, Drawn, broken, drawn_of_all, not_listed
from meter.store.usage import BEGINNING, Cursor, read_tail

_PAGE_EVENTS: Final = 1000
# Hours are kept to 12 places, so that thirds of one sum to a little more or less.
_CRUMB: Final = Decimal("0.000001")
_RATED: Final = text("SELECT xid, seq FROM rating_cursors WHERE operator = :operator ORDER BY xid, seq LIMIT 1")
_BY_FOLD: Final = "the account folds again by `meter rerate`; `meter audit verify` names rows that were changed"


class Told(NamedTuple):
    """A tie by its name, and what is wrong with it: the fault, the facts, the remedy; None where it holds."""

    name: str
    fault: str | None


async def ties(
    database: Database, operator: str, *, checked: Callable[[int], None] = lambda _events: None
) -> AsyncIterator[Told]:
    """Give each tie with what is wrong with it. Reads only; `checked` is told how many events were looked at."""
    async with database.begin() as connection:
        facts = await facts_now(connection, operator)
    owed = {name for version in facts.catalogs.versions for name in owed_accounts(version)}
    taxed = {name for version in facts.catalogs.versions for name in tax_accounts(version)}
    for tie in TIES:
        found = await broken(database, operator, tie, owed=owed, taxed=taxed)
        yield _told(tie.name, found, differs=tie.differs, remedy=tie.remedy)
    found = await _without_outcome(database, operator, facts, checked)
    yield _told(
        "events and their outcome",
        found,
        differs="an event was rated, is in no account's fold and waits for nobody",
        remedy="claim its identity (`meter identities`), or put an account's claim again, and it is rated",
    )
    async with database.begin() as connection:
        drawn = await drawn_of_all(connection, operator)
    yield _told(
        "credit",
        _first(overdrawn(facts, drawn)),
        differs="more was drawn of a grant than it gives, or more came back than was drawn",
        remedy=_BY_FOLD,
    )


def _told(name: str, found: Broken | None, *, differs: str, remedy: str) -> Told:
    if found is None:
        return Told(name, None)
    times = "1 place" if found.count == 1 else f"{found.count} places"
    return Told(name, f"{differs}, in {times}; the first: {found.first}; {remedy}")


def _first(faults: Iterable[str]) -> Broken | None:
    found = sorted(faults)
    return Broken(count=len(found), first=found[0]) if found else None


async def _without_outcome(
    database: Database, operator: str, facts: Facts, checked: Callable[[int], None]
) -> Broken | None:
    """Return the events behind every shard's cursor that no account folds and that are not listed either.

    What an account folds is held against its books by the fold itself.
    """
    count, first, seen, cursor = 0, "", 0, BEGINNING
    while True:
        async with database.begin() as connection:
            row = (await connection.execute(_RATED, {"operator": operator})).one_or_none()
            rated = BEGINNING if row is None else Cursor(int(row.xid), row.seq)
            page = await read_tail(connection, operator, cursor, events_max=_PAGE_EVENTS)
            events = [one.event for one in page if not one.held and one.cursor <= rated]
            lost = await _lost(connection, operator, events, facts)
        seen += len(events)
        checked(seen)
        count += len(lost)
        first = first or next((f"{event.source} {event.id} of {event.subject or 'nobody'}" for event in lost), "")
        if len(page) < _PAGE_EVENTS or page[-1].cursor > rated:
            return Broken(count=count, first=first) if count else None
        cursor = page[-1].cursor


async def _lost(
    connection: AsyncConnection, operator: str, events: Iterable[UsageEvent], facts: Facts
) -> list[UsageEvent]:
    candidates = {(event.source, event.id): event for event in events if _is_unresolved(event, facts)}
    if not candidates:
        return []
    unlisted = [candidates[key] for key in sorted(await not_listed(connection, operator, candidates))]
    # Withdrawn, or told anew by a later event on the same thing: it counts no more.
    counting = {event.key: event for event in await effective_of(connection, operator, unlisted)} if unlisted else {}
    return [event for event in unlisted if event.key in counting and _is_unresolved(counting[event.key], facts)]


def _is_unresolved(event: UsageEvent, facts: Facts) -> bool:
    if event.type == REFUND:
        return False  # whose it is says its sale
    return isinstance(place(event, directory=facts.directory, catalogs=facts.catalogs), Unresolved)


def overdrawn(facts: Facts, drawn: Iterable[Drawn]) -> Iterable[str]:
    """Give each instance of which more was drawn than it has, or less than nothing; `drawn` is in order of accounts."""
    for account, group in groupby(drawn, key=attrgetter("account")):
        of = {one.grant: one for one in group}
        holder = facts.directory.accounts.get(account)
        known = None
        if holder is not None:
            catalogs = facts.catalogs.of_account(account)
            known = AccountFacts(account=holder, directory=facts.directory, catalogs=catalogs, closed=frozenset())
        for grant, one in of.items():
            given = None if known is None else _given(known, grant, {name: other.drawn for name, other in of.items()})
            if (one.used or ZERO) < -_CRUMB:
                yield f"{account} was given back {plain(-one.used)} of {grant} that it never drew"
            elif given is not None and one.drawn > given + _CRUMB:
                yield f"{account} has drawn {plain(one.drawn)} of {grant}, which gives {plain(given)}"
            elif given is None and "/" not in grant and one.drawn > _CRUMB:
                yield f"{account} has drawn {plain(one.drawn)} of {grant}, which nobody gave it"


def _given(facts: AccountFacts, grant: str, drawn: dict[str, Decimal]) -> Decimal | None:
    """Return what an instance gives, in its unit; None where today's facts do not say."""
    instance = find(facts, grant)
    if instance is None:
        return None
    scale, spent = unit_scale(instance.unit), {}
    with localcontext(EXACT):
        if (before := instance.rolled_from) is not None and before in drawn:
            spent[before] = drawn[before] if scale == ONE else round_quantity(drawn[before] * scale)
        return round_amount(instance.granted(spent) / scale)
