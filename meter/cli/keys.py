"""`meter keys`: who may call the HTTP interface."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer
from rich.markup import escape

from meter.api.keys import key_fields
from meter.cli.common import AsJson, connect, err, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.clock import now
from meter.model.instant import parse_instant
from meter.store.keys import (
    OVERLAP_HOURS,
    OVERLAP_HOURS_MAX,
    SCOPES,
    ApiKey,
    create_key,
    list_keys,
    revoke_key,
    rotate_key,
)

app = typer.Typer(name="keys", help="Keys of the HTTP interface.", no_args_is_help=True)


@app.command()
def create(
    *,
    scope: Annotated[list[str], typer.Option(help=f"What it may do, one or several of {', '.join(SCOPES)}.")],
    site: Annotated[str | None, typer.Option(help="At this site only.")] = None,
    account: Annotated[str | None, typer.Option(help="For this account only.")] = None,
    label: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="Until when it is good, like 2027-01-01T00:00:00Z.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print its secret, which is shown this once and kept nowhere."""
    ends = None if expires_at is None else parse_instant(expires_at, what="--expires-at")
    key, secret = run(_create(scope, site, account, label, ends))
    _show_secret(key, secret, as_json=as_json)


@app.command()
def rotate(
    key: Annotated[str, typer.Argument(help="Its id, key_...")],
    *,
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=OVERLAP_HOURS_MAX, help="Hours for which the former one works on.")
    ] = OVERLAP_HOURS,
    as_json: AsJson = False,
) -> None:
    """Make the key that follows one, and print its secret; both work until the former one ends."""
    made, secret = run(_rotate(key, timedelta(hours=overlap_hours)))
    _show_secret(made, secret, as_json=as_json)


def _show_secret(key: ApiKey, secret: str, *, as_json: bool) -> None:
    if as_json:
        print_json({**key_fields(key), "secret": secret})
        return
    err.print(f"{key.id} may {', '.join(key.scopes)}; its secret, shown this once:", markup=False, highlight=False)
    out.print(secret, markup=False, highlight=False)


@app.command("list")
def show(*, as_json: AsJson = False) -> None:
    """List every key, revoked ones too."""
    keys = run(_list())
    if as_json:
        print_json({"keys": [key_fields(key) for key in keys]})
        return
    columns = ("key, label", "scopes", "only", "created, ends", "last used")
    table = listing(*columns, unbroken=("created, ends", "last used"))
    for key in keys:
        fields = key_fields(key)
        only = key.site or key.account or ""
        table.add_row(
            escape("\n".join(filter(None, [key.id, key.label]))),
            ", ".join(key.scopes),
            escape(only),
            f"{fields['created_at']}\n{fields['revoked_at'] or fields['expires_at'] or ''}",
            fields["last_used_at"] or "",
        )
    show_listing(table, nothing="no keys but the admin key")


@app.command()
def revoke(key: Annotated[str, typer.Argument(help="Its id, key_...")], *, as_json: AsJson = False) -> None:
    """Revoke a key: within seconds no gateway takes it any more."""
    revoked = run(_revoke(key))
    if as_json:
        print_json(key_fields(revoked))
    else:
        out.print(f"{revoked.id} is revoked", markup=False, highlight=False)


async def _create(
    scopes: list[str], site: str | None, account: str | None, label: str | None, ends: datetime | None
) -> tuple[ApiKey, str]:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return await create_key(
                conn,
                operator,
                scopes=frozenset(scopes),
                site=site,
                account=account,
                label=label,
                expires_at=ends,
                at=now(),
            )


async def _rotate(key: str, overlap: timedelta) -> tuple[ApiKey, str]:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return await rotate_key(conn, operator, key, overlap=overlap, at=now())


async def _list() -> list[ApiKey]:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return await list_keys(conn, operator)


async def _revoke(key: str) -> ApiKey:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return await revoke_key(conn, operator, key, at=now())
