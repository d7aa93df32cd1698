"""`meter counters`: what printers counted themselves, beside what was metered."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Final

import typer
from rich.markup import escape

from meter.api.facts import FactsReader
from meter.cli.common import AsJson, connect, print_json, require_operator, run
from meter.cli.reading import Instant, instant_given
from meter.cli.tables import listing, show_listing
from meter.clock import now
from meter.model.instant import instant_text
from meter.store.counters import PrinterCount, printer_counts

_DAYS: Final = 30


def counters(
    *,
    printer: Annotated[str | None, typer.Option(help="This printer only.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="T", help=f"From then on: {Instant}; unset: {_DAYS} days ago.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="T", help="Before then; unset: now.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare what printers counted themselves with what was metered, in sides."""
    since, until, found = run(_found(printer, start, end))
    if as_json:
        printers = [{**asdict(one), "difference": one.difference} for one in found]
        print_json({"from": instant_text(since), "to": instant_text(until), "printers": printers})
        return
    table = listing("printer", "counted", "metered", "cancelled", "difference", "notes")
    for one in found:
        table.add_row(
            escape(one.printer),
            _shown(one.counted),
            str(one.metered),
            str(one.cancelled),
            _shown(one.difference),
            escape("\n".join(one.notes)),
        )
    show_listing(table, nothing="no printer counted or printed anything")


async def _found(
    printer: str | None, start: str | None, end: str | None
) -> tuple[datetime, datetime, list[PrinterCount]]:
    async with connect() as database:
        operator = await require_operator(database)
        async with FactsReader(database).snapshot(operator) as (connection, facts):
            until = (None if end is None else instant_given(end, facts, None, what="--to")) or now()
            since = None if start is None else instant_given(start, facts, None, what="--from")
            since = since or until - timedelta(days=_DAYS)
            return since, until, await printer_counts(connection, operator, start=since, end=until, printer=printer)


def _shown(count: int | None) -> str:
    return "" if count is None else str(count)
