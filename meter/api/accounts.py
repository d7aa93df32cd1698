"""What an account has left: GET /v1/accounts/{id}/balances."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.api.auth import keep_to_account
from meter.api.facts import FactsReader, account_facts
from meter.api.routing import (
    JSON,
    DecimalText,
    InstantText,
    Model,
    Query,
    Route,
    json_answer,
    principal_of,
    query_instant,
    query_of,
)
from meter.api.services import Services
from meter.booking.facts import Facts
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.rating.grants import GrantBalance, balances
from meter.store.readers import drawn_until


class BalancesQuery(Query, kw_only=True):
    """The instant asked about, in event time, with today's knowledge."""

    at: Annotated[InstantText | None, msgspec.Meta(description="Now, unless given.")] = None


class GrantJson(Model, kw_only=True):
    """A grant in force, in the order in which grants are drawn. `scope` lists its meters, null: any of the unit."""

    id: str
    origin: Literal["plan", "given", "bought", "rollover"]
    scope: list[str] | None
    member: str | None
    unit: str
    amount: DecimalText
    used: DecimalText
    remaining: DecimalText
    effective: InstantText | None
    expires: InstantText | None
    priority: int


class Balances(Model, kw_only=True):
    """Every grant of the account that is in force at `at`."""

    account: str
    at: InstantText
    grants: list[GrantJson]


def routes(services: Services, facts: FactsReader) -> list[Route]:
    """Return the route of the balances."""

    async def show(request: web.Request) -> web.StreamResponse:
        account = request.match_info["id"]
        keep_to_account(principal_of(request), account)
        given = query_of(request, BalancesQuery).at
        at = query_instant(given, what="at") if given else services.clock()
        operator = await services.require_operator()
        async with facts.snapshot(operator) as (conn, current):
            return json_answer(await read_balances(conn, current, operator, account, at))

    return [
        Route(
            method="GET",
            path="/v1/accounts/{id}/balances",
            handler=show,
            tag="charges",
            summary="Grants with amount, used and remaining",
            scope="usage:read",
            open_to=frozenset({"account"}),
            query=BalancesQuery,
            answers={JSON: Balances},
        )
    ]


async def read_balances(conn: AsyncConnection, facts: Facts, operator: str, account: str, at: datetime) -> Balances:
    """Return the account's balances at `at`. Raises BadInput (`not_found`)."""
    known = account_facts(facts, account)
    used = await drawn_until(conn, operator, account, at)
    found = balances(known, at, used)
    return Balances(account=account, at=instant_text(at), grants=[_grant(balance) for balance in found])


def _grant(balance: GrantBalance) -> GrantJson:
    return GrantJson(
        id=balance.id,
        origin=balance.origin,
        scope=None if balance.scope is None else list(balance.scope),
        member=balance.member,
        unit=balance.unit,
        amount=plain(balance.amount),
        used=plain(balance.used),
        remaining=plain(balance.remaining),
        effective=None if balance.effective is None else instant_text(balance.effective),
        expires=None if balance.expires is None else instant_text(balance.expires),
        priority=balance.priority,
    )
