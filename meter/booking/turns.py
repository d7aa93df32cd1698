"""Which accounts a step reads from the log, and which wait for their turn.

    asked for before ──oldest first──▶ read, as many as fit ──▶ fold
    new in this step ──by arrival────▶ read, as many as fit ──▶ fold
                     └─────────────the others────▶ asked for (refolds)

Reading a history takes time, and a transaction that takes time holds back every reader of the tail (decision 0005).
After a start no account is known, and all of them may have news at once. What is known goes on in memory meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.facts import Facts
from meter.booking.history import walk_in_sites
from meter.booking.step import TURN, Intake
from meter.model.event import EventKey
from meter.rating.state import STATE_FORMAT
from meter.store import booking as store
from meter.store.sizes import history_sizes

# To read, fold and compare an event again takes 0.1 to 0.2 ms: a tenth of a second at most, and that twice in a step.
# An account with more events is read by itself.
READ_EVENTS_MAX: Final = 500
# Each costs some statements besides.
READ_ACCOUNTS_MAX: Final = 50


def that_fit(sizes: Mapping[str, int], *, events_max: int) -> list[str]:
    """Return the first accounts whose events sum to `events_max` at most, in the order given; one in any case."""
    fit: list[str] = []
    events = 0
    for account, size in sizes.items():
        events += size
        if fit and events > events_max:
            break
        fit.append(account)
    return fit


async def next_requests(
    connection: AsyncConnection, operator: str, facts: Facts, requests: Sequence[store.Refold]
) -> list[store.Refold]:
    """Return those of `requests`, the oldest first, whose accounts this step folds again; the others stay asked for."""
    since: dict[str, datetime] = {}
    for request in requests:
        since[request.account] = min(request.since, since.get(request.account, request.since))
    chosen = await _next(connection, operator, facts, since)
    return [request for request in requests if request.account in chosen]


async def put_off(
    connection: AsyncConnection,
    operator: str,
    facts: Facts,
    intake: Intake,
    cold: Sequence[str],
    *,
    waiting: frozenset[str],
    now: datetime,
) -> set[EventKey]:
    """Take from `intake` those of the `cold` accounts whose turn it is not, and ask for them; return their new events.

    Whoever is `waiting` already goes on waiting: to read it now and then again would do the same twice.
    """
    since = {account: intake.since(account, otherwise=now) for account in cold}
    chosen = await _next(connection, operator, facts, {a: s for a, s in since.items() if a not in waiting})
    later = {account: instant for account, instant in since.items() if account not in chosen}
    await store.request_refolds(connection, operator, later, reason=TURN)
    return intake.leave(later)


async def _next(
    connection: AsyncConnection, operator: str, facts: Facts, since: Mapping[str, datetime]
) -> frozenset[str]:
    """Return the first of the accounts whose histories from before the instants are read in one step."""
    first = dict(islice(since.items(), READ_ACCOUNTS_MAX))
    if len(first) <= 1:
        return frozenset(first)
    sizes = await history_sizes(
        connection,
        operator,
        first,
        subjects={account: facts.directory.subjects_of(account) for account in first},
        sites={account: walk_in_sites([account], facts) for account in first},
        state_format=STATE_FORMAT,
        events_max=READ_EVENTS_MAX + 1,
    )
    return frozenset(that_fit({account: sizes.get(account, 0) for account in first}, events_max=READ_EVENTS_MAX))
