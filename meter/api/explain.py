"""GET /v1/charges/{id}/explain: a charge computed again from what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Final

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.api.explain_json import ExplanationJson
from meter.api.facts import FactsReader, account_facts
from meter.api.negotiate import best_media
from meter.api.routing import JSON, TEXT, Route, principal_of
from meter.api.services import Services
from meter.booking.facts import Facts
from meter.booking.history import load_history
from meter.model.charge import Charge, Line
from meter.model.directory import Directory
from meter.model.errors import BadInput
from meter.model.event import EventKey, UsageEvent
from meter.rating.evidence import Evidence
from meter.rating.explain import Explanation, explain, resolution_of
from meter.rating.facts import AccountFacts
from meter.rating.fold import PlacedEvent, TooLate, fold
from meter.rating.state import STATE_FORMAT, AccountState
from meter.store.booking import checkpoints_before
from meter.store.closes import Closes, closes_of
from meter.store.doubtful import flags_of
from meter.store.engine import encode_json
from meter.store.keys import Principal
from meter.store.readers import chain_of, charge_by_id
from meter.store.thinning import thinned_of
from meter.store.usage import ORIGIN, events_by_key, revisions_of

# Each folds an account's period in a thread; more at once would only take the processor from rating.
EXPLAINING_MAX: Final = 2


def routes(services: Services, facts: FactsReader) -> list[Route]:
    """Return the route of the explanation."""
    at_once = asyncio.Semaphore(EXPLAINING_MAX)

    async def show(request: web.Request) -> web.StreamResponse:
        media = best_media(request, (JSON, TEXT))
        operator = await services.require_operator()
        async with at_once:
            explanation = await explain_charge(
                facts,
                operator,
                request.match_info["id"],
                until=services.clock(),
                may_see=partial(_may_see, principal_of(request)),
            )
        if explanation is None:
            raise BadInput("there is no such charge", code="not_found")
        if media == TEXT:
            return web.Response(text=explanation.text() + "\n", content_type=TEXT, charset="utf-8")
        # The raw event's numbers stay numbers as sent; everything of ours is a string already.
        return web.Response(text=encode_json(explanation.as_json()), content_type=JSON)

    return [
        Route(
            method="GET",
            path="/v1/charges/{id}/explain",
            handler=show,
            tag="charges",
            summary="The whole arithmetic of a charge, computed again from stored facts",
            scope="usage:read",
            open_to=frozenset({"site", "account"}),
            answers={JSON: ExplanationJson, TEXT: str},
        )
    ]


def _may_see(principal: Principal, charge: Charge) -> bool:
    return principal.site in (None, charge.line.site) and principal.account in (None, charge.line.account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is stored about a charge: enough to explain it without asking again.

    `events`: those of the line, then what voids and amends them, and what voids that. `flags`: what is said against the
    times of any; `thinned`: those of which only what a bill needs was kept. `facts` None: the account is in the
    directory no more. `placed`: all events of the account that count, from the one after `state` on.
    """

    charge: Charge
    chain: tuple[Charge, ...]
    events: tuple[UsageEvent, ...]
    flags: Mapping[EventKey, str]
    thinned: Collection[EventKey]
    directory: Directory
    facts: AccountFacts | None
    state: AccountState
    placed: Sequence[PlacedEvent]
    until: datetime


async def explain_charge(
    reader: FactsReader,
    operator: str,
    charge: str,
    *,
    until: datetime,
    may_see: Callable[[Charge], bool] = lambda _: True,
) -> Explanation | None:
    """Return the explanation of the charge, computed again by the clock `until`; None if there is none to be seen."""
    since: datetime | None = None
    while True:
        async with reader.snapshot(operator) as (conn, current):
            booked = await charge_by_id(conn, operator, charge)
            if booked is None or not may_see(booked):
                return None
            found = await find_charge(conn, current, operator, booked, until=until, since=since)
        try:
            return await asyncio.to_thread(explained, found)
        except TooLate as error:
            since = error.position.time


async def find_charge(
    conn: AsyncConnection,
    facts: Facts,
    operator: str,
    charge: Charge,
    *,
    until: datetime,
    since: datetime | None = None,
) -> Found:
    """Return what is stored about `charge`, read within one snapshot, to be folded by the clock `until`.

    The fold is to begin before the charge's place, and before `since` if it is given.
    """
    account, key = charge.line.account, charge.line.key
    stored = await events_by_key(conn, operator, charge.line.events)
    revisions = sorted(await revisions_of(conn, operator, charge.line.events), key=attrgetter("position"))
    flags = await flags_of(conn, operator, list(stored.values()))
    thinned = await thinned_of(conn, operator, list(stored.values()))
    revising = await events_by_key(conn, operator, [revision.key for revision in revisions])
    before = {account: key.time if since is None else min(key.time, since)}
    base = (await checkpoints_before(conn, operator, before, state_format=STATE_FORMAT)).get(account)
    known: AccountFacts | None = None
    placed: Sequence[PlacedEvent] = ()
    state = AccountState()
    if account in facts.directory.accounts:
        closes = (await closes_of(conn, operator, [account])).get(account, Closes())
        known = account_facts(facts, account, closed=closes.all)
        after = ORIGIN if base is None else base.position
        history = await load_history(conn, operator, [account], facts, after=after)
        placed, state = history.placed[account], history.state_of(account, None if base is None else base.state)
    return Found(
        charge=charge,
        chain=tuple(await chain_of(conn, operator, charge)),
        events=(
            *(stored[event] for event in charge.line.events if event in stored),
            *(revising[revision.key] for revision in revisions),
        ),
        flags=flags,
        thinned=thinned,
        directory=facts.directory,
        facts=known,
        state=state,
        placed=placed,
        until=until,
    )


def explained(found: Found) -> Explanation:
    """Return the explanation, with what the fold gives today for the charge's line. Pure; long for long accounts.

    Raises TooLate where the fold must begin earlier.
    """
    line, evidence = (None, None) if found.facts is None else _again(found, found.facts)
    shown = {event.key for event in found.events}
    wanted = set() if line is None else {key for key in line.events if key not in shown}
    more = [placed.event for placed in found.placed if placed.event.key in wanted] if wanted else []
    events = (*found.events, *more)
    return explain(
        found.charge,
        found.chain,
        events,
        recomputed=line,
        evidence=evidence,
        resolution=resolution_of(events, found.charge.line, found.directory),
        facts=found.facts,
        flags=found.flags,
        thinned=found.thinned,
    )


def _again(found: Found, facts: AccountFacts) -> tuple[Line | None, Evidence | None]:
    """Return the charge's line as the facts are now, and how it came about."""
    key = found.charge.line.key
    # All events, also those behind the charge: what ends a session, and where the calendar begins, may be among them.
    folded = fold(facts, found.state, found.placed, until=found.until, trace=True)
    line = next((line for line in folded.lines if line.key == key), None)
    return line, folded.evidence_of(key)
