"""`meter authorizations`: what devices asked before they acted, and what became of it."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.markup import escape

from meter.api.authorization_json import AuthorizationJson, authorization_json
from meter.cli.common import AsJson, by_default, connect, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.clock import now
from meter.store.authorizations import find_authorization, list_authorizations, not_known

app = typer.Typer(name="authorizations", help="What devices asked before they acted.")


@by_default(app)
@app.command("list")
def show_all(
    *,
    account: Annotated[str | None, typer.Option(help="Only of this account.")] = None,
    site: Annotated[str | None, typer.Option(help="Only of this site.")] = None,
    reserving: Annotated[bool, typer.Option("--open", help="Only what reserves something now.")] = False,
    unused: Annotated[bool, typer.Option(help="Only what was allowed and expired without an event.")] = False,
    offline: Annotated[bool, typer.Option(help="Only what an agent on site answered by itself.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List what was asked for, the newest first, with the answer and what became of it."""
    found = run(_listed(account, site, reserving=reserving, unused=unused, offline=offline, limit=limit))
    if as_json:
        print_json({"authorizations": msgspec.to_builtins(found)})
        return
    table = listing("id", "asked", "who", "site", "what", "answer", "cost", "state", unbroken=("asked",))
    for one in found:
        table.add_row(*map(escape, _row(one)))
    show_listing(table, nothing="nobody has asked")


@app.command()
def show(
    authorization: Annotated[str, typer.Argument(metavar="ID", help="An authorization, as listed.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show one ask with all of its answer."""
    told = msgspec.to_builtins(run(_one(authorization)))
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        if value not in (None, [], {}):
            shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            out.print(f"{name:>11}  {shown}", markup=False, highlight=False, soft_wrap=True)


async def _listed(
    account: str | None, site: str | None, *, reserving: bool, unused: bool, offline: bool, limit: int
) -> list[AuthorizationJson]:
    async with connect() as database:
        operator, at = await require_operator(database), now()
        async with database.begin() as connection:
            found = await list_authorizations(
                connection,
                operator,
                account=account,
                site=site,
                open_at=at if reserving else None,
                unused_at=at if unused else None,
                offline=offline,
                limit=limit,
            )
    return [authorization_json(one, at=at) for one in found]


async def _one(name: str) -> AuthorizationJson:
    async with connect() as database:
        operator, at = await require_operator(database), now()
        async with database.begin() as connection:
            found = await find_authorization(connection, operator, name)
    if found is None:
        raise not_known(name)
    return authorization_json(found, at=at)


def _row(one: AuthorizationJson) -> tuple[str, ...]:
    cost = "" if one.cost is None else f"{one.cost.amount} {one.cost.currency}"
    return (
        one.id,
        one.asked_at,
        "nobody known" if one.account is None else f"{one.member} of {one.account}",
        one.site,
        f"{one.quantity} {one.unit or ''} {one.meter}".replace("  ", " "),
        _answer(one),
        cost,
        _state(one),
    )


def _answer(one: AuthorizationJson) -> str:
    if one.offline:
        return "offline: yes" if one.allowed else f"offline: no, {', '.join(one.reasons)}"
    if not one.allowed:
        rest = "" if one.left is None else f" ({one.left} would go)"
        return f"no: {', '.join(one.reasons)}{rest}"
    return "yes, " + ", ".join(one.warnings) if one.warnings else "yes"


def _state(one: AuthorizationJson) -> str:
    if one.settled is None:
        return f"open until {one.expires_at}" if one.state == "open" else one.state
    late = ", late" if one.settled.late and one.allowed else ""
    told = f"{one.settled.source} {one.settled.id}"
    return f"settled by {told}{late}" if one.allowed else f"refused, but came as {told}"
