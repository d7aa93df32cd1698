"""HubSpot: the vendor's own examples of signatures, and the way from a deal to members."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.wire import Refusal, WireEvent
from meter.sources.registry import VENDORS
from meter.sources.spec import Answer, Setup
from tests.sources.case import RECEIVED, delivery, events, setup
from tests.sources.cases.hubspot import CASE, CONTACT, DEAL, WON, batch, sign

HUBSPOT = VENDORS["hubspot"]
assert HUBSPOT.hook is not None
READ, CHECK = HUBSPOT.hook.read, HUBSPOT.hook.check
SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"


def of_version(version: str, **more: Any) -> Setup:
    return setup("hubspot", **{"secrets": (SECRET,), "options": {"signature": version}, **more})


def test_the_vendors_example_of_version_2() -> None:
    """legacydocs.hubspot.com, validating requests (v2), November 2026."""
    given = of_version("v2", url="https://www.example.com/webhook_uri")
    signed = {"x-hubspot-signature": "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"}
    CHECK(given, delivery(b"", method="GET", headers=signed))
    with pytest.raises(BadInput):
        CHECK(given, delivery(b"", method="POST", headers=signed))


@pytest.mark.parametrize(
    ("stamp", "signature"),
    [
        ("1693657560000", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
        ("1700000300000", "RnbPH7+UMKVkbV32P8bz450N4M56aPmcru1+D3kSDtw="),
    ],
)
def test_the_vendors_examples_of_version_3(stamp: str, signature: str) -> None:
    """From the tests of HubSpot's Python and Ruby libraries, November 2026."""
    given = of_version("v3", url="https://www.example.com/webhook_uri")
    headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": stamp}
    at = datetime.fromtimestamp(int(stamp) / 1000, tz=UTC)
    CHECK(given, delivery(b"{'example_field':'example_value'}", headers=headers, at=at))
    with pytest.raises(BadInput):
        CHECK(given, delivery(b"{'example_field':'another'}", headers=headers, at=at))


def test_the_vendors_examples_of_the_older_versions_with_a_body() -> None:
    """Version 1 from HubSpot's Python library, version 2 from legacydocs.hubspot.com, November 2026."""
    first = {"x-hubspot-signature": "69fc6631a867edd4f9e9e627fc5c1148e3fbdd8b21837b6d2b8901c1fa57f750"}
    CHECK(of_version("v1"), delivery(b"{'example_field':'example_value'}", headers=first))
    second = {"x-hubspot-signature": "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900"}
    given = of_version("v2", url="https://www.example.com/webhook_uri")
    CHECK(given, delivery(b'{"example_field":"example_value"}', headers=second))


def test_version_1_hashes_the_secret_and_the_body() -> None:
    body = b'[{"eventId":1}]'
    made = hashlib.sha256(SECRET.encode() + body).hexdigest()
    CHECK(of_version("v1"), delivery(body, headers={"x-hubspot-signature": made}))
    with pytest.raises(BadInput):
        CHECK(of_version("v2"), delivery(body, headers={"x-hubspot-signature": made}))


def test_an_older_version_is_not_taken_where_version_3_is_set() -> None:
    body = b"[]"
    made = hashlib.sha256(SECRET.encode() + body).hexdigest()
    with pytest.raises(BadInput):
        CHECK(of_version("v3"), delivery(body, headers={"x-hubspot-signature": made}))


@pytest.mark.parametrize("off", [timedelta(seconds=301), timedelta(seconds=-301)])
def test_a_time_too_far_off_is_refused_either_way(off: timedelta) -> None:
    headers, _ = sign(CASE.setup, "the-active-key", delivery(b"[]"))
    CHECK(CASE.setup, delivery(b"[]", headers=headers, at=RECEIVED + off * 299 / 301))
    with pytest.raises(BadInput) as caught:
        CHECK(CASE.setup, delivery(b"[]", headers=headers, at=RECEIVED + off))
    assert caught.value.code == "stale"


def test_some_escapes_are_decoded_before_the_address_is_signed() -> None:
    given = of_version("v3", url="https://meter.example/hooks/hubspot/a%3Ab%20c%2f")
    stamp = str(int(RECEIVED.timestamp() * 1000))
    signed = b"POSThttps://meter.example/hooks/hubspot/a:b%20c/[]" + stamp.encode()
    made = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    headers = {"x-hubspot-signature-v3": made, "x-hubspot-request-timestamp": stamp}
    CHECK(given, delivery(b"[]", headers=headers))


