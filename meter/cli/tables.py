"""Tables for people: narrow ones fold, so that no id and no instant is cut off."""

from __future__ import annotations

from collections.abc import Collection

from rich.box import SIMPLE
from rich.table import Table

from meter.cli.common import err, out


def listing(*headers: str, unbroken: Collection[str] = ()) -> Table:
    """Return an empty table; columns in `unbroken` keep each of their lines whole."""
    table = Table(box=SIMPLE, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold", no_wrap=header in unbroken)
    return table


def show_listing(table: Table, *, nothing: str) -> None:
    """Print a table, or `nothing` where it has no rows."""
    if table.row_count:
        out.print(table)
    else:
        err.print(nothing, markup=False, highlight=False)
