"""`meter rejections`: what was refused, why, and what to do about it."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.markup import escape

from meter.api.rejections import RejectionJson, held_json, rejection_json
from meter.cli.common import AsJson, by_default, connect, err, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.config import load_settings
from meter.ingest.accept import Acceptor
from meter.ingest.retry import retry_rejection
from meter.ingest.setups import Sources
from meter.model.doubt import FUTURE
from meter.model.errors import BadInput
from meter.store.rejections import (
    ListedRejection,
    RejectionStatus,
    find_rejection,
    list_held,
    list_rejections,
    mark_rejection,
)
from meter.telemetry import Telemetry

_SHOWN_MAX: Final = 100
_PAGE: Final = 500

app = typer.Typer(name="rejections", help="What was refused, with its reason and bytes.")
Number = Annotated[int, typer.Argument(help="The rejection's id, as listed.")]


@by_default(app)
@app.command("list")
def show_all(
    *,
    code: Annotated[str | None, typer.Option(help="Only those refused for this reason.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those retried or discarded.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many, the newest first; all with --json.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what was refused and what lies ahead of the clock."""
    found = run(_all(code, everything=everything, limit=limit, whole=as_json))
    if as_json:
        print_json({"rejections": msgspec.to_builtins(found)})
        return
    hidden = len(found) - (limit or _SHOWN_MAX)
    table = listing("id", "code", "count", "last", "origin", "detail")
    for item in found[: limit or _SHOWN_MAX]:
        number = "held" if item.id is None else str(item.id)
        table.add_row(
            number, item.code, str(item.count), item.last, escape(item.origin or item.source or ""), escape(item.detail)
        )
    show_listing(table, nothing="nothing was refused")
    if hidden > 0:
        err.print(f"and {hidden} older ones: --limit {len(found)}, or --json")


@app.command()
def show(
    number: Number,
    *,
    raw: Annotated[bool, typer.Option("--raw", help="The bytes alone, as they came.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one rejection with all of its bytes."""
    found = run(_one(number))
    if raw:
        sys.stdout.buffer.write(found.body)
    elif as_json:
        print_json(msgspec.to_builtins(rejection_json(found, whole=True)))
    else:
        for name, value in msgspec.to_builtins(rejection_json(found, whole=True)).items():
            if value is not None and name != "body_base64":
                out.print(f"{name:>9}  {value}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def retry(
    numbers: Annotated[list[int], typer.Argument(help="The rejections' ids, as listed.")], *, as_json: AsJson = False
) -> None:
    """Hand bytes in again, after what stood in their way has changed."""
    results = run(_retry(numbers))
    if as_json:
        print_json({"results": results})
    else:
        for result in results:
            told = " ".join(str(result[name]) for name in ("rejection", "status", "code", "detail") if name in result)
            out.print(told, markup=False, highlight=False, soft_wrap=True)
    if any(result["status"] == "rejected" for result in results):
        raise typer.Exit(1)


@app.command()
def discard(
    numbers: Annotated[list[int], typer.Argument(help="The rejections' ids, as listed.")], *, as_json: AsJson = False
) -> None:
    """Put rejections aside; their bytes stay."""
    run(_mark(numbers, "discarded"))
    if as_json:
        print_json({"discarded": numbers})
    else:
        err.print(f"{len(numbers)} discarded")


async def _all(code: str | None, *, everything: bool, limit: int | None, whole: bool) -> list[RejectionJson]:
    status: RejectionStatus | None = None if everything else "open"
    found: list[RejectionJson] = []
    before: int | None = None
    async with connect() as database:
        operator = await require_operator(database)
        if code in {None, FUTURE}:
            async with database.begin() as conn:
                found += map(held_json, await list_held(conn, operator, limit=limit or _PAGE))
        while limit is None or len(found) < limit:
            # Page by page: each in a short transaction, for a long one holds back every reader of the log.
            async with database.begin() as conn:
                page = await list_rejections(conn, operator, status=status, code=code, before=before, limit=_PAGE)
            found += [rejection_json(item, whole=whole) for item in page]
            if len(page) < _PAGE:
                break
            before = page[-1].id
    return found[:limit]


async def _one(number: int) -> ListedRejection:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return _present(await find_rejection(conn, operator, number), number)


async def _mark(numbers: list[int], status: RejectionStatus) -> None:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            for number in numbers:
                _present(await mark_rejection(conn, operator, number, status), number)


async def _retry(numbers: list[int]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    async with connect() as database:
        operator = await require_operator(database)

        async def known() -> str | None:
            return operator

        settings = load_settings()
        acceptor = Acceptor(database, operator=known, telemetry=Telemetry(), max_age_days=settings.max_age_days)
        sources = Sources(settings.webhooks)
        for number in numbers:
            receipts = await retry_rejection(database, acceptor, operator, number, sources=sources)
            results += [{"rejection": number, **msgspec.to_builtins(receipt)} for receipt in receipts]
    return results


def _present(found: ListedRejection | None, number: int) -> ListedRejection:
    if found is None:
        raise BadInput(f"there is no rejection {number}; meter rejections list shows them", code="not_found")
    return found
