"""Requests of the kinds that exporters send, written by hand from what the vendors say; each fits its document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_TRACKING: Final = "297c2dc5-cc47-4afd-8ec8-74990b8761e9"
_CONTACT: Final = "eaa28f49-6028-4b6e-bb12-d8f6278073fc"
_CREDIT_NOTE: Final = "aea95d78-ea48-456b-9b08-6bc012600072"
_INVOICE: Final = "0a35c9a4-5e4f-4ed4-a2a1-2f3a5e9ac5f1"
KEY: Final = "a" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """A request; `body` goes as JSON, or as a form to Stripe's /v1. `query` goes as text."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


def _stripe(method: str, path: str, body: Any = None, **query: Any) -> Right:
    return Right(method=method, path=path, body=body, query=query, headers={"Idempotency-Key": KEY} if body else {})


def _quickbooks(name: str, body: Any, **query: Any) -> Right:
    query = {"minorversion": 75, "requestid": KEY, **query}
    return Right(method="POST", path=f"/v3/company/9341452/{name}", query=query, body=body)


def _xero(method: str, path: str, body: Any = None, **query: Any) -> Right:
    headers = {"xero-tenant-id": "7a1f1d1e-2b1c-4c6e-9d53-1f3a2b4c5d6e", "Accept": "application/json"}
    if body is not None:
        headers["Idempotency-Key"] = KEY
    return Right(method=method, path=path, query=query, headers=headers, body=body)


def _euros(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "EUR"}


def _journal_line(posting: str, amount: float, account: str, **detail: Any) -> dict[str, Any]:
    return {
        "Amount": amount,
        "DetailType": "JournalEntryLineDetail",
        "Description": "Room, 20 November 2026",
        "JournalEntryLineDetail": {"PostingType": posting, "AccountRef": {"value": account}, **detail},
    }


_STRIPE_EVENT = {
    "event_name": "room_minutes",
    "payload": {"stripe_customer_id": "cus_Q1", "value": "45"},
    "identifier": KEY,
}
_SALES_LINE = {
    "Amount": 22.5,
    "DetailType": "SalesItemLineDetail",
    "Description": "Meeting room, 90 minutes",
    "SalesItemLineDetail": {
        "ItemRef": {"value": "12"},
        "Qty": 1.5,
        "UnitPrice": 15,
        "TaxCodeRef": {"value": "TAX"},
        "ClassRef": {"value": "3"},
    },
}
_SALE = {
    "CustomerRef": {"value": "58"},
    "DocNumber": "METER-2026-11-20-B1",
    "TxnDate": "2026-11-20",
    "PrivateNote": KEY,
    "CurrencyRef": {"value": "EUR"},
    "DepartmentRef": {"value": "1"},
    "Line": [_SALES_LINE],
    "TxnTaxDetail": {"TotalTax": 4.28},
}
_XERO_LINE = {
    "Description": "Meeting room, 90 minutes",
    "Quantity": 1.5,
    "UnitAmount": 15.1234,
    "AccountCode": "200",
    "TaxType": "OUTPUT",
    "Tracking": [{"Name": "Site", "Option": "Berlin"}],
}

