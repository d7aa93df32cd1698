"""`meter rerate`: rate again with today's catalog since an instant in the past, with a preview of what that books."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from meter.booking import rerate as booking
from meter.booking.preview import AccountPreview, facts_after, facts_now
from meter.cli.common import AsJson, connect, out, print_json, require_operator, run
from meter.cli.costs import cost_json, cost_of, show_cost
from meter.cli.reading import instant_given
from meter.clock import now
from meter.model.instant import instant_text


def rerate(
    *,
    since: Annotated[str, typer.Option("--from", metavar="T", help="Since when: a date or an RFC 3339 instant.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; every charge that it books names it.")],
    account: Annotated[str | None, typer.Option("--account", help="Only this account; else all of them.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show every line that it would book, and book none.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rate again with today's catalog from an instant on, and book what differs."""
    done, found = run(_rerate(since, account=account, reason=reason, dry_run=dry_run))
    if as_json:
        print_json(
            {
                "applied": not dry_run,
                "from": instant_text(done.since),
                "accounts": len(done.touches),
                "versions": [version.version for version in done.versions],
                "costs": cost_json(found),
            }
        )
        return
    show_cost(found)
    count = len(done.touches)
    verb = "would be" if dry_run else ("is" if count == 1 else "are")
    out.print(
        f"{count} account{'' if count == 1 else 's'} {verb} rated again from {instant_text(done.since)} on",
        highlight=False,
    )


async def _rerate(
    since: str, *, account: str | None, reason: str, dry_run: bool
) -> tuple[booking.Rerate, list[AccountPreview]]:
    at = now()
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as connection:
            facts = await facts_now(connection, operator)
        start = instant_given(since, facts, account, what="--from") or at
        wanted = partial(booking.rerate, operator=operator, since=start, account=account, reason=reason, now=at)
        done, facts = await facts_after(database, wanted, operator)
        found = await cost_of(database, operator, facts, {touch.account: touch.since for touch in done.touches}, at=at)
        if not dry_run:
            async with database.begin() as connection:
                done = await wanted(connection)
        return done, found
