"""`meter audit`: who did what, and whether anything of what is kept was changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.markup import escape
from rich.progress import Progress

from meter.api.audit import record_json
from meter.backup.places import store_access
from meter.cli.common import AsJson, by_default, connect, err, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.config import load_settings
from meter.export.head_places import heads_at, read_heads
from meter.model.instant import parse_instant
from meter.store.records import Record, RecordFilter, list_records
from meter.store.verify import Head, Verified, verify

_SHOWN_MAX: Final = 100
# Of each kind the first are enough to know where to look.
_FAULTS_SHOWN_MAX: Final = 100

app = typer.Typer(name="audit", help="Who did what, and whether anything of what is kept was changed.")


@by_default(app)
@app.command("list")
def show_all(
    *,
    since: Annotated[str | None, typer.Option(help="From this instant on, like 2026-03-01T00:00:00Z.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only what this key, `cli:USER` or `system` did.")] = None,
    object_: Annotated[str | None, typer.Option("--object", help="Only of this object.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind: a table, a route, a command.")] = None,
    member: Annotated[str | None, typer.Option(help="Only about this member.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the newest first.")] = _SHOWN_MAX,
    as_json: AsJson = False,
) -> None:
    """List who did what, the newest first."""
    wanted = RecordFilter(
        since=None if since is None else parse_instant(since), actor=actor, object=object_, kind=kind, member=member
    )
    found = run(_listed(wanted, limit))
    if as_json:
        print_json({"records": [msgspec.to_builtins(record_json(one)) for one in found]})
        return
    table = listing("at", "actor", "action", "kind", "object", "fields", unbroken=("at",))
    for one in found:
        told = record_json(one)
        table.add_row(
            told.at, escape(one.actor), one.action, escape(one.kind), escape(one.object), ", ".join(told.fields)
        )
    show_listing(table, nothing="nothing is recorded")


@app.command("verify")
def show_verified(
    *,
    heads: Annotated[
        str | None,
        typer.Option(
            help="The file of heads, from where it was kept, or s3://bucket/prefix; unset: METER_AUDIT__HEADS."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell which rows were changed, removed, added or reordered since they were sealed. Ends with 1 where any was."""
    found = run(_verified(heads))
    if as_json:
        print_json(_told(found))
    else:
        for fault in found.faults[:_FAULTS_SHOWN_MAX]:
            out.print(fault, markup=False, highlight=False, soft_wrap=True)
        if (hidden := len(found.faults) - _FAULTS_SHOWN_MAX) > 0:
            err.print(f"and {hidden} more: --json")
        err.print(
            f"{found.rows} rows in {found.blocks} blocks, sealed until {found.sealed_at or 'never'}; {found.objects} "
            f"recorded objects; {found.redacted} rows redacted; {found.thinned} movements thinned; "
            f"{found.heads} heads; {len(found.faults)} faults",
            markup=False,
            highlight=False,
        )
    if found.faults:
        raise typer.Exit(1)


def _told(found: Verified) -> dict[str, Any]:
    return {
        "blocks": found.blocks,
        "rows": found.rows,
        "objects": found.objects,
        "redacted": found.redacted,
        "thinned": found.thinned,
        "heads": found.heads,
        "sealed_at": found.sealed_at,
        "faults": found.faults,
    }


async def _listed(wanted: RecordFilter, limit: int) -> list[Record]:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return await list_records(conn, operator, wanted, before=None, limit=limit)


async def _verified(place: str | None) -> Verified:
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("verifying blocks", total=None)
        async with connect() as database:
            operator = await require_operator(database)
            return await verify(
                database,
                operator,
                heads=await heads_kept(place, operator),
                checked=lambda blocks: bar.update(task, completed=blocks),
            )


async def heads_kept(named: str | None, operator: str) -> list[Head]:
    """Return the heads of the place that is named, or of the one that the settings name, once there are any."""
    settings = load_settings()
    if named is not None and "://" not in named:
        return read_heads(Path(named), operator)
    return await heads_at(named or settings.heads_place, store_access(settings.store)).read(operator)
