"""An account as it stands now: its newest checkpoint, folded over what came after it, rated or not.

    checkpoint before all that waits ──▶ history after it ──▶ fold up to the clock ──▶ state, and the lines since

Reads only, and books nothing: the worker does, from the same events.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.facts import Facts
from meter.booking.history import load_history, walk_in_sites
from meter.model.charge import Line
from meter.model.event import EventKey, Position
from meter.rating.fold import AccountFacts, TooLate, fold
from meter.rating.quote import Window
from meter.rating.state import STATE_FORMAT, AccountState
from meter.store.booking import checkpoints_before
from meter.store.closes import Closes, closes_of
from meter.store.standing import booked_until, unrated_since
from meter.store.usage import ORIGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The account's state at the clock, and what was folded on the way there from `base`: its events and lines."""

    facts: AccountFacts
    state: AccountState
    base: Position
    lines: Sequence[Line]
    events: frozenset[EventKey]


async def standing_of(conn: AsyncConnection, operator: str, facts: Facts, account: str, *, at: datetime) -> Standing:
    """Return how the account stands at `at`, by everything that is stored when this begins."""
    since = await unrated_since(
        conn,
        operator,
        account,
        subjects=facts.directory.subjects_of(account),
        sites=walk_in_sites([account], facts),
    )
    closed = (await closes_of(conn, operator, [account])).get(account, Closes()).all
    known = AccountFacts(
        account=facts.directory.accounts[account],
        directory=facts.directory,
        catalogs=facts.catalogs.of_account(account),
        closed=closed,
    )
    before = at if since is None else min(at, since)
    while True:
        kept = (await checkpoints_before(conn, operator, {account: before}, state_format=STATE_FORMAT)).get(account)
        base = ORIGIN if kept is None else kept.position
        history = await load_history(conn, operator, [account], facts, after=base)
        placed = history.placed[account]
        try:
            folded = fold(known, history.state_of(account, None if kept is None else kept.state), placed, until=at)
        except TooLate as error:
            before = error.position.time
            continue
        return Standing(
            facts=known,
            state=folded.state,
            base=base,
            lines=folded.lines,
            events=frozenset(one.event.key for one in placed),
        )


async def used_in(
    conn: AsyncConnection, operator: str, standing: Standing, windows: Collection[Window]
) -> dict[Window, Decimal]:
    """Return what the account's lines so far add up to in each of `windows`."""
    found: dict[Window, Decimal] = {}
    for window in windows:
        found[window] = window.total(standing.lines)
        if window.span.start <= standing.base.time:
            quantity, amount = await booked_until(
                conn,
                operator,
                standing.facts.account.id,
                meter=window.limit.meter,
                member=window.member,
                span=window.span,
                until=standing.base,
            )
            found[window] += amount if window.limit.of == "money" else quantity
    return found
