"""`meter unresolved`: who nobody is, and whose they are."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import typer
from rich.markup import escape
from rich.progress import Progress

from meter.api.unresolved import IdentityJson, SuggestionsJson, identity_json, suggestions_json, when
from meter.cli.common import AsJson, by_default, connect, err, out, print_json, require_operator, run
from meter.cli.identities import span_text
from meter.cli.tables import listing, show_listing
from meter.clock import now
from meter.store.apply import Outcome
from meter.store.hashing import stored_identity
from meter.store.identities import ClaimedIdentity, claimed_identities
from meter.store.suggestions import suggestions_for
from meter.store.unresolved import claim_identity, unresolved_identities

_PAGE_IDENTITIES: Final = 500

app = typer.Typer(name="unresolved", help="Identities that nobody has claimed.")


@by_default(app)
@app.command("list")
def show(*, as_json: AsJson = False) -> None:
    """List identities that nobody has claimed, with what waits for them."""
    found = run(_all())
    if as_json:
        print_json({"identities": msgspec.to_builtins(found)})
        return
    table = listing("identity", "events", "from, to", "sites", "types", unbroken=("from, to",))
    for item in found:
        table.add_row(
            escape(item.identity or "(sales on account without a buyer)"),
            str(item.events),
            f"{item.first}\n{item.last}",
            escape(", ".join(item.sites)),
            escape(", ".join(item.types)),
        )
    show_listing(table, nothing="every identity is claimed")


@app.command()
def claim(
    identity: Annotated[str, typer.Argument(help="The identity, kind:value, like badge:04A2991B.")],
    member: Annotated[str, typer.Argument(help="Whose it is.")],
    *,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="T", help="A date or RFC 3339; unset: since its earliest event."),
    ] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="T", help="Up to then; unset: for ever.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say whose an identity is: what waited is rated at its own time."""
    claimed, outcome = run(_claim(identity, member, since, until))
    accounts = sorted({touch.account for touch in outcome.touches})
    if as_json:
        print_json({"identity": claimed.identity, "member": member, "accounts": accounts})
    elif outcome:
        again = f"; rated again: {', '.join(accounts)}" if accounts else ""
        out.print(f"{claimed.identity} is {member}{again}", markup=False, highlight=False)
        for other in claimed.claims:
            if other.member != member:
                # Of several that cover an instant the one with the latest start counts: said, because it may surprise.
                err.print(f"{other.member} claims it too, {span_text(other.span)}", markup=False, highlight=False)
    else:
        err.print("nothing changed: the claim was there already")


@app.command()
def suggest(
    identity: Annotated[str | None, typer.Argument(help="The identity; unset: all that nobody has claimed.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show whose unclaimed identities may be, and why. Claims nothing: that is for `claim`."""
    found = run(_suggestions(identity))
    if as_json:
        print_json({"identities": msgspec.to_builtins(found)})
        return
    table = listing("identity", "member", "", "why", unbroken=("",))
    for one in found:
        for suggestion in one.suggestions:
            table.add_row(
                escape(one.identity),
                escape(suggestion.member),
                suggestion.strength,
                escape("\n".join(reason.text for reason in suggestion.reasons)),
            )
    show_listing(table, nothing="nothing speaks for anybody")


async def _suggestions(identity: str | None) -> list[SuggestionsJson]:
    names = [identity] if identity is not None else [item.identity for item in await _all() if item.identity]
    found = []
    async with connect() as database:
        operator = await require_operator(database)
        with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
            for name in bar.track(names, description="comparing"):
                async with database.begin() as conn:
                    stored = await stored_identity(conn, operator, name)
                    suggested = suggestions_json(await suggestions_for(conn, operator, stored))
                found.append(SuggestionsJson(identity=stored, suggestions=suggested))
    return found


async def _all() -> list[IdentityJson]:
    found: list[IdentityJson] = []
    async with connect() as database:
        operator = await require_operator(database)
        after: str | None = None
        while True:
            async with database.begin() as conn:
                page = await unresolved_identities(conn, operator, after=after, identities_max=_PAGE_IDENTITIES)
            found += [identity_json(item) for item in page]
            if len(page) < _PAGE_IDENTITIES:
                return found
            after = page[-1].identity


async def _claim(identity: str, member: str, since: str | None, until: str | None) -> tuple[ClaimedIdentity, Outcome]:
    start, end = when(since, what="--from"), when(until, what="--to")
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            outcome = await claim_identity(conn, operator, identity, member=member, start=start, end=end, now=now())
            [claimed] = await claimed_identities(conn, operator, identity=identity, identities_max=1)
            return claimed, outcome
