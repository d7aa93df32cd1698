"""Space platforms, the webhook receiver and the object store as fakes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import aiohttp
import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store
from standardwebhooks import Webhook

from tests.targets.fakes.base import Fake
from tests.targets.fakes.receiver import SECRET, FakeReceiver
from tests.targets.fakes.s3 import FakeS3
from tests.targets.fakes.spaces import FakeCobot, FakeNexudus, FakeOfficeRnD
from tests.targets.proxy import FaultProxy

TOKEN = {"Authorization": "Bearer t"}


async def _said(session: aiohttp.ClientSession, method: str, url: str, content: Any = None, **more: Any) -> Any:
    async with session.request(method, url, json=content, **({"headers": TOKEN} | more)) as answer:
        return answer.status, await answer.json() if answer.content_type == "application/json" else None


async def test_cobot_charges_as_often_as_it_is_asked(session: aiohttp.ClientSession) -> None:
    async with FakeCobot() as fake:
        fake.members.add("m1")
        url = f"{fake.url}/api/memberships/m1/charges"
        charge = {"description": "Pages [k]", "amount": "1.25", "quantity": "4.0", "tax_rate": "19.0",
                  "charged_at": "2026/11/20", "accounting_code": "k"}  # fmt: skip
        for _ in range(2):
            assert (await _said(session, "POST", url, charge))[0] == 201
        assert (await _said(session, "POST", url, {"amount": "1"}))[0] == 422
        assert (await _said(session, "POST", url, charge, headers={}))[0] == 401
        assert (await _said(session, "POST", url.replace("m1", "m2"), charge))[0] == 404
        assert [(one.reference, one.amount, one.tax) for one in fake.books()] == [
            ("k", Decimal(5), Decimal("0.95"))
        ] * 2
        fake.by_hand(fake.books()[0].id, None)
        fake.invoice_all()
        assert await _said(session, "GET", f"{url}/recent") == (200, [])
        _, listed = await _said(session, "GET", f"{fake.url}/api/charges?from=2026-11-20&to=2026-11-20")
        assert [(one["accounting_code"], one["membership_id"]) for one in listed] == [("k", "m1")]


async def test_officernd_lists_fees_page_by_page(session: aiohttp.ClientSession) -> None:
    async with FakeOfficeRnD() as fake:
        fake.members.add("m1")
        fees = f"{fake.url}/api/v2/organizations/hub/fees"
        fee = {"name": "Pages", "price": 1.25, "quantity": 2, "issueDate": "2026-11-20", "location": "l1"}
        assert (await _said(session, "POST", fees, fee))[0] == 401
        form = {"grant_type": "client_credentials", "client_id": "i", "client_secret": "s"}
        async with session.post(f"{fake.url}/oauth/token", data=form) as answer:
            token = {"Authorization": f"Bearer {(await answer.json())['access_token']}"}
        for number in range(3):
            owned = {"member": "m1", "source": f"k{number}"}
            assert (await _said(session, "POST", fees, fee | owned, headers=token))[0] == 201
        asked = f"{fees}?member=m1&issueDate[$gte]=2026-11-20&$limit=2"
        _, first = await _said(session, "GET", asked, headers=token)
        _, last = await _said(session, "GET", f"{asked}&$cursorNext={first['cursorNext']}", headers=token)
        assert [one["source"] for one in first["results"] + last["results"]] == ["k0", "k1", "k2"]
        assert len({one["_id"] for one in first["results"]}) == 2
        assert [one.amount for one in fake.books()] == [Decimal("2.5")] * 3
        fake.advance(hours=1)
        assert (await _said(session, "GET", fees, headers=token))[0] == 401


async def test_nexudus_refuses_with_status_200(session: aiohttp.ClientSession) -> None:
    async with FakeNexudus() as fake:
        fake.members.add("7")
        url = f"{fake.url}/api/billing/charges"
        form = {"grant_type": "password", "username": "u", "password": fake.password}
        async with session.post(f"{fake.url}/api/token", data=form) as answer:
            token = {"Authorization": f"Bearer {(await answer.json())['access_token']}"}
        charge = {"CoworkerId": 7, "BusinessId": 1, "TotalAmount": 2.5, "Description": "Pages", "SystemId": "k"}
        charge |= {"Quantity": 1, "DiscountAmount": 0, "CreditAmount": 0, "SaleDate": "2026-11-20T10:00:00Z"}
        status, made = await _said(session, "POST", url, charge, headers=token)
        assert (status, made["WasSuccessful"]) == (200, True)
        status, refused = await _said(session, "POST", url, charge | {"CoworkerId": 8}, headers=token)
        assert (status, refused["WasSuccessful"]) == (200, False)
        for asked, held in {
            "Charge_SystemId=k": True, "Charge_SystemId=other": False, "Charge_Coworker=7": True,
            "from_Charge_SaleDate=2026-11-20T00:00:00Z&to_Charge_SaleDate=2026-11-21T00:00:00Z": True,
            "from_Charge_SaleDate=2026-11-21T00:00:00Z": False,
        }.items():  # fmt: skip
            _, found = await _said(session, "GET", f"{url}?{asked}", headers=token)
            assert [one["Id"] for one in found["Records"]] == ([made["Value"]["Id"]] if held else [])
        fake.advance(days=7)
        assert (await _said(session, "GET", url, headers=token))[0] == 401
        assert [(one.reference, one.amount) for one in fake.books()] == [("k", Decimal("2.5"))]


async def _hooked(session: aiohttp.ClientSession, fake: FakeReceiver, id: str, body: str, secret: str = SECRET) -> int:
    now = datetime.now(UTC)
    headers = {
        "webhook-id": id, "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(id, now, body),
    }  # fmt: skip
    async with session.post(f"{fake.url}/hook", data=body, headers=headers) as answer:
        return answer.status


async def test_the_receiver_verifies_and_takes_each_id_once(session: aiohttp.ClientSession) -> None:
    other = "whsec_" + "A" * 32
    async with FakeReceiver() as fake:
        assert await _hooked(session, fake, "a", '{"n": 1}') == 204
        assert await _hooked(session, fake, "a", '{"n": 1}') == 204
        assert await _hooked(session, fake, "a", '{"n": 2}') == 204
        assert await _hooked(session, fake, "b", '{"n": 3}', other) == 401
        assert (fake.taken, fake.repeats, fake.changed, fake.unverified) == ({"a": {"n": 1}}, 2, ["a"], 1)
    async with FakeReceiver(SECRET, other) as rotating:
        assert await _hooked(session, rotating, "b", '{"n": 3}', other) == 204


def _store(fake: FakeS3, access_key: str = "AKIDFAKE", url: str = "") -> S3Store:
    return S3Store(
        fake.bucket, endpoint=url or fake.url, access_key_id=access_key, secret_access_key="secret", region="us-east-1",
        virtual_hosted_style_request=False, client_options={"allow_http": True}, retry_config={"max_retries": 0},
    )  # fmt: skip


async def test_the_object_store_keeps_files_for_obstore() -> None:
    async with FakeS3() as fake:
        store = _store(fake)
        await obstore.put_async(store, "day=2026-11-20/a&b.parquet", b"first", mode="create")
        with pytest.raises(AlreadyExistsError):
            await obstore.put_async(store, "day=2026-11-20/a&b.parquet", b"other", mode="create")
        await obstore.put_async(store, "day=2026-11-21/c.parquet", b"third", use_multipart=False)
        assert bytes(await (await obstore.get_async(store, "day=2026-11-20/a&b.parquet")).bytes_async()) == b"first"
        part = await obstore.get_range_async(store, "day=2026-11-21/c.parquet", start=1, end=3)
        assert bytes(part) == b"hi"
        assert (await obstore.head_async(store, "day=2026-11-21/c.parquet"))["size"] == 5
        listed = await obstore.list(store, "day=2026-11-20").collect_async()
        assert [one["path"] for one in listed] == ["day=2026-11-20/a&b.parquet"]
        folders = await obstore.list_with_delimiter_async(store)
        assert list(folders["common_prefixes"]) == ["day=2026-11-20", "day=2026-11-21"]
        await obstore.delete_async(store, "day=2026-11-21/c.parquet")
        assert list(fake.objects) == ["day=2026-11-20/a&b.parquet"]
        with pytest.raises(FileNotFoundError):
            await obstore.head_async(store, "day=2026-11-21/c.parquet")
        async with FaultProxy(fake) as proxy:
            distant = _store(fake, url=proxy.url)
            assert (await obstore.head_async(distant, "day=2026-11-20/a&b.parquet"))["size"] == 5
        with pytest.raises(BaseError):
            await obstore.head_async(_store(fake, "AKIDOTHER"), "day=2026-11-20/a&b.parquet")


async def test_a_fake_that_is_wrong_fails_its_test(session: aiohttp.ClientSession) -> None:
    async def broken() -> None:
        async with FakeCobot() as fake:
            fake.members.add("m1")
            # Text where an object should be: the fake does not guard against what no client sends.
            assert (await _said(session, "POST", f"{fake.url}/api/memberships/m1/charges", "text"))[0] == 500

    with pytest.raises(AttributeError):
        await broken()


async def test_a_fake_leaves_nothing_behind(session: aiohttp.ClientSession) -> None:
    fake: Fake
    async with FakeCobot() as fake:
        url = fake.url
    with pytest.raises(aiohttp.ClientConnectorError):
        await _said(session, "GET", f"{url}/api/space")
