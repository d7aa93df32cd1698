"""An account's invoices, for whoever may see the account."""

from __future__ import annotations

from tests.api.conftest import Api
from tests.store.test_invoices import STORY, tell


async def test_an_account_sees_how_its_invoices_stand(api: Api) -> None:
    for news in STORY:
        await tell(api.db, *news)
    [invoice] = (await api.get("/v1/accounts/acme/invoices")).json["invoices"]
    assert invoice == {
        "target": "stripe",
        "remote_id": "in_1",
        "invoice": "20260228-K7Q2M4XA",
        "account": "acme",
        "number": "ACME-0001",
        "status": "paid",
        "currency": "EUR",
        "total": "11.9",
        "amount_due": "11.9",
        "amount_paid": "11.9",
        "url": "https://invoice.stripe.com/i/acct_1/test_1",
        "start": "2026-02-01T00:00:00Z",
        "end": "2026-03-01T00:00:00Z",
        "changed": "2026-03-02T12:00:09Z",
    }
    assert (await api.get("/v1/accounts/acme/invoices?status=open")).json == {"invoices": []}
    assert (await api.get("/v1/accounts/bolt/invoices")).json == {"invoices": []}
    assert (await api.get("/v1/accounts/acme/invoices?status=lost")).status == 400
