"""The contract servers accept what fits and refuse what does not, each for its own reason: the check can fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any, TypeAlias

import aiohttp
import httpx
import pytest

from tests.contract.judged import PLAIN, VIOLATIONS, ContractServer, assert_accepted
from tests.contract.right_requests import KEY, RIGHT, Right
from tests.targets.fakes.base import Fake, Handler, Held
from tests.targets.fakes.http import Answer

Change: TypeAlias = Callable[[Right], Right]
_AUTHORIZATION = {"Authorization": "Bearer a-token"}


class _Items(Fake):
    def routes(self) -> list[tuple[str, str, Handler]]:
        return [("POST", "/v1/invoiceitems", lambda _: Answer(content={"id": "ii_1"}))]

    def fault(self, status: int) -> Answer:
        return Answer(status=status)

    def books(self) -> tuple[Held, ...]:
        return ()


@pytest.fixture
def contract(request: pytest.FixtureRequest, vendor: str) -> ContractServer:
    server: ContractServer = request.getfixturevalue(f"{vendor}_contract")
    return server


def form(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield a[b][0][c] with its text for everything in an object."""
    if isinstance(value, (dict, list)):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from form(one, f"{name}[{key}]" if name else str(key))
    else:
        yield name, str(value).lower() if isinstance(value, bool) else str(value)


def send(vendor: str, server: ContractServer, right: Right) -> httpx.Response:
    body: dict[str, Any] = {}
    if right.body is not None:
        body = {"data": dict(form(right.body))} if vendor == "stripe" else {"json": right.body}
    headers = {**_AUTHORIZATION, **right.headers}
    return httpx.request(
        right.method, server.base_url + right.path, params=dict(right.query), headers=headers, timeout=60, **body
    )


def put(path: str, value: Any) -> Change:
    """Set what is at `a.b.0.c` of the body."""

    def changed(right: Right) -> Right:
        body = deepcopy(right.body)
        *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        here = body
        for step in steps:
            here = here[step]
        here[last] = value
        return replace(right, body=body)

    return changed


def without(path: str) -> Change:
    """Take out what is at `a.b.0.c` of the body."""

    def changed(right: Right) -> Right:
        body = deepcopy(right.body)
        *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        here = body
        for step in steps:
            here = here[step]
        del here[last]
        return replace(right, body=body)

    return changed


def asking(**query: Any) -> Change:
    return lambda right: replace(right, query={**right.query, **query})


def unasked(name: str) -> Change:
    return lambda right: replace(right, query={key: value for key, value in right.query.items() if key != name})


def at(path: str) -> Change:
    return lambda right: replace(right, path=path)


def by(method: str) -> Change:
    return lambda right: replace(right, method=method)


