"""`meter privacy`: what is kept of a person."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from meter.cli.common import connect, err, json_text, require_operator, run
from meter.store.personal import rows_of, traces_of

app = typer.Typer(name="privacy", help="What is kept of a person.")


@app.callback()
def _group() -> None:
    """What is kept of a person."""


@app.command()
def export(member: Annotated[str, typer.Argument(help="Of whom.")]) -> None:
    """Write everything that is held about a member, as one JSON document. Changes nothing but the record of it."""
    count = run(_export(member))
    err.print(f"{count} rows name {member}; read them before you pass them on", markup=False, highlight=False)


async def _export(member: str) -> int:
    """Return how many rows were written: one a line, for there may be more than fit into memory."""
    count = 0
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as connection:
            traces = await traces_of(connection, operator, member)
            sys.stdout.write(f'{{"member": {json_text(member)}, "rows": [')
            async for found in rows_of(connection, operator, traces):
                told = {"table": found.table, "by": found.by, "row": found.row}
                sys.stdout.write(("," if count else "") + "\n" + json_text(told))
                count += 1
            sys.stdout.write("\n]}\n")
    return count
