"""What a change of facts would book, as tables and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from meter.api.costs import costs_json
from meter.booking.facts import Facts
from meter.booking.preview import AccountPreview, previews
from meter.cli.common import err, out
from meter.model.instant import instant_text
from meter.model.money import ZERO, plain
from meter.rating.corrections import Difference
from meter.store.engine import Database

# Accounts and lines of each that a terminal is shown; JSON has all.
_ACCOUNTS_SHOWN_MAX: Final = 20
_LINES_SHOWN_MAX: Final = 5


async def cost_of(
    database: Database, operator: str, facts: Facts, since: Mapping[str, datetime], *, at: datetime
) -> list[AccountPreview]:
    """Return what would be booked for each account for which anything would; a bar shows how far it is."""
    found: list[AccountPreview] = []
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("folding accounts", total=len(since))
        async for preview in previews(database, operator, facts, since, at=at):
            if preview.charges or preview.fault is not None:
                found.append(preview)
            bar.advance(task)
    return found


def show_cost(found: Sequence[AccountPreview]) -> None:
    """Print what would be booked, the largest differences first."""
    if not found:
        out.print("no booked line would change")
        return
    table = Table("account", "lines", "difference", "tax", "", box=None, pad_edge=False)
    for column in table.columns[1:4]:
        column.justify = "right"
    ranked = sorted(found, key=lambda one: (-abs(one.net + one.tax), one.account))
    for one in ranked[:_ACCOUNTS_SHOWN_MAX]:
        table.add_row(
            escape(one.account),
            str(len(one.differences)),
            _signed(one.net),
            _signed(one.tax),
            escape(one.currency if one.fault is None else one.fault),
        )
        for difference in one.differences[:_LINES_SHOWN_MAX]:
            table.add_row(f"  {escape(_name(difference))}", "", escape(_change(difference)), "", "", style="dim")
        if len(one.differences) > _LINES_SHOWN_MAX:
            table.add_row(f"  and {len(one.differences) - _LINES_SHOWN_MAX} more lines", style="dim")
    out.print(table)
    if len(ranked) > _ACCOUNTS_SHOWN_MAX:
        out.print(f"and {len(ranked) - _ACCOUNTS_SHOWN_MAX} more accounts; --json lists all", highlight=False)
    for currency in sorted({one.currency for one in found}):
        net = sum((one.net for one in found if one.currency == currency), ZERO)
        tax = sum((one.tax for one in found if one.currency == currency), ZERO)
        out.print(f"in all: {_signed(net)} {currency}, tax {_signed(tax)}", highlight=False)


def cost_json(found: Sequence[AccountPreview]) -> list[Any]:
    """Return what would be booked as JSON values: every account with every line."""
    told: list[Any] = msgspec.to_builtins(costs_json(found))
    return told


def _name(difference: Difference) -> str:
    key = difference.key
    return f"{instant_text(key.time)} {key.meter} {key.id}"


def _change(difference: Difference) -> str:
    before = "-" if difference.standing is None else plain(difference.standing.line.amount)
    after = "-" if difference.line is None else plain(difference.line.amount)
    return f"{before} -> {after}"


def _signed(amount: Decimal) -> str:
    return f"+{plain(amount)}" if amount > ZERO else plain(amount)
