"""`meter invoices`: how invoices stand at the targets that hold them."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import typer
from rich.markup import escape

from meter.api.invoices import invoice_json
from meter.cli.common import AsJson, connect, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.store.invoices import STATUSES, Invoice, InvoiceStatus, list_invoices

_NOTHING: Final = (
    "no target has said anything of an invoice; they do by webhook, docs/targets/stripe.md and docs/targets/square.md "
    "tell how (What comes back)"
)


def invoices(
    *,
    account: Annotated[str | None, typer.Option(help="Only this account's.")] = None,
    status: Annotated[str | None, typer.Option(help="Only those that stand so, like open or paid.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List invoices as the targets that hold them say they stand, the one that changed last first."""
    found = run(_listed(account, _status(status), limit))
    if as_json:
        print_json({"invoices": msgspec.to_builtins([invoice_json(one) for one in found])})
        return
    table = listing("target", "number", "account", "status", "total", "due", "paid", "changed", unbroken=("changed",))
    for one in found:
        amounts = (f"{plain(amount)} {one.currency}" for amount in (one.total, one.amount_due, one.amount_paid))
        number = one.number or one.invoice or one.remote_id
        table.add_row(
            escape(one.target),
            escape(number),
            escape(one.account or ""),
            one.status,
            *amounts,
            instant_text(one.changed_at),
        )
    show_listing(table, nothing=_NOTHING)


def _status(given: str | None) -> InvoiceStatus | None:
    if given is None:
        return None
    try:
        status: InvoiceStatus = msgspec.convert(given, InvoiceStatus)
    except msgspec.ValidationError as error:
        message = f"{given[:40]!r} is no status; there are {', '.join(STATUSES)}"
        raise BadInput(message, code="bad_option") from error
    return status


async def _listed(account: str | None, status: InvoiceStatus | None, limit: int) -> list[Invoice]:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return await list_invoices(conn, operator, account=account, status=status, invoices_max=limit)
