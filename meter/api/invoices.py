"""How an account's invoices stand at the targets that hold them: GET /v1/accounts/{id}/invoices."""

from __future__ import annotations

from aiohttp import web

from meter.api.auth import keep_to_account
from meter.api.routing import (
    JSON,
    DecimalText,
    InstantText,
    Limit,
    Model,
    Query,
    Route,
    json_answer,
    principal_of,
    query_of,
)
from meter.api.services import Services
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.store.invoices import Invoice, InvoiceStatus, list_invoices


class InvoicesQuery(Query, kw_only=True):
    """The invoices that changed last, at most `limit`."""

    status: InvoiceStatus | None = None
    limit: Limit = 100


class InvoiceJson(Model, kw_only=True):
    """An invoice as its target says it stands.

    `invoice` is the gateway's number of it (null: the target made it for something else), `number` the one that the
    customer sees. `failed`: open, and a payment did not go through.
    """

    target: str
    remote_id: str
    invoice: str | None
    account: str | None
    number: str | None
    status: InvoiceStatus
    currency: str
    total: DecimalText
    amount_due: DecimalText
    amount_paid: DecimalText
    url: str | None
    start: InstantText | None
    end: InstantText | None
    changed: InstantText


class Invoices(Model, kw_only=True):
    """The account's invoices, the one that changed last first."""

    invoices: list[InvoiceJson]


def routes(services: Services) -> list[Route]:
    """Return the route of an account's invoices."""

    async def show(request: web.Request) -> web.StreamResponse:
        account = request.match_info["id"]
        keep_to_account(principal_of(request), account)
        query = query_of(request, InvoicesQuery)
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            found = await list_invoices(conn, operator, account=account, status=query.status, invoices_max=query.limit)
        return json_answer(Invoices(invoices=[invoice_json(one) for one in found]))

    return [
        Route(
            method="GET",
            path="/v1/accounts/{id}/invoices",
            handler=show,
            tag="charges",
            summary="The account's invoices as the targets that hold them say they stand",
            scope="usage:read",
            open_to=frozenset({"account"}),
            query=InvoicesQuery,
            answers={JSON: Invoices},
        )
    ]


def invoice_json(invoice: Invoice) -> InvoiceJson:
    """Return an invoice as it leaves."""
    return InvoiceJson(
        target=invoice.target,
        remote_id=invoice.remote_id,
        invoice=invoice.invoice,
        account=invoice.account,
        number=invoice.number,
        status=invoice.status,
        currency=invoice.currency,
        total=plain(invoice.total),
        amount_due=plain(invoice.amount_due),
        amount_paid=plain(invoice.amount_paid),
        url=invoice.url,
        start=None if invoice.start is None else instant_text(invoice.start),
        end=None if invoice.end is None else instant_text(invoice.end),
        changed=instant_text(invoice.changed_at),
    )
