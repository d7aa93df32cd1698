"""`meter unread`: what no meter could count."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import typer
from rich.markup import escape

from meter.api.unread import UnreadJson, place_of, unread_json
from meter.cli.common import AsJson, connect, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.store.unread import UnreadAt, unread_values

_PAGE_VALUES: Final = 500


def unread(
    *,
    account: Annotated[str | None, typer.Option(help="Of this account only.")] = None,
    meter: Annotated[str | None, typer.Option(help="Of this meter only.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what no meter could count: missing values, ends without a start, refunds of more than is left."""
    found = run(_all(account, meter))
    if as_json:
        print_json({"unread": msgspec.to_builtins(found)})
        return
    table = listing("time", "account", "meter", "event", "what", unbroken=("time",))
    for item in found:
        table.add_row(
            item.time,
            escape(item.account),
            escape(item.meter),
            escape(f"{item.event.source}\n{item.event.id}"),
            escape(f"{item.code}: {item.reason}" + (f" (element {item.element + 1})" if item.element else "")),
        )
    show_listing(table, nothing="everything could be read")


async def _all(account: str | None, meter: str | None) -> list[UnreadJson]:
    found: list[UnreadJson] = []
    after: UnreadAt | None = None
    async with connect() as database:
        operator = await require_operator(database)
        while True:
            async with database.begin() as conn:
                page = await unread_values(
                    conn, operator, account=account, meter=meter, after=after, rows_max=_PAGE_VALUES
                )
            found += [unread_json(whose, value) for whose, value in page]
            if len(page) < _PAGE_VALUES:
                return found
            after = place_of(*page[-1])
