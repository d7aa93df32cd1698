"""GET /v1/charges/{id}/explain: a charge computed again from what is stored."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.api.facts import FactsReader, account_facts
from meter.api.negotiate import best_media
from meter.api.routing import JSON, TEXT, Route, principal_of
from meter.api.services import Services
from meter.booking.facts import Facts
from meter.booking.history import load_history
from meter.model.charge import Charge, Line
from meter.model.errors import BadInput
from meter.model.event import Position, UsageEvent
from meter.rating.evidence import Evidence
from meter.rating.explain import Explanation, explain, resolution_of
from meter.rating.fold import PlacedEvent, fold
from meter.rating.state import STATE_FORMAT, AccountState
from meter.store.booking import checkpoints_before
from meter.store.engine import encode_json
from meter.store.keys import Principal
from meter.store.readers import chain_of, charge_by_id
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
            async with facts.snapshot(operator) as (conn, current):
                charge = await charge_by_id(conn, operator, request.match_info["id"])
                if charge is None or not _may_see(principal_of(request), charge):
                    raise BadInput("there is no such charge", code="not_found")
                found = await find_charge(conn, current, operator, charge)
            explanation = await asyncio.to_thread(explained, found)
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
            answers={JSON: dict[str, Any], TEXT: str},
        )
    ]


def _may_see(principal: Principal, charge: Charge) -> bool:
    return principal.site in (None, charge.line.site) and principal.account in (None, charge.line.account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is stored about a charge: enough to explain it without asking again.

    `events`: those of the line, then what voids and amends them, and what voids that.
    `upto` are the account's events that count, from the one after `state` to the charge's own, which is the last; empty
    where it does not count for this account any more.
    """

    charge: Charge
    chain: tuple[Charge, ...]
    events: tuple[UsageEvent, ...]
    facts: Facts
    state: AccountState
    upto: tuple[PlacedEvent, ...]


async def find_charge(conn: AsyncConnection, facts: Facts, operator: str, charge: Charge) -> Found:
    """Return what is stored about `charge`, read within one snapshot."""
    account, key = charge.line.account, charge.line.key
    stored = await events_by_key(conn, operator, charge.line.events)
    revisions = sorted(await revisions_of(conn, operator, charge.line.events), key=attrgetter("position"))
    revising = await events_by_key(conn, operator, [revision.key for revision in revisions])
    checkpoints = await checkpoints_before(conn, operator, {account: key.time}, state_format=STATE_FORMAT)
    base = checkpoints.get(account)
    history = await load_history(conn, operator, [account], facts, after=ORIGIN if base is None else base.position)
    own = Position(key.time, key.source, key.id)
    upto = [placed for placed in history.placed[account] if placed.event.position <= own]
    counts = bool(upto) and upto[-1].event.position == own and account in facts.directory.accounts
    return Found(
        charge=charge,
        chain=tuple(await chain_of(conn, operator, charge)),
        events=(
            *(stored[event] for event in charge.line.events if event in stored),
            *(revising[revision.key] for revision in revisions),
        ),
        facts=facts,
        state=AccountState() if base is None else AccountState.from_json(base.state),
        upto=tuple(upto) if counts else (),
    )


def explained(found: Found) -> Explanation:
    """Return the explanation, with what the fold gives today for the charge's line. Pure; long for long accounts."""
    line, evidence = _again(found) if found.upto else (None, None)
    own = next(iter(found.events), None)
    return explain(
        found.charge,
        found.chain,
        found.events,
        recomputed=line,
        evidence=evidence,
        resolution=None if own is None else resolution_of(own, found.charge.line, found.facts.directory),
    )


def _again(found: Found) -> tuple[Line | None, Evidence | None]:
    """Return the charge's line as the facts are now, and how it came about: only its own event is traced."""
    key = found.charge.line.key
    facts = account_facts(found.facts, found.charge.line.account)
    before = fold(facts, found.state, found.upto[:-1])
    last = fold(facts, before.state, found.upto[-1:], trace=True)
    line = next((line for line in last.lines if line.key == key), None)
    return line, (last.evidence or {}).get(key)
