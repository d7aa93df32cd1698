"""`meter doubtful`: events whose time is doubtful, and sources whose clocks seem to be in another zone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec
import typer
from rich.markup import escape

from meter.api.doubtful import DoubtfulJson, ShiftedJson, doubtful_json, place_of, shifted_json
from meter.api.facts import FactsReader
from meter.cli.common import AsJson, connect, print_json, require_operator, run
from meter.cli.reading import Instant, instant_given
from meter.cli.tables import listing, show_listing
from meter.store.doubtful import DoubtfulAt, doubtful_times, shifted_sources
from meter.store.engine import Database

_PAGE_EVENTS: Final = 500


def doubtful(
    *,
    since: Annotated[str | None, typer.Option(metavar="T", help=f"Of events from then on: {Instant}.")] = None,
    flag: Annotated[str | None, typer.Option(help="For this reason only, like unset_clock or future_time.")] = None,
    as_json: AsJson = False,
) -> None:
    """List events whose time is doubtful, and sources all of whose events come late by quarters of an hour."""
    found, shifted = run(_all(since, flag))
    if as_json:
        print_json({"doubtful": msgspec.to_builtins(found), "sources": msgspec.to_builtins(shifted)})
        return
    # Two instants side by side would leave nothing of 80 columns for the rest.
    table = listing("time, received", "event", "why", unbroken=("time, received",))
    for item in found:
        event = escape(f"{item.type}\n{item.event.source}\n{item.event.id}")
        table.add_row(f"{item.time}\n{item.received_at}", event, escape(f"{item.flag}: {item.reason}"))
    show_listing(table, nothing="no time is doubtful")
    if shifted:
        table = listing("source", "events", "late by", "last received", unbroken=("last received",))
        for one in shifted:
            table.add_row(escape(one.source), str(one.events), f"{one.late_seconds} s", one.last)
        show_listing(table, nothing="")


async def _all(since: str | None, flag: str | None) -> tuple[list[DoubtfulJson], list[ShiftedJson]]:
    found: list[DoubtfulJson] = []
    after: DoubtfulAt | None = None
    async with connect() as database:
        operator = await require_operator(database)
        start = None if since is None else await _instant(database, operator, since)
        async with database.begin() as conn:
            shifted = await shifted_sources(conn, operator, since=start)
        while True:
            async with database.begin() as conn:
                page = await doubtful_times(conn, operator, since=start, flag=flag, after=after, rows_max=_PAGE_EVENTS)
            found += [doubtful_json(one) for one in page]
            if len(page) < _PAGE_EVENTS:
                return found, [shifted_json(one) for one in shifted]
            after = place_of(page[-1])


async def _instant(database: Database, operator: str, since: str) -> datetime | None:
    async with FactsReader(database).snapshot(operator) as (_, facts):
        return instant_given(since, facts, None, what="--since")
