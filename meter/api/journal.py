"""GET /v1/journal: the books, entry by entry in the order in which they were made, and the trial balance."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final

import msgspec
from aiohttp import web

from meter.api.charges import next_link
from meter.api.routing import JSON, DecimalText, Limit, Model, Query, Route, json_answer, query_of
from meter.api.services import Services
from meter.export.entry_json import EntryJson, entry_json
from meter.model.errors import BadInput
from meter.model.money import plain
from meter.store.journal import Balance, EntryFilter, entries_after, trial_balance
from meter.store.readers import cursor_text, parse_cursor
from meter.store.usage import BEGINNING

LIMIT_DEFAULT: Final = 100


class JournalQuery(Query, kw_only=True):
    """Filters are conjunctive; `since` and `until` bound an entry's day, both included."""

    cursor: Annotated[str, msgspec.Meta(description="The `next` of an earlier answer; none: from the beginning.")] = ""
    limit: Limit = LIMIT_DEFAULT
    day: Annotated[date | None, msgspec.Meta(description="This day alone.")] = None
    since: date | None = None
    until: date | None = None
    ledger_account: Annotated[
        str | None, msgspec.Meta(description="With a posting on this account, like `income:print`, or one below it.")
    ] = None
    suspense: Annotated[bool, msgspec.Meta(description="Only what waits in suspense.")] = False


class BalancesQuery(Query, kw_only=True):
    """At the end of the day `at`; without it, of everything."""

    at: date | None = None


class JournalPage(Model, kw_only=True):
    """Entries in the order in which they were made. `next` is always a cursor to go on from."""

    entries: list[EntryJson]
    next: str


class BalanceJson(Model, kw_only=True):
    """What an account's postings sum to: debit positive."""

    account: str
    currency: str
    amount: DecimalText


class BalancesJson(Model, kw_only=True):
    """The accounts that have a balance, by name; those of one currency sum to zero."""

    at: date | None
    balances: list[BalanceJson]


def routes(services: Services) -> list[Route]:
    """Return the routes of the journal."""

    async def show(request: web.Request) -> web.StreamResponse:
        query = query_of(request, JournalQuery)
        cursor = parse_cursor(query.cursor) if query.cursor else BEGINNING
        wanted = filter_of(
            day=query.day,
            since=query.since,
            until=query.until,
            ledger_account=query.ledger_account,
            suspense=query.suspense,
        )
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            page = await entries_after(conn, operator, cursor, wanted, entries_max=query.limit)
        headers = {"Link": next_link(request, page.next)} if page.more else {}
        found = [entry_json(entry) for entry, _ in page.entries]
        return json_answer(JournalPage(entries=found, next=cursor_text(page.next)), headers=headers)

    async def balances(request: web.Request) -> web.StreamResponse:
        query = query_of(request, BalancesQuery)
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            found = await trial_balance(conn, operator, until=query.at)
        return json_answer(balances_json(found, at=query.at))

    return [
        Route(
            method="GET",
            path="/v1/journal",
            handler=show,
            tag="journal",
            summary="Journal entries in the order in which they were made, from a cursor on",
            description=(
                "The cursor never skips an entry that commits later and stays good for ever. Entries are only added: a "
                "correction is another one, and a late one may be of an earlier day."
            ),
            scope="usage:read",
            query=JournalQuery,
            answers={JSON: JournalPage},
        ),
        Route(
            method="GET",
            path="/v1/journal/balances",
            handler=balances,
            tag="journal",
            summary="The trial balance: what each ledger account comes to",
            scope="usage:read",
            query=BalancesQuery,
            answers={JSON: BalancesJson},
        ),
    ]


def filter_of(
    *, day: date | None, since: date | None, until: date | None, ledger_account: str | None, suspense: bool
) -> EntryFilter:
    """Return which entries are wanted. Raises BadInput (`bad_query`): a day, and a span beside it."""
    if day is not None and (since is not None or until is not None):
        raise BadInput("a day is given and a span beside it; give the day, or since and until", code="bad_query")
    return EntryFilter(since=day or since, until=day or until, ledger_account=ledger_account, suspense=suspense)


def balances_json(found: list[Balance], *, at: date | None) -> BalancesJson:
    """Return a trial balance as it leaves."""
    return BalancesJson(
        at=at,
        balances=[
            BalanceJson(account=one.ledger_account, currency=one.currency, amount=plain(one.amount)) for one in found
        ],
    )
