"""`meter sources`: where usage comes from, and how each source is doing."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.markup import escape

from meter.api.sources import SourceJson, source_json
from meter.cli.common import AsJson, by_default, connect, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.clock import now
from meter.config import load_settings
from meter.ingest.setups import Sources
from meter.ingest.status import source_states
from meter.model.errors import BadInput
from meter.store.fetching import hasten

app = typer.Typer(name="sources", help="Vendors' webhooks and polls.")


@by_default(app)
@app.command("list")
def show(*, as_json: AsJson = False) -> None:
    """List configured sources: when they last told something, what is to be fetched, what keeps them from working."""
    found = run(_states())
    if as_json:
        print_json({"sources": msgspec.to_builtins(found)})
        return
    table = listing("source", "site", "received", "to fetch", "polled", "fault", unbroken=("received", "polled"))
    for source in found:
        failing = f" ({source.failing} failing)" if source.failing else ""
        faults = [*source.faults, *filter(None, [source.fault, *(poll.fault for poll in source.polls)])]
        table.add_row(
            escape(f"{source.vendor}/{source.name}"),
            escape(source.site or ""),
            source.received or "never",
            f"{source.pending}{failing}",
            escape("\n".join(f"{poll.feed} {poll.polled or 'never'}" for poll in source.polls)),
            escape("\n".join(faults)),
        )
    show_listing(table, nothing="no source is configured; docs/sources.md says how")


@app.command()
def poll(
    source: Annotated[str, typer.Argument(metavar="VENDOR/NAME", help="Which source, as the list shows it.")],
) -> None:
    """Have a vendor asked at once for all that is due later."""
    due = run(_poll(source))
    out.print(f"{source}: {due} due now", markup=False, highlight=False)


async def _states() -> list[SourceJson]:
    sources = Sources(load_settings().webhooks)
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return [source_json(state) for state in await source_states(conn, operator, sources)]


async def _poll(source: str) -> int:
    vendor, _, name = source.partition("/")
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            known = await source_states(conn, operator, Sources(load_settings().webhooks))
            if (vendor, name) not in {(state.vendor, state.name) for state in known}:
                message = f"there is no source {source[:120]!r}; meter sources lists them"
                raise BadInput(message, code="not_found")
            return await hasten(conn, operator, vendor, name, now=now())
