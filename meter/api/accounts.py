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
from meter.model.money import ZERO, plain
from meter.rating.grants import GrantBalance, balances, returned_of
from meter.rating.state import Returned
from meter.store.readers import drawn_until, given_back_until


class BalancesQuery(Query, kw_only=True):
    """The instant asked about, in event time, with today's knowledge."""

    at: Annotated[InstantText | None, msgspec.Meta(description="Now, unless given.")] = None


class GrantCostJson(Model, kw_only=True):
    """What was paid for bought credit, and how much of that its use so far is worth; the rest is deferred revenue."""

    price: DecimalText
    drawn: DecimalText


class GrantJson(Model, kw_only=True):
    """A grant in force, in the order in which grants are drawn. `scope` lists its meters, null: any of the unit.

    `origin` refund: given back after the credit that the sale drew had expired. `bought` is there for bought credit.
    """

    id: str
    origin: Literal["plan", "given", "bought", "rollover", "refund"]
    scope: list[str] | None
    member: str | None
    unit: str
    amount: DecimalText
    used: DecimalText
    remaining: DecimalText
    effective: InstantText | None
    expires: InstantText | None
    priority: int
    bought: GrantCostJson | msgspec.UnsetType = msgspec.UNSET


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
    returned: dict[str, Returned] = {}
    for name, (since, amount) in (await given_back_until(conn, operator, account, at)).items():
        if (one := returned_of(known, name, since, amount)) is not None:
            returned[name] = one
            used[name] = used.get(name, ZERO) + amount  # what came back is its amount, and not used less
    found = balances(known, at, used, returned)
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
        bought=msgspec.UNSET
        if balance.price is None or balance.drawn_cost is None
        else GrantCostJson(price=plain(balance.price), drawn=plain(balance.drawn_cost)),
    )
