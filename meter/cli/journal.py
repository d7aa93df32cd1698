"""`meter journal`: the books, entry by entry, what waits in suspense, and the trial balance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated

import msgspec
import typer
from rich.markup import escape

from meter.api.journal import balances_json, filter_of
from meter.cli.common import AsJson, connect, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.export.entry_json import entry_json
from meter.export.targets.ledger.text import amount_text
from meter.model.errors import BadInput
from meter.model.journal import JournalEntry
from meter.store.journal import Balance, EntryFilter, newest_entries, trial_balance

app = typer.Typer(name="journal", help="The books: entries, what waits in suspense, the trial balance.")

Day = Annotated[str | None, typer.Option(metavar="DATE", help="Of this day, like 2026-03-31.")]
Since = Annotated[str | None, typer.Option(metavar="DATE", help="From this day on.")]
Until = Annotated[str | None, typer.Option(metavar="DATE", help="Up to and including this day.")]
Account = Annotated[
    str | None, typer.Option(help="With a posting on this ledger account, like income:print, or on one below it.")
]
Suspense = Annotated[bool, typer.Option("--suspense", help="Only what waits in suspense for an account.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the latest.")]


@app.callback(invoke_without_command=True)
def default(context: typer.Context, *, suspense: Suspense = False) -> None:
    """List entries where no command is named."""
    if context.invoked_subcommand is None:
        show_entries(suspense=suspense)


@app.command("list")
def show_entries(
    *,
    day: Day = None,
    since: Since = None,
    until: Until = None,
    account: Account = None,
    suspense: Suspense = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List entries by day, the latest last."""
    wanted = filter_of(
        day=_date(day, "--day"),
        since=_date(since, "--since"),
        until=_date(until, "--until"),
        ledger_account=account,
        suspense=suspense,
    )
    found = [entry_json(one) for one in run(_list(wanted, limit))]
    if as_json:
        print_json({"entries": msgspec.to_builtins(found)})
        return
    table = listing("day", "what", "account", "amount", "in", "entry", unbroken=("day", "amount"))
    for one in found:
        who = " ".join(filter(None, (one.dimensions.get("account"), one.dimensions.get("site"))))
        table.add_row(
            str(one.day),
            escape(f"{one.narration}\n{who}"),
            escape("\n".join(posting.account for posting in one.postings)),
            "\n".join(amount_text(Decimal(posting.amount), one.currency) for posting in one.postings),
            one.currency,
            escape(one.id),
        )
    show_listing(table, nothing="no such entry")


@app.command()
def balances(
    *,
    at: Annotated[str | None, typer.Option(metavar="DATE", help="At the end of this day; else of everything.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what each ledger account comes to: debit positive."""
    day = _date(at, "--at")
    shown = balances_json(run(_balances(day)), at=day)
    if as_json:
        print_json(msgspec.to_builtins(shown))
        return
    table = listing("account", "balance", "currency", unbroken=("balance",))
    for one in shown.balances:
        table.add_row(escape(one.account), amount_text(Decimal(one.amount), one.currency), one.currency)
    show_listing(table, nothing="nothing is posted")


def _date(given: str | None, option: str) -> date | None:
    try:
        return None if given is None else date.fromisoformat(given)
    except ValueError as error:
        raise BadInput(f"{option} is {given!r:.60}; write a date, like 2026-03-31", code="bad_option") from error


async def _list(wanted: EntryFilter, limit: int) -> Sequence[JournalEntry]:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return await newest_entries(conn, operator, wanted, entries_max=limit)


async def _balances(at: date | None) -> list[Balance]:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return await trial_balance(conn, operator, until=at)
