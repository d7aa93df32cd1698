"""`meter privacy`: what is kept of a person."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Annotated, Final

import typer
from rich.progress import Progress

from meter.booking.erasure import erase as erase_person
from meter.booking.erasure import stop_rating
from meter.booking.movements import thin
from meter.cli.common import AsJson, begin_as_owner, connect, err, json_text, out, print_json, require_operator, run
from meter.clock import now
from meter.config import MOVEMENTS_DAYS_MIN, load_settings
from meter.model.errors import BadInput, Unavailable
from meter.store.erasing import Erased, erase_asked
from meter.store.personal import rows_of, traces_of
from meter.store.thinning import Thinned

_OUTSIDE: Final = (
    "What has left the database is not erased: ledger and other files, what billing systems hold, backups, the weekly "
    "evidence, logs, an agent's spool. Take her out of your catalog and people files and at the vendors that tell of "
    "members, or she comes again with the next one. docs/privacy.md says what to do."
)

_ATTEMPTS: Final = 5

app = typer.Typer(name="privacy", help="What is kept of a person.")


@app.callback()
def _group() -> None:
    """What is kept of a person."""


@app.command()
def export(member: Annotated[str, typer.Argument(help="Of whom.")]) -> None:
    """Write everything that is held about a member, as one JSON document. Changes nothing but the record of it."""
    count = run(_export(member))
    err.print(f"{count} rows name {member}; read them before you pass them on", markup=False, highlight=False)


@app.command()
def erase(
    member: Annotated[str, typer.Argument(help="Whom.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a pseudonym in the place of a member everywhere, for good. No bill, balance or seal changes."""
    if as_json and not yes:
        raise BadInput("--json asks nothing; give --yes beside it", code="bad_option")
    if not yes:
        typer.confirm(f"Everything that tells who {member} is goes, for good. Go on?", abort=True, err=True)
    done = run(_erase(member))
    if as_json:
        print_json(
            {
                "pseudonym": done.member,
                "rows": dict(done.rows),
                "redacted": done.redacted,
                "accounts": list(done.accounts),
                "left": list(done.left),
            }
        )
    else:
        out.print(f"{sum(done.rows.values())} rows name {done.member} now, and nobody else", highlight=False)
    if done.left:
        told = ", ".join(done.left)
        err.print(f"texts keep these words, for the catalog uses them, too: {told}", markup=False, highlight=False)
    if member in done.accounts:
        err.print(f"account {member} keeps its id: targets know it by that", markup=False, highlight=False)
    err.print(_OUTSIDE, soft_wrap=True)


@app.command()
def movements(
    *,
    days: Annotated[
        int | None,
        typer.Option(min=MOVEMENTS_DAYS_MIN, help="Kept whole for so long; unset: METER_PRIVACY__MOVEMENTS_DAYS."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep of movements (doors, Wi-Fi) that came long ago only what a bill needs, for good. No bill or seal changes."""
    days = days or load_settings().privacy.movements_days
    if days is None:
        message = "for how long are movements kept whole? give --days, or set METER_PRIVACY__MOVEMENTS_DAYS"
        raise BadInput(message, code="bad_option")
    if as_json and not (yes or dry_run):
        raise BadInput("--json asks nothing; give --yes or --dry-run beside it", code="bad_option")
    before = now() - timedelta(days=days)
    if dry_run or not yes:
        would = run(_thin(before, write=False))
        _show_thinned(would, as_json=as_json, said="would lose what no bill needs")
        if dry_run or not would.thinned:
            return
        typer.confirm("That goes for good. Go on?", abort=True, err=True)
    _show_thinned(run(_thin(before, write=True)), as_json=as_json, said="hold no more than a bill needs now")


def _show_thinned(found: Thinned, *, as_json: bool, said: str) -> None:
    members = dict(sorted(found.members.items()))
    if as_json:
        print_json(
            {"movements": found.movements, "thinned": found.thinned, "changed": found.changed, "members": members}
        )
        return
    out.print(f"{found.thinned} of {found.movements} movements {said}", highlight=False)
    for name, count in members.items():
        out.print(f"  {name}: {count}", markup=False, highlight=False)
    if found.changed:
        err.print(f"{found.changed} are not what was sealed and are left as they are: `meter audit verify` names them")


async def _thin(before: datetime, *, write: bool) -> Thinned:
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("movements", total=None)
        async with connect() as database:
            operator = await require_operator(database)
            return await thin(
                (lambda: begin_as_owner(operator)) if write else database.begin,
                operator,
                before=before,
                write=write,
                told=lambda found: bar.update(task, completed=found.movements),
            )


async def _erase(member: str) -> Erased:
    async with connect() as database:
        operator = await require_operator(database)
    done = await _erase_once(operator, member, attempts=_ATTEMPTS)
    async with begin_as_owner(operator) as connection:
        return await erase_asked(connection, done)


async def _erase_once(operator: str, member: str, *, attempts: int) -> Erased:
    try:
        async with begin_as_owner(operator, begun=stop_rating) as connection:
            return await erase_person(connection, operator, member, at=now())
    except Unavailable as error:
        # A gateway changed a row that names her, as by settling what she had asked for: from the start, then.
        if error.code != "database_contended" or attempts == 1:
            raise
    return await _erase_once(operator, member, attempts=attempts - 1)


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
