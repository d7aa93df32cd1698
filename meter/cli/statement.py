"""`meter statement`: what an invoice period comes to. Reads only."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from meter.api.facts import FactsReader
from meter.api.statement import find_statement
from meter.api.statement_json import ON_ACCOUNT, StatementJson, StatementLineJson, statement_csv
from meter.cli.common import AsJson, connect, out, print_json, require_operator, run
from meter.cli.tables import listing
from meter.clock import now
from meter.export.targets.ledger.text import amount_text
from meter.model.errors import BadInput
from meter.model.money import plain


def statement(
    account: Annotated[str, typer.Argument(help="The account.")],
    *,
    period: Annotated[
        str, typer.Option(metavar="YYYY-MM", help="The month in which the period starts; unset: the one that runs.")
    ] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a period comes to: fees, usage, credit, taxes, totals."""
    if as_csv and as_json:
        raise BadInput("--csv and --json exclude each other", code="bad_option")
    found = run(_statement(account, period))
    if as_json:
        print_json(msgspec.to_builtins(found))
    elif as_csv:
        sys.stdout.write(statement_csv(found))
    else:
        _show(found)


async def _statement(account: str, period: str) -> StatementJson:
    async with connect() as database:
        operator = await require_operator(database)
        async with FactsReader(database).snapshot(operator) as (conn, facts):
            found = await find_statement(conn, facts, operator, account, name=period, at=now())
    return found.json()


def _show(found: StatementJson) -> None:
    days = f"{found.day(found.period.start)} to {found.last_day(found.period.end)}, {found.timezone}"
    out.print(escape(f"{found.name} ({found.account}), {found.period.name}: {days}"))
    lines = _table("what", "quantity", "covered", "net", "tax")
    for section in ON_ACCOUNT:
        _add_section(lines, section, found)
    if lines.row_count:
        out.print(lines)
    _show_credits(found)
    totals = _table("", "net", "tax", "gross")
    for tax in found.taxes:
        rate = "" if tax.rate is None else f" {plain(Decimal(tax.rate) * 100)} %"
        totals.add_row(escape(f"{tax.name}{rate}"), _money(tax.net, tax.currency), _money(tax.amount, tax.currency), "")
    for sums in (found.totals, *found.other_totals):
        figures = [_money(figure, sums.currency) for figure in (sums.net, sums.tax, sums.due)]
        totals.add_row("due on account", *figures, style="bold")
    for paid in found.till.totals:
        tips = "" if paid.tips == "0" else f" (tips {_money(paid.tips, paid.currency)})"
        figures = [_money(figure, paid.currency) for figure in (paid.net, paid.tax, paid.total)]
        totals.add_row(f"paid at the till{tips}", *figures)
    out.print(totals)


def _add_section(table: Table, section: str, found: StatementJson) -> None:
    lines: Sequence[StatementLineJson] = getattr(found, section)
    for line in lines:
        about = [line.meter, line.plan or "", "" if line.time is None else str(found.day(line.time))]
        if section == "adjustments":
            about.append(f"of {found.day(line.period.start)}")
        if line.estimated:
            about.append(f"({line.estimated} estimated)")
        if line.unpriced:
            about.append("not priced yet")
        if line.expired:
            about.append("expired unused")
        table.add_row(
            escape(f"{section}: {' '.join(filter(None, about))}"),
            escape(f"{line.quantity} {line.unit}"),
            "" if line.covered == "0" else line.covered,
            _money(line.net, line.currency),
            _money(line.tax, line.currency),
        )


def _show_credits(found: StatementJson) -> None:
    if not found.credits:
        return
    table = _table("grant", "amount", "used", "remaining", "unit")
    for credit in found.credits:
        table.add_row(escape(credit.id), credit.amount or "", credit.used, credit.remaining or "", escape(credit.unit))
    out.print(table)


def _table(first: str, *figures: str) -> Table:
    table = listing(first, *figures, unbroken=figures)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _money(amount: str, currency: str) -> str:
    return f"{amount_text(Decimal(amount), currency)} {escape(currency)}"
