"""GET /v1/accounts/{id}/statement: what one invoice period comes to, as JSON, CSV or a page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Final

import msgspec
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.api.auth import keep_to_account
from meter.api.facts import FactsReader, account_facts
from meter.api.negotiate import best_media
from meter.api.routing import CSV, HTML, JSON, Query, Route, json_answer, principal_of, query_of
from meter.api.services import Services
from meter.api.statement_json import (
    StatementCreditJson,
    StatementJson,
    StatementPeriodJson,
    lines_json,
    statement_csv,
    taxes_json,
    till_json,
    totals_json,
)
from meter.api.statement_page import POLICY, statement_page
from meter.booking.facts import Facts
from meter.model.directory import Span
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.model.period import Period
from meter.rating.facts import AccountFacts
from meter.rating.grants import GrantBalance, balances
from meter.rating.statement import Statement, StatementSums
from meter.store.statements import Drawn, invoiced_charges, invoiced_draws

_MOMENT: Final = timedelta(microseconds=1)


class StatementQuery(Query, kw_only=True):
    """The period asked about."""

    period: Annotated[
        str, msgspec.Meta(description="The month in which it starts, like 2026-11; the one that runs, unless given.")
    ] = ""


def routes(services: Services, facts: FactsReader) -> list[Route]:
    """Return the route of the statement."""

    async def show(request: web.Request) -> web.StreamResponse:
        account = request.match_info["id"]
        keep_to_account(principal_of(request), account)
        media = best_media(request, (JSON, CSV, HTML))
        operator = await services.require_operator()
        async with facts.snapshot(operator) as (conn, current):
            found = await find_statement(
                conn, current, operator, account, name=query_of(request, StatementQuery).period, at=services.clock()
            )
        # Many members have many instances of credit: others on the loop have their turn meanwhile.
        statement = await asyncio.to_thread(found.json)
        if media == HTML:
            page, headers = statement_page(statement), {"Content-Security-Policy": POLICY}
            return web.Response(text=page, content_type=HTML, charset="utf-8", headers=headers)
        if media == CSV:
            headers = {"Content-Type": "text/csv; charset=utf-8; header=present"}
            return web.Response(body=statement_csv(statement).encode(), headers=headers)
        return json_answer(statement)

    return [
        Route(
            method="GET",
            path="/v1/accounts/{id}/statement",
            handler=show,
            tag="charges",
            summary="What an invoice period comes to: fees, usage, credit, taxes, totals",
            description=(
                "Sums of the booked charges of one invoice period. What was paid at the till stands apart under `till` "
                "and is in no other figure."
            ),
            scope="usage:read",
            open_to=frozenset({"account"}),
            query=StatementQuery,
            answers={JSON: StatementJson, CSV: str, HTML: str},
        )
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStatement:
    """What is stored about an account's invoice period, read at `at`. `drawn` is by instance of credit."""

    facts: AccountFacts
    name: str
    period: Period
    at: datetime
    statement: Statement
    drawn: Mapping[str, Drawn]

    def json(self) -> StatementJson:
        """Return the statement as it leaves. Pure; long for accounts of many members."""
        account, statement = self.facts.account, self.statement
        terms = account.periods.terms_at(self.period.start)
        span = {"start": instant_text(self.period.start), "end": instant_text(self.period.end)}
        return StatementJson(
            account=account.id,
            name=account.name,
            timezone=terms.timezone,
            period=StatementPeriodJson(name=self.name, **span),
            at=instant_text(self.at),
            currency=terms.currency,
            fees=lines_json(statement.section("fees")),
            usage=lines_json(statement.section("usage")),
            minimums=lines_json(statement.section("minimums")),
            tips=lines_json(statement.section("tips")),
            refunds=lines_json(statement.section("refunds")),
            adjustments=lines_json(statement.section("adjustments")),
            credits=self._credits(),
            taxes=taxes_json(statement.taxes),
            totals=totals_json(statement.totals_in(terms.currency)),
            other_totals=[totals_json(sums) for sums in statement.totals if sums.currency != terms.currency],
            till=till_json(statement.section("till"), statement.till_taxes, statement.till_totals),
        )

    def _credits(self) -> list[StatementCreditJson]:
        in_force = credit_in(self.facts, self.period, {name: drawn.until for name, drawn in self.drawn.items()})
        rows = [_credit(balance, self.drawn.get(balance.id)) for balance in in_force.values()]
        # A correction of an earlier period draws what was in force then.
        rows += [
            _drawn(name, drawn) for name, drawn in sorted(self.drawn.items()) if name not in in_force and drawn.within
        ]
        return rows


async def find_statement(
    conn: AsyncConnection, facts: Facts, operator: str, account: str, *, name: str, at: datetime
) -> FoundStatement:
    """Return what is stored about the period `name` ("": the one that runs at `at`), within one snapshot.

    A charge is on the statement of its invoice period, so on exactly one. Raises BadInput (`not_found`, `bad_period`).
    """
    known = account_facts(facts, account)
    periods = known.account.periods
    period = periods.named(name) if name else periods.at(at)
    sums = StatementSums()
    async for page in invoiced_charges(conn, operator, account, period.start, period.end):
        for charge in page:
            sums.add(charge)
    return FoundStatement(
        facts=known,
        name=periods.name(period),
        period=period,
        at=at,
        statement=sums.statement(),
        drawn=await invoiced_draws(conn, operator, account, period.start, period.end),
    )


def credit_in(facts: AccountFacts, period: Period, used: Mapping[str, Decimal]) -> dict[str, GrantBalance]:
    """Return every instance of credit that is in force at some instant of `period`, with what `used` leaves of it.

    Instances begin where the period, a subscription, a membership, a grant or a version of the catalog does.
    """
    begins = {start for start in _starts(facts) if start is not None and start in period}
    instants = sorted({period.start, *begins, period.end - _MOMENT})
    return {balance.id: balance for instant in instants for balance in balances(facts, instant, used)}


def _starts(facts: AccountFacts) -> Iterator[datetime | None]:
    """Give every instant at which there may be other credit than before; a span's end is a start for its neighbour."""
    directory, account = facts.directory, facts.account.id
    members = directory.members_of(account)
    holders = [("account", account), *(("member", member) for member in members)]
    spans: list[Span] = [held.span for holder in holders for held in directory.subscriptions.get(holder, ())]
    spans += [link.span for member in members for link in directory.links.get(member, ())]
    spans += [grant.span for grant in directory.grants.get(account, ())]
    for span in spans:
        yield from (span.start, span.end)
    yield from (version.effective for version in facts.catalogs.versions)


def _credit(balance: GrantBalance, drawn: Drawn | None) -> StatementCreditJson:
    return StatementCreditJson(
        id=balance.id,
        origin=balance.origin,
        member=balance.member,
        unit=balance.unit,
        amount=plain(balance.amount),
        used="0" if drawn is None else plain(drawn.within),
        remaining=plain(balance.remaining),
        effective=None if balance.effective is None else instant_text(balance.effective),
        expires=None if balance.expires is None else instant_text(balance.expires),
    )


def _drawn(name: str, drawn: Drawn) -> StatementCreditJson:
    return StatementCreditJson(
        id=name,
        origin=None,
        member=None,
        unit=drawn.unit,
        amount=None,
        used=plain(drawn.within),
        remaining=None,
        effective=None,
        expires=None,
    )