RIGHT: Final[Mapping[str, Mapping[str, Right]]] = {
    "stripe": {
        "invoice item": _stripe(
            "POST",
            "/v1/invoiceitems",
            {
                "customer": "cus_Q1",
                "amount": 2250,
                "currency": "eur",
                "description": "Meeting room, 90 minutes",
                "period": {"start": 1795129200, "end": 1795215599},
                "tax_rates": ["txr_1"],
                "metadata": {"batch": KEY, "day": "2026-11-20"},
            },
        ),
        "invoice item by unit": _stripe(
            "POST",
            "/v1/invoiceitems",
            {
                "customer": "cus_Q1",
                "currency": "eur",
                "invoice": "in_1",
                "unit_amount_decimal": "0.123456789012",
                "quantity_decimal": "1.5",
                "discountable": False,
            },
        ),
        "invoice item changed": _stripe(
            "POST", "/v1/invoiceitems/ii_1", {"amount": -100, "metadata": {"revision": "2"}}
        ),
        "invoice item deleted": _stripe("DELETE", "/v1/invoiceitems/ii_1"),
        "invoice items": _stripe("GET", "/v1/invoiceitems", customer="cus_Q1", pending="true", limit=100),
        "invoice": _stripe(
            "POST",
            "/v1/invoices",
            {
                "customer": "cus_Q1",
                "auto_advance": False,
                "collection_method": "send_invoice",
                "days_until_due": 14,
                "pending_invoice_items_behavior": "include",
                "metadata": {"batch": KEY},
            },
        ),
        "invoice finalized": _stripe("POST", "/v1/invoices/in_1/finalize", {"auto_advance": False}),
        "invoices": _stripe(
            "GET", "/v1/invoices", **{"customer": "cus_Q1", "status": "draft", "created[gte]": 1795129200}
        ),
        "invoice read": _stripe("GET", "/v1/invoices/in_1"),
        "credit note": _stripe(
            "POST",
            "/v1/credit_notes",
            {
                "invoice": "in_1",
                "reason": "order_change",
                "lines": [{"type": "invoice_line_item", "invoice_line_item": "il_1", "amount": 500}],
                "metadata": {"batch": KEY},
            },
        ),
        "credit notes": _stripe("GET", "/v1/credit_notes", invoice="in_1"),
        "meter event": _stripe("POST", "/v1/billing/meter_events", {**_STRIPE_EVENT, "timestamp": 1795129200}),
        "meter event cancelled": _stripe(
            "POST",
            "/v1/billing/meter_event_adjustments",
            {"event_name": "room_minutes", "type": "cancel", "cancel": {"identifier": KEY}},
        ),
    },
    "stripe_v2": {
        "session": _stripe("POST", "/v2/billing/meter_event_session", {}),
        "stream": _stripe(
            "POST",
            "/v2/billing/meter_event_stream",
            {"events": [{**_STRIPE_EVENT, "timestamp": "2026-11-20T09:00:00.000Z"}]},
        ),
        "meter event": _stripe("POST", "/v2/billing/meter_events", _STRIPE_EVENT),
        "meter event cancelled": _stripe(
            "POST",
            "/v2/billing/meter_event_adjustments",
            {"event_name": "room_minutes", "type": "cancel", "cancel": {"identifier": KEY}},
        ),
    },
    "square": {
        "order": Right(
            method="POST",
            path="/v2/orders",
            body={
                "idempotency_key": KEY,
                "order": {
                    "location_id": "L1",
                    "reference_id": KEY,
                    "customer_id": "C1",
                    "metadata": {"period": "2026-11"},
                    "taxes": [{"uid": "vat", "name": "VAT", "percentage": "19", "scope": "LINE_ITEM"}],
                    "line_items": [
                        {
                            "name": "Meeting room",
                            "quantity": "1.5",
                            "note": "20 November 2026",
                            "base_price_money": _euros(1500),
                            "applied_taxes": [{"tax_uid": "vat"}],
                        }
                    ],
                },
            },
        ),
        "orders found": Right(
            method="POST",
            path="/v2/orders/search",
            body={
                "location_ids": ["L1"],
                "limit": 500,
                "query": {
                    "filter": {
                        "customer_filter": {"customer_ids": ["C1"]},
                        "state_filter": {"states": ["OPEN", "COMPLETED"]},
                        "date_time_filter": {"created_at": {"start_at": "2026-11-20T00:00:00Z"}},
                    },
                    "sort": {"sort_field": "CREATED_AT", "sort_order": "DESC"},
                },
            },
        ),
        "invoice": Right(
            method="POST",
            path="/v2/invoices",
            body={
                "idempotency_key": KEY,
                "invoice": {
                    "location_id": "L1",
                    "order_id": "O1",
                    "primary_recipient": {"customer_id": "C1"},
                    "payment_requests": [{"request_type": "BALANCE", "due_date": "2026-12-04"}],
                    "delivery_method": "EMAIL",
                    "accepted_payment_methods": {"card": True, "bank_account": False},
                    "title": "November 2026",
                },
            },
        ),
        "invoice published": Right(
            method="POST", path="/v2/invoices/inv:1/publish", body={"version": 0, "idempotency_key": KEY}
        ),
        "invoices found": Right(
            method="POST",
            path="/v2/invoices/search",
            body={"query": {"filter": {"location_ids": ["L1"], "customer_ids": ["C1"]}}, "limit": 200},
        ),
        "invoices": Right(method="GET", path="/v2/invoices", query={"location_id": "L1", "limit": 200}),
        "invoice cancelled": Right(method="POST", path="/v2/invoices/inv:1/cancel", body={"version": 1}),
        "refund": Right(
            method="POST",
            path="/v2/refunds",
            body={"idempotency_key": KEY, "payment_id": "P1", "amount_money": _euros(500), "reason": "Charged twice"},
        ),
    },
    "quickbooks": {
        "journal entry": _quickbooks(
            "journalentry",
            {
                "DocNumber": "METER-2026-11-20-B1",
                "TxnDate": "2026-11-20",
                "PrivateNote": KEY,
                "CurrencyRef": {"value": "EUR"},
                "Line": [
                    _journal_line("Debit", 26.78, "84", Entity={"Type": "Customer", "EntityRef": {"value": "58"}}),
                    _journal_line("Credit", 22.5, "79", ClassRef={"value": "3"}, DepartmentRef={"value": "1"}),
                    _journal_line("Credit", 4.28, "90"),
                ],
            },
        ),
        "invoice": _quickbooks("invoice", {**_SALE, "DueDate": "2026-12-04"}),
        "sales receipt": _quickbooks("salesreceipt", {**_SALE, "DepositToAccountRef": {"value": "4"}}),
        "credit memo": _quickbooks("creditmemo", _SALE),
        "journal entry deleted": _quickbooks("journalentry", {"Id": "227", "SyncToken": "0"}, operation="delete"),
        "invoice read": Right(method="GET", path="/v3/company/9341452/invoice/130", query={"minorversion": 75}),
        "class": _quickbooks("class", {"Name": "Meeting rooms"}),
        "department": _quickbooks("department", {"Name": "Berlin"}),
        "query": Right(
            method="GET",
            path="/v3/company/9341452/query",
            query={"minorversion": 75, "query": "select * from JournalEntry where DocNumber = 'METER-2026-11-20-B1'"},
        ),
        "batch": _quickbooks(
            "batch", {"BatchItemRequest": [{"bId": "1", "operation": "create", "Class": {"Name": "Printing"}}]}
        ),
    },
    "xero": {
        "manual journal": _xero(
            "PUT",
            "/ManualJournals",
            {
                "ManualJournals": [
                    {
                        "Narration": f"Usage in Berlin, 20 November 2026 ({KEY})",
                        "Date": "2026-11-20",
                        "Status": "POSTED",
                        "LineAmountTypes": "NoTax",
                        "JournalLines": [
                            {"LineAmount": 26.78, "AccountCode": "610", "TaxType": "NONE"},
                            {
                                "LineAmount": -26.78,
                                "AccountCode": "200",
                                "Description": "Meeting room",
                                "Tracking": [{"Name": "Site", "Option": "Berlin"}, {"Name": "Meter", "Option": "Room"}],
                            },
                        ],
                    }
                ]
            },
            summarizeErrors="false",
        ),
        "invoice": _xero(
            "PUT",
            "/Invoices",
            {
                "Invoices": [
                    {
                        "Type": "ACCREC",
                        "InvoiceNumber": "METER-2026-11-C1",
                        "Reference": KEY,
                        "Contact": {"ContactID": _CONTACT},
                        "Date": "2026-11-30",
                        "DueDate": "2026-12-14",
                        "LineAmountTypes": "Exclusive",
                        "Status": "AUTHORISED",
                        "CurrencyCode": "EUR",
                        "LineItems": [_XERO_LINE],
                    }
                ]
            },
            summarizeErrors="false",
            unitdp=4,
        ),
        "credit note": _xero(
            "PUT",
            "/CreditNotes",
            {
                "CreditNotes": [
                    {
                        "Type": "ACCRECCREDIT",
                        "Contact": {"ContactID": _CONTACT},
                        "CreditNoteNumber": "METER-2026-11-C1-1",
                        "Reference": KEY,
                        "Date": "2026-12-01",
                        "LineItems": [_XERO_LINE],
                    }
                ]
            },
            unitdp=4,
        ),
        "allocation": _xero(
            "PUT",
            f"/CreditNotes/{_CREDIT_NOTE}/Allocations",
            {"Allocations": [{"Amount": 5.25, "Date": "2026-12-01", "Invoice": {"InvoiceID": _INVOICE}}]},
        ),
        "tracking category": _xero("PUT", "/TrackingCategories", {"Name": "Site"}),
        "tracking option": _xero("PUT", f"/TrackingCategories/{_TRACKING}/Options", {"Name": "Berlin"}),
        "tracking categories": _xero("GET", "/TrackingCategories", includeArchived="true"),
        "journals found": _xero("GET", "/ManualJournals", where='Narration.Contains("METER")', page=1),
        "invoices found": _xero("GET", "/Invoices", where=f'Reference=="{KEY}"', page=1, pageSize=100, unitdp=4),
        "credit notes found": _xero("GET", "/CreditNotes", where=f'Reference=="{KEY}"'),
    },
}