def test_only_what_was_won_is_news_and_neighbours_count() -> None:
    body = batch({**WON, "objectId": {}}, {**WON, "propertyValue": "lost"}, WON, {**WON, "occurredAt": 1772442000001})
    refusal, first, second = READ(CASE.setup, delivery(body)).items
    assert isinstance(refusal, Refusal)
    assert READ(CASE.setup, delivery(refusal.body)).items == [refusal]
    one, other = events([first, second])
    assert one.id != other.id
    assert one.data == {"vendor": "hubspot", "name": "main", "kind": "deal", "object": "9001"}


def test_a_generic_subscription_of_deals_is_read_too() -> None:
    generic = {**WON, "subscriptionType": "object.propertyChange", "objectTypeId": "0-3"}
    assert len(READ(CASE.setup, delivery(batch(generic))).items) == 1
    assert READ(CASE.setup, delivery(batch({**generic, "objectTypeId": "0-1"}))).items == []


# --- from the deal to the member --------------------------------------------------------------------------------------


def fetched(kind: str, body: Any, wanted: dict[str, Json], *, status: int = 200, **options: Any) -> list[WireEvent]:
    given = setup("hubspot", api_key="k", options=options)
    answer = Answer(status=status, body=json.dumps(body).encode(), received_at=RECEIVED)
    return events(HUBSPOT.fetches[kind].read(given, wanted, answer).items)


def test_a_won_deal_names_its_contacts_once_each() -> None:
    found = fetched("deal", DEAL, {"object": "9001"})
    assert [(event.data["kind"], event.data["object"]) for event in found] == [("contact", "51"), ("contact", "52")]


def test_a_deal_that_was_reopened_meanwhile_is_nothing() -> None:
    reopened = {**DEAL, "properties": {**DEAL["properties"], "dealstage": "qualifiedtobuy"}}
    assert fetched("deal", reopened, {"object": "9001"}) == []
    assert fetched("deal", {}, {"object": "9001"}, status=404) == []


def test_a_deals_plan_is_a_subscription_where_a_property_names_it() -> None:
    *_, subscription = fetched("deal", DEAL, {"object": "9001"}, plan_property="plan", plans={"Flex": "flex-10"})
    assert subscription.data["body"] == {
        "account": "hubspot-51",
        "plan": "flex-10",
        "from": "2026-03-01T00:00:00Z",
        "to": None,
    }


def test_a_company_is_the_account_of_its_contacts() -> None:
    of_company = {**DEAL, "associations": {**DEAL["associations"], "companies": {"results": [{"id": "7"}]}}}
    account, contact, _ = fetched("deal", of_company, {"object": "9001"})
    assert account.data["body"] == {"name": "ACME moves in"}
    associated = {**CONTACT, "associations": {"companies": {"results": [{"id": "6"}, {"id": "7"}]}}}
    (member,) = fetched("contact", associated, dict(contact.data))
    assert member.data["body"] == {
        "name": "Ada Lovelace",
        "email": "ada@acme.example",
        "account": "hubspot-7",
        "identities": ["hubspot:51", "email:ada@acme.example"],
    }


def test_a_notice_makes_nobody_a_member_of_a_company() -> None:
    wanted: dict[str, Json] = {"object": "51", "company": "7", "at": "2026-03-02T09:00:00Z"}
    _, member = fetched("contact", CONTACT, wanted)
    assert member.data["body"]["account"] == "hubspot-51"


def test_a_contact_without_a_company_has_an_account() -> None:
    _, contact = (None, fetched("deal", DEAL, {"object": "9001"})[0])
    account, member = fetched("contact", CONTACT, dict(contact.data))
    assert (account.data["id"], account.data["body"]) == ("hubspot-51", {"name": "ACME"})
    assert member.data["body"]["account"] == "hubspot-51"


def test_what_is_asked_is_a_number() -> None:
    request = HUBSPOT.fetches["deal"].request(CASE.setup, {"object": "9001"})
    assert request.url == "https://api.hubapi.com/crm/v3/objects/deals/9001"
    with pytest.raises(BadInput):
        HUBSPOT.fetches["deal"].request(CASE.setup, {"object": "../contacts/1"})
