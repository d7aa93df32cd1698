"""`meter members`: merging two that turn out to be one, with a preview of what that books."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec
import typer

from meter.api.members import merge_json
from meter.booking.preview import AccountPreview, facts_after
from meter.cli.common import AsJson, connect, err, out, print_json, require_operator, run
from meter.cli.costs import cost_of, show_cost
from meter.clock import now
from meter.store.merge import Merge, merge_members

app = typer.Typer(name="members", help="Members that turn out to be one.")


@app.callback()
def _group() -> None:
    """Members that turn out to be one."""


@app.command()
def merge(
    member: Annotated[str, typer.Argument(help="The member whose name goes.")],
    into: Annotated[str, typer.Argument(help="The member that it turned out to be.")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show every line that it would book, and book none.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make everything of a member another's: identities, links, subscriptions, grants, and the usage so far."""
    done, found = run(_merge(member, into, dry_run=dry_run))
    if as_json:
        told = msgspec.to_builtins(merge_json(done, costs=found))
        print_json(told | {"applied": not dry_run})
        return
    if not done.changed:
        err.print(f"nothing changed: {member} is {into} already", markup=False, highlight=False)
        return
    show_cost(found)
    verb = "would be" if dry_run else "is"
    what = f"{done.claims} identities, {done.links} links, {done.subscriptions} subscriptions, {done.grants} grants"
    out.print(f"{member} {verb} {into}: {what} change hands", markup=False, highlight=False)


async def _merge(member: str, into: str, *, dry_run: bool) -> tuple[Merge, list[AccountPreview]]:
    at = now()
    async with connect() as database:
        operator = await require_operator(database)
        work = partial(merge_members, operator=operator, member=member, into=into)
        done, facts = await facts_after(database, work, operator)
        since = {touch.account: touch.since for touch in done.touches}
        found = await cost_of(database, operator, facts, since, at=at)
        if not dry_run:
            async with database.begin() as connection:
                done = await work(connection)
        return done, found
