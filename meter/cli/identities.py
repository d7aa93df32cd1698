"""`meter identities`: whose identities are and were, and putting a claim right."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import typer
from rich.markup import escape

from meter.api.identities import ClaimedIdentityJson, claimed_json, since_given
from meter.api.unresolved import when
from meter.cli.common import AsJson, by_default, connect, err, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.model.directory import Span
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.store.apply import Outcome
from meter.store.hashing import stored_identity
from meter.store.identities import Since, claimed_identities, end_claim, hash_claims, withdraw_claim

_PAGE_IDENTITIES: Final = 500

app = typer.Typer(name="identities", help="Whose identities are, and were.")

Identity = Annotated[str, typer.Argument(help="The identity, kind:value, like badge:04A2991B.")]
Whose = Annotated[str, typer.Option("--member", help="Whose claim.")]
ClaimStart = Annotated[
    str | None,
    typer.Option("--from", metavar="T", help="Where the member has several: its start, or `always`."),
]


@by_default(app)
@app.command("list")
def show(
    *,
    member: Annotated[str | None, typer.Option("--member", help="Only identities that this member claims.")] = None,
    identity: Annotated[str | None, typer.Option("--identity", help="Only this identity.")] = None,
    as_json: AsJson = False,
) -> None:
    """List claimed identities with everyone whose they are and were."""
    found = run(_all(identity, member))
    if as_json:
        print_json({"identities": msgspec.to_builtins(found)})
        return
    table = listing("identity", "member", "from", "to", unbroken=("from", "to"))
    for one in found:
        for claim in one.claims:
            table.add_row(escape(one.identity), escape(claim.member), claim.from_ or "its first event", claim.to or "")
    show_listing(table, nothing="no such identity is claimed")


@app.command()
def end(
    identity: Identity,
    *,
    member: Whose,
    until: Annotated[str, typer.Option("--to", metavar="T", help="Up to then: a date or RFC 3339.")],
    since: ClaimStart = None,
    as_json: AsJson = False,
) -> None:
    """End a member's claim: what comes later is somebody else's, or nobody's."""
    last = when(until, what="--to")
    if last is None:
        raise BadInput("--to is empty; give a date or an instant", code="bad_time")
    start = since_given(since, what="--from")

    async def work() -> tuple[str, Outcome]:
        async with connect() as database:
            operator = await require_operator(database)
            async with database.begin() as conn:
                name = await stored_identity(conn, operator, identity)
                return name, await end_claim(conn, operator, name, member=member, since=start, end=last)

    name, outcome = run(work())
    _told(name, member, outcome, said=f"{name} is {member}'s up to {until}", as_json=as_json)


@app.command()
def withdraw(identity: Identity, *, member: Whose, since: ClaimStart = None, as_json: AsJson = False) -> None:
    """Withdraw a claim that was wrong from its start: what was rated for it is booked back."""
    start: Since = since_given(since, what="--from")

    async def work() -> tuple[str, Outcome]:
        async with connect() as database:
            operator = await require_operator(database)
            async with database.begin() as conn:
                name = await stored_identity(conn, operator, identity)
                return name, await withdraw_claim(conn, operator, name, member=member, since=start)

    name, outcome = run(work())
    _told(name, member, outcome, said=f"{name} was never {member}'s", as_json=as_json)


@app.command(name="hash")
def hash_all(*, as_json: AsJson = False) -> None:
    """Put claims from before METER_HASH_IDENTITIES named their kind under their hashes, too."""

    async def work() -> Outcome:
        async with connect() as database:
            operator = await require_operator(database)
            async with database.begin() as conn:
                return await hash_claims(conn, operator)

    outcome = run(work())
    count = len(outcome.changes.claims)
    if as_json:
        print_json({"claims": count, "accounts": sorted({touch.account for touch in outcome.touches})})
    else:
        out.print(f"{count} claims stand under their hashes, too", highlight=False)


def _told(name: str, member: str, outcome: Outcome, *, said: str, as_json: bool) -> None:
    accounts = sorted({touch.account for touch in outcome.touches})
    if as_json:
        print_json({"identity": name, "member": member, "changed": bool(outcome), "accounts": accounts})
    elif outcome:
        again = f"; rated again: {', '.join(accounts)}" if accounts else ""
        out.print(said + again, markup=False, highlight=False)
    else:
        err.print("nothing changed: it was so already")


def span_text(span: Span) -> str:
    """Return a span in words."""
    start = "since its first event" if span.start is None else f"from {instant_text(span.start)}"
    return start if span.end is None else f"{start} to {instant_text(span.end)}"


async def _all(identity: str | None, member: str | None) -> list[ClaimedIdentityJson]:
    found: list[ClaimedIdentityJson] = []
    async with connect() as database:
        operator = await require_operator(database)
        after: str | None = None
        while True:
            async with database.begin() as conn:
                page = await claimed_identities(
                    conn, operator, identity=identity, member=member, after=after, identities_max=_PAGE_IDENTITIES
                )
            found += [claimed_json(one) for one in page]
            if len(page) < _PAGE_IDENTITIES:
                return found
            after = page[-1].identity
