"""`meter charges`, `balance`, `explain`: what was booked, what is left, and why. Reads only."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Final

import msgspec
import typer
from rich.markup import escape

from meter.api.accounts import Balances, read_balances
from meter.api.charge_json import ChargeLine, charge_line, csv_header, csv_rows
from meter.api.explain import explain_charge
from meter.api.facts import FactsReader
from meter.api.unresolved import when
from meter.booking.facts import Facts
from meter.cli.common import AsJson, connect, err, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.clock import now
from meter.export.charge_json import charge_json
from meter.model.charge import Charge
from meter.model.errors import BadInput
from meter.model.instant import local_midnight
from meter.rating.explain import Explanation
from meter.store.engine import Database, encode_json
from meter.store.readers import ChargeFilter, ChargePage, charges_after, cursor_text, parse_cursor
from meter.store.usage import BEGINNING, Cursor

# What a terminal is asked to show unless --limit says otherwise; machines get everything.
TABLE_CHARGES: Final = 100
_PAGE_CHARGES: Final = 500

Instant = "a date (midnight in the account's zone) or RFC 3339"


def charges(
    *,
    account: Annotated[str | None, typer.Option(help="Of this account only.")] = None,
    member: Annotated[str | None, typer.Option(help="Of this member only.")] = None,
    site: Annotated[str | None, typer.Option(help="At this site only.")] = None,
    meter: Annotated[str | None, typer.Option(help="Of this meter only.")] = None,
    since: Annotated[str | None, typer.Option(metavar="T", help=f"From then on: {Instant}.")] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Before then.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Booked behind this cursor of an earlier answer.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"At most so many; unset: {TABLE_CHARGES} in a table, else all.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """List charges in the order in which they were booked."""
    if as_csv and as_json:
        raise BadInput("--csv and --json exclude each other", code="bad_option")
    start = BEGINNING if cursor is None else parse_cursor(cursor)
    asked = ChargeFilter(account=account, member=member, site=site, meter=meter)
    show = _csv if as_csv else _json if as_json else _table
    run(show(_Reading(asked, since, until, start, limit or (None if as_csv or as_json else TABLE_CHARGES))))


def balance(
    account: Annotated[str, typer.Argument(help="The account.")],
    *,
    at: Annotated[str | None, typer.Option(metavar="T", help=f"As of then: {Instant}; unset: now.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what an account's grants have left."""
    found = run(_balances(account, at))
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    table = listing("grant", "unit", "amount", "used", "remaining", "expires")
    for grant in found.grants:
        table.add_row(
            escape(grant.id),
            escape(grant.unit),
            grant.amount,
            grant.used,
            grant.remaining,
            grant.expires or "never",
        )
    show_listing(table, nothing=f"{account} has no grants in force")


def explain(
    charge: Annotated[str, typer.Argument(help="The id of a charge (ch_...).")], *, as_json: AsJson = False
) -> None:
    """Tell how a charge came about, computed again from what is stored."""
    explanation = run(_explanation(charge))
    if as_json:
        sys.stdout.write(encode_json(explanation.as_json()) + "\n")
    else:
        out.print(explanation.text(), markup=False, highlight=False, soft_wrap=True)


class _Reading:
    """Pages of charges, each read in a transaction of its own."""

    def __init__(
        self, asked: ChargeFilter, since: str | None, until: str | None, start: Cursor, charges_max: int | None
    ) -> None:
        self._asked, self._since, self._until = asked, since, until
        self._left = charges_max
        self.cursor = start
        self.more = False

    async def pages(self) -> AsyncGenerator[Sequence[tuple[Charge, Cursor]], None]:
        """Yield pages that hold something, until all or as many as were asked for are read.

        It holds a database while it is open: who may stop before its end closes it.
        """
        async with connect() as database:
            operator = await require_operator(database)
            wanted = await self._filter(database, operator)
            while self._left != 0:
                page_max = _PAGE_CHARGES if self._left is None else min(self._left, _PAGE_CHARGES)
                page = await _page(database, operator, self.cursor, wanted, page_max)
                self.cursor, self.more = page.next, page.more
                if page.charges:
                    yield page.charges
                if not page.more:
                    return
                if self._left is not None:
                    self._left -= len(page.charges)

    async def _filter(self, database: Database, operator: str) -> ChargeFilter:
        if self._since is None and self._until is None:
            return self._asked
        async with FactsReader(database).snapshot(operator) as (_, facts):
            return ChargeFilter(
                account=self._asked.account,
                member=self._asked.member,
                site=self._asked.site,
                meter=self._asked.meter,
                start=instant_given(self._since, facts, self._asked.account, what="--since"),
                end=instant_given(self._until, facts, self._asked.account, what="--until"),
            )


async def _page(
    database: Database, operator: str, cursor: Cursor, wanted: ChargeFilter, charges_max: int
) -> ChargePage:
    async with database.begin() as conn:
        return await charges_after(conn, operator, cursor, wanted, charges_max=charges_max)


async def _csv(reading: _Reading) -> None:
    sys.stdout.write(csv_header())
    async with aclosing(reading.pages()) as read:
        async for page in read:
            sys.stdout.write(csv_rows(_lines(page)))


def _lines(page: Sequence[tuple[Charge, Cursor]]) -> list[ChargeLine]:
    return [charge_line(charge, cursor_text(cursor)) for charge, cursor in page]


async def _json(reading: _Reading) -> None:
    """Print one document with the fields of the API's page, as it is read."""
    sys.stdout.write('{"charges": [')
    between = "\n"
    async with aclosing(reading.pages()) as read:
        async for page in read:
            for charge, _ in page:
                sys.stdout.write(between + msgspec.json.encode(charge_json(charge)).decode())
                between = ",\n"
    sys.stdout.write(f'\n], "next": "{cursor_text(reading.cursor)}"}}\n')


async def _table(reading: _Reading) -> None:
    table = listing("time, charge", "who and what", "amount", "how", unbroken=("time, charge", "amount"))
    table.columns[2].justify = "right"
    async for page in reading.pages():
        for line in _lines(page):
            tax = "" if line.tax is None else f"\ntax {line.tax.amount}"
            table.add_row(
                f"{line.time}\n{line.id}",
                escape(f"{line.meter}\n{line.account}" + (f", {line.member}" if line.member else "")),
                f"{line.rounded} {line.currency}{tax}",
                escape(line.explain),
            )
    show_listing(table, nothing="no such charges")
    if reading.more:
        err.print(f"there are more: --limit N, --csv, or --cursor {cursor_text(reading.cursor)}")


async def _balances(account: str, at: str | None) -> Balances:
    async with connect() as database:
        operator = await require_operator(database)
        async with FactsReader(database).snapshot(operator) as (conn, facts):
            instant = instant_given(at, facts, account, what="--at") or now()
            return await read_balances(conn, facts, operator, account, instant)


async def _explanation(charge: str) -> Explanation:
    async with connect() as database:
        operator = await require_operator(database)
        found = await explain_charge(FactsReader(database), operator, charge, until=now())
        if found is None:
            raise BadInput(f"there is no charge {charge[:60]!r}; meter charges lists them", code="not_found")
        return found


def instant_given(given: str | None, facts: Facts, account: str | None, *, what: str) -> datetime | None:
    """Return the instant that `given` names; a date is midnight in the account's zone, else the operator's."""
    moment = when(given, what=what)
    if moment is None or isinstance(moment, datetime):
        return moment
    known = facts.directory.accounts.get(account) if account is not None else None
    return local_midnight(moment, facts.catalogs.versions[-1].timezone if known is None else known.timezone)