def under(**headers: str) -> Change:
    return lambda right: replace(
        right, headers={**right.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
    )


# Vendor, the right request, what is done to it, and what the refusal has to say.
WRONG: list[tuple[str, str, Change, str]] = [
    ("stripe", "invoice item", without("customer"), "'customer' is a required property"),
    ("stripe", "invoice item", put("nope", 1), "'nope' was unexpected"),
    ("stripe", "invoice item", put("amount", 22.5), "'22.5' is not of type 'integer'"),
    ("stripe", "invoice item", put("period.start", "2026-11-20"), "body.period.start"),
    ("stripe", "invoice item", without("period.end"), "'end' is a required property"),
    ("stripe", "invoice item", put("tax_rates", [{"id": "txr_1"}]), "body.tax_rates"),
    ("stripe", "invoice item", put("metadata", {"k" * 41: "v"}), "too long"),
    ("stripe", "invoice item", put("metadata.batch", "v" * 501), "too long"),
    ("stripe", "invoice item", put("metadata", {f"k{number}": "v" for number in range(51)}), "too many properties"),
    ("stripe", "invoice item", under(Idempotency_Key="k" * 256), "255 is the most"),
    ("stripe", "invoice item", under(Authorization="Basic eA=="), "API key"),
    ("stripe", "invoice item", under(Content_Type="application/json"), "Content-Type is application/json"),
    ("stripe", "invoice item", at("/v1/invoice_items"), "Unrecognized request URL"),
    ("stripe", "invoice item", by("PUT"), "Unrecognized request URL"),
    ("stripe", "invoice item by unit", put("unit_amount_decimal", "1E+3"), "does not match"),
    ("stripe", "invoice item by unit", put("unit_amount_decimal", "0.1234567890123"), "does not match"),
    ("stripe", "invoice item changed", put("customer", "cus_Q1"), "'customer' was unexpected"),
    ("stripe", "invoice item deleted", asking(amount=1), "'amount' was unexpected"),
    ("stripe", "invoice items", asking(pending="maybe"), "query.pending"),
    ("stripe", "invoice items", asking(status="draft"), "'status' was unexpected"),
    ("stripe", "invoice", put("pending_invoice_items_behavior", "all"), "is not one of"),
    ("stripe", "invoice", put("auto_advance", "yes"), "is not of type 'boolean'"),
    ("stripe", "invoice finalized", at("/v1/invoices/in_1/finalise"), "Unrecognized request URL"),
    ("stripe", "invoices", asking(status="closed"), "is not one of"),
    ("stripe", "credit note", without("invoice"), "'invoice' is a required property"),
    ("stripe", "credit note", put("reason", "refund"), "is not one of"),
    ("stripe", "credit note", without("lines.0.type"), "'type' is a required property"),
    ("stripe", "credit note", put("lines.0.nope", 1), "'nope' was unexpected"),
    ("stripe", "meter event", without("payload"), "'payload' is a required property"),
    ("stripe", "meter event", put("identifier", "i" * 101), "too long"),
    ("stripe", "meter event", put("timestamp", "2026-11-20T09:00:00Z"), "is not of type 'integer'"),
    ("stripe", "meter event cancelled", put("type", "delete"), "is not one of"),
    ("stripe_v2", "session", put("nope", 1), "must NOT have additional properties"),
    ("stripe_v2", "stream", put("events.0.payload.value", 45), "must be string"),
    ("stripe_v2", "stream", without("events.0.event_name"), "must have required property 'event_name'"),
    ("stripe_v2", "stream", put("events.0.timestamp", "yesterday"), 'must match format "date-time"'),
    ("stripe_v2", "stream", put("events.0.customer", "cus_Q1"), "must NOT have additional properties"),
    ("stripe_v2", "stream", lambda right: put("events", right.body["events"] * 101)(right), "more than 100 items"),
    ("stripe_v2", "meter event", put("timestamp", 1795129200), "must be string"),
    ("stripe_v2", "meter event", put("identifier", "i" * 101), "more than 100 characters"),
    ("stripe_v2", "meter event", at("/v2/billing/meter_event"), "no path matched"),
    ("stripe_v2", "meter event", under(Authorization="none"), "security"),
    ("stripe_v2", "meter event cancelled", put("type", "delete"), "allowed values"),
    ("stripe_v2", "meter event cancelled", without("cancel.identifier"), "must have required property 'identifier'"),
    ("square", "order", without("order.location_id"), "must have required property 'location_id'"),
    ("square", "order", put("order.line_items.0.quantity", 1.5), "must be string"),
    ("square", "order", put("order.line_items.0.quantity", "1.23456789012"), "more than 12 characters"),
    ("square", "order", put("order.line_items.0.base_price_money.amount", 15.5), "must be integer"),
    ("square", "order", put("order.line_items.0.base_price_money.currency", "EURO"), "allowed values"),
    ("square", "order", put("order.line_items.0.price", 1), "must NOT have additional properties"),
    ("square", "order", put("order.line_items.0.name", "n" * 513), "more than 512 characters"),
    ("square", "order", put("order.reference_id", "r" * 41), "more than 40 characters"),
    ("square", "order", put("order.metadata", {"k" * 61: "v"}), "more than 60 characters"),
    ("square", "order", put("idempotency_key", "k" * 193), "more than 192 characters"),
    ("square", "order", at("/v2/order"), "no path matched"),
    ("square", "orders found", put("query.filter.state_filter.states", ["PAID"]), "allowed values"),
    ("square", "orders found", put("query.filter.reference_id", KEY), "must NOT have additional properties"),
    ("square", "invoice", put("idempotency_key", "k" * 129), "more than 128 characters"),
    ("square", "invoice", put("invoice.payment_requests.0.request_type", "ALL"), "allowed values"),
    ("square", "invoice", put("invoice.accepted_payment_methods.card", "yes"), "must be boolean"),
    ("square", "invoice published", without("version"), "must have required property 'version'"),
    ("square", "invoice published", put("idempotency_key", "k" * 129), "more than 128 characters"),
    ("square", "invoices found", without("query.filter.location_ids"), "must have required property 'location_ids'"),
    ("square", "invoices", unasked("location_id"), "must have required property 'location_id'"),
    ("square", "invoices", asking(location="L1"), "no parameter location"),
    ("square", "invoice cancelled", put("version", "1"), "must be integer"),
    ("square", "refund", put("idempotency_key", "k" * 46), "more than 45 characters"),
    ("square", "refund", without("amount_money"), "must have required property 'amount_money'"),
    ("square", "refund", under(Authorization="none"), "security"),
    ("quickbooks", "journal entry", without("Line"), "must have required property 'Line'"),
    ("quickbooks", "journal entry", put("Line.0.Amount", "26.78"), "must be number"),
    ("quickbooks", "journal entry", put("Line.0.JournalEntryLineDetail.PostingType", "Dr"), "allowed values"),
    (
        "quickbooks",
        "journal entry",
        without("Line.0.JournalEntryLineDetail.AccountRef"),
        "must have required property 'AccountRef'",
    ),
    (
        "quickbooks",
        "journal entry",
        put("Line.0.JournalEntryLineDetail.Entity.EntityRef", {"name": "Ada"}),
        "must have required property 'value'",
    ),
    ("quickbooks", "journal entry", put("DocNumber", "D" * 22), "more than 21 characters"),
    ("quickbooks", "journal entry", asking(requestid="k" * 51), "more than 50 characters"),
    ("quickbooks", "journal entry", asking(requestId=KEY), "no parameter requestId"),
    ("quickbooks", "journal entry", asking(minorversion=70), "must be >= 75"),
    ("quickbooks", "journal entry", unasked("minorversion"), "must have required property 'minorversion'"),
    ("quickbooks", "journal entry", at("/v3/company/9341452/journalEntries"), "no path matched"),
    ("quickbooks", "journal entry", at("/v3/company/nine/journalentry"), "must match pattern"),
    ("quickbooks", "invoice", without("CustomerRef"), "must have required property 'CustomerRef'"),
    ("quickbooks", "invoice", put("TxnDate", "20.11.2026"), "must match pattern"),
    ("quickbooks", "invoice", put("Line.0.SalesItemLineDetail.Quantity", 1), "must NOT have additional properties"),
    ("quickbooks", "sales receipt", put("TxnTaxDetail.Total", 1), "must NOT have additional properties"),
    ("quickbooks", "credit memo", put("Line.0.DetailType", "SalesLine"), "allowed values"),
    ("quickbooks", "journal entry deleted", without("SyncToken"), "must have required property 'SyncToken'"),
    ("quickbooks", "journal entry deleted", asking(operation="remove"), "allowed values"),
    ("quickbooks", "class", without("Name"), "must have required property 'Name'"),
    ("quickbooks", "department", put("Title", "Berlin"), "must NOT have additional properties"),
    ("quickbooks", "query", unasked("query"), "must have required property 'query'"),
    ("quickbooks", "query", under(Authorization="none"), "security"),
    ("quickbooks", "batch", put("BatchItemRequest.0.bId", "12345678901"), "more than 10 characters"),
    ("quickbooks", "batch", asking(requestid="k" * 37), "more than 36 characters"),
    (
        "quickbooks",
        "batch",
        lambda right: put("BatchItemRequest", right.body["BatchItemRequest"] * 31)(right),
        "more than 30 items",
    ),
    ("xero", "manual journal", without("ManualJournals.0.Narration"), "must have required property 'Narration'"),
    ("xero", "manual journal", put("ManualJournals.0.Reference", KEY), "must NOT have additional properties"),
    ("xero", "manual journal", put("ManualJournals.0.JournalLines.0.LineAmount", "26.78"), "must be number"),
    ("xero", "manual journal", put("ManualJournals.0.LineAmountTypes", "None"), "allowed values"),
    (
        "xero",
        "manual journal",
        put("ManualJournals.0.JournalLines.1.Tracking", [{"Name": "Site", "Option": "Berlin"}] * 3),
        "more than 2 items",
    ),
    ("xero", "manual journal", under(Idempotency_Key="k" * 129), "more than 128 characters"),
    ("xero", "manual journal", asking(summariseErrors="false"), "no parameter summariseErrors"),
    ("xero", "invoice", put("Invoices.0.Type", "RECEIVABLE"), "allowed values"),
    ("xero", "invoice", put("Invoices.0.InvoiceNumber", "n" * 256), "more than 255 characters"),
    ("xero", "invoice", put("Invoices.0.Contact.ContactID", "C1"), 'must match format "uuid"'),
    ("xero", "invoice", put("Invoices.0.LineItems.0.UnitPrice", 1), "must NOT have additional properties"),
    ("xero", "invoice", asking(unitdp="four"), "must be integer"),
    ("xero", "credit note", put("CreditNotes.0.Type", "ACCREC"), "allowed values"),
    ("xero", "allocation", without("Allocations.0.Invoice"), "must have required property 'Invoice'"),
    ("xero", "allocation", by("POST"), "no method matched"),
    ("xero", "tracking category", put("Name", "n" * 101), "more than 100 characters"),
    ("xero", "tracking option", put("Name", "n" * 101), "more than 100 characters"),
    ("xero", "invoices found", asking(filter="x"), "no parameter filter"),
    ("xero", "invoices found", at("/Invoice"), "no path matched"),
]


@pytest.mark.parametrize(
    ("vendor", "name"), [(vendor, name) for vendor, requests in RIGHT.items() for name in requests]
)
def test_a_request_that_fits_is_accepted(vendor: str, name: str, contract: ContractServer) -> None:
    contract.prefer = PLAIN
    response = send(vendor, contract, RIGHT[vendor][name])
    contract.assert_accepted()
    assert_accepted(response)


@pytest.mark.parametrize("vendor", RIGHT)
def test_what_is_accepted_is_answered_by_an_example(vendor: str, contract: ContractServer) -> None:
    response = send(vendor, contract, next(iter(RIGHT[vendor].values())))
    assert_accepted(response)
    assert isinstance(response.json(), dict)


async def test_a_fake_holds_its_requests_against_the_document(stripe_contract: ContractServer) -> None:
    async with _Items(check_request=stripe_contract.check) as vendor, aiohttp.ClientSession(vendor.url) as client:
        for amount, status in (("12", 200), ("12.5", 400)):
            async with client.post(
                "/v1/invoiceitems", data={"customer": "cus_Q1", "amount": amount}, headers=_AUTHORIZATION
            ) as response:
                assert response.status == status
    assert stripe_contract.violations == ["POST /v1/invoiceitems: body.amount: '12.5' is not of type 'integer'"]


def test_what_is_answered_can_be_said(square_contract: ContractServer) -> None:
    square_contract.answers["GET", "/v2/invoices"] = {"invoices": [{"id": "inv:1"}]}
    assert send("square", square_contract, RIGHT["square"]["invoices"]).json() == {"invoices": [{"id": "inv:1"}]}
    # A request that does not fit never gets it.
    assert "invoices" not in send("square", square_contract, asking(location="L1")(RIGHT["square"]["invoices"])).json()


def test_prism_answers_as_it_is_told(xero_contract: ContractServer) -> None:
    xero_contract.prefer = "code=400"
    response = send("xero", xero_contract, RIGHT["xero"]["invoice"])
    assert response.status_code == 400
    assert "Elements" in response.json()
    xero_contract.assert_accepted()


def test_a_path_outside_the_base_is_refused(xero_contract: ContractServer) -> None:
    outside = xero_contract.base_url.removesuffix("/api.xro/2.0") + "/Invoices"
    headers = {**_AUTHORIZATION, **RIGHT["xero"]["invoices found"].headers}
    assert httpx.get(outside, headers=headers, timeout=60).status_code == 404
    assert "no path matched" in xero_contract.violations[0]


def test_nothing_sent_is_no_proof(square_contract: ContractServer) -> None:
    with pytest.raises(AssertionError, match="nothing was sent"):
        square_contract.assert_accepted()


@pytest.mark.parametrize(
    ("vendor", "name", "change", "why"), WRONG, ids=[f"{vendor}-{name}-{why}" for vendor, name, _, why in WRONG]
)
def test_a_request_that_does_not_fit_is_refused(
    vendor: str, name: str, change: Change, why: str, contract: ContractServer
) -> None:
    response = send(vendor, contract, change(RIGHT[vendor][name]))
    assert 400 <= response.status_code < 500
    assert why in "\n".join(contract.violations)
    assert json.loads(response.headers[VIOLATIONS])
    with pytest.raises(AssertionError):
        contract.assert_accepted()
    with pytest.raises(AssertionError):
        assert_accepted(response)
