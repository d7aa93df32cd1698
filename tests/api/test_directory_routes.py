"""The directory and the catalog over HTTP: idempotent puts, every fault at once, and what is stored comes back."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from meter.api.directory_json import AccountBody, GrantBody, HeldSubscriptionBody, IdentityBody, MemberBody
from tests.api.conftest import Api

CATALOG = """
operator: northside
currency: EUR
timezone: Europe/Berlin
meters:
  pages: {event: print.job, aggregate: sum, value: impressions, unit: page}
plans:
  flex: {prices: {pages: [{id: page, model: per_unit, unit_price: "0.05"}]}}
accounts:
  acme: {name: ACME, timezone: America/New_York}
  beta: {}
members:
  ada: {account: acme}
  bob: {}
"""
YAML = {"Content-Type": "application/yaml"}


@pytest.fixture
async def stocked(api: Api) -> Api:
    answer = await api.call("PUT", "/v1/catalog", data=CATALOG, headers=YAML)
    assert answer.status == 200, answer.text
    return api


async def version(api: Api) -> int:
    async with api.db.begin() as conn:
        found: int = (await conn.execute(text("SELECT facts_version FROM operators"))).scalar_one()
        return found


async def put(api: Api, path: str, body: Any, *, method: str = "PUT", status: int = 200) -> Any:
    answer = await api.call(method, path, json=body)
    assert answer.status == status, answer.text
    return answer.json


async def test_a_catalog_is_taken_in_once(stocked: Api) -> None:
    again = await stocked.call("PUT", "/v1/catalog", data=CATALOG, headers=YAML)
    assert (again.status, again.json["version"], again.json["directory"]) == (200, None, {})
    assert await version(stocked) == 1


async def test_a_dry_run_tells_and_changes_nothing(api: Api) -> None:
    answer = await api.call("PUT", "/v1/catalog?dry_run=1", data=CATALOG, headers=YAML)
    assert answer.json["version"] == 1
    assert answer.json["applied"] is False
    assert answer.json["directory"]["accounts"] == {"added": 2, "changed": 0}
    async with api.db.begin() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM operators"))).scalar_one() == 0


async def test_json_has_the_same_sections(api: Api) -> None:
    body = {
        "operator": "northside",
        "currency": "EUR",
        "timezone": "Europe/Berlin",
        "taxes": {"vat": {"rate": "0.19"}},
        "accounts": {"acme": {}},
    }
    answer = await put(api, "/v1/catalog", body)
    assert answer["version"] == 1
    assert answer["directory"] == {"accounts": {"added": 1, "changed": 0}}


async def test_every_fault_is_told_at_its_line(api: Api) -> None:
    broken = CATALOG.replace("unit: page}", "units: page}").replace('"0.05"', "free")
    answer = await api.call("PUT", "/v1/catalog", data=broken, headers=YAML)
    assert answer.status == 422
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert [(i["line"], i["path"]) for i in answer.json["issues"]] == [
        (6, "meters.pages"),
        (6, "meters.pages.units"),
        (8, "plans.flex.prices.pages[0].unit_price"),
    ]


async def test_a_catalog_of_another_operator_is_refused(stocked: Api) -> None:
    other = CATALOG.replace("operator: northside", "operator: southside")
    answer = await stocked.call("PUT", "/v1/catalog", data=other, headers=YAML)
    assert (answer.status, answer.json["code"]) == (409, "conflict")
    assert "northside" in answer.json["detail"]


async def test_what_takes_effect_in_the_past_takes_a_reason(stocked: Api) -> None:
    changed = CATALOG.replace("0.05", "0.06") + "effective: 2026-01-01\n"
    refused = await stocked.call("PUT", "/v1/catalog", data=changed, headers=YAML)
    assert (refused.status, refused.json["issues"][0]["path"]) == (422, "effective")
    dry = await stocked.call("PUT", "/v1/catalog?dry_run=true", data=changed, headers=YAML)
    assert dry.json["needs_reason"] is True
    taken = await stocked.call("PUT", "/v1/catalog?reason=wrong+since+January", data=changed, headers=YAML)
    assert (taken.status, taken.json["version"], taken.json["effective"]) == (200, 2, "2025-12-31T23:00:00Z")
    assert taken.json["sections"] == [{"section": "plans", "added": [], "changed": ["flex"], "removed": []}]


async def test_other_media_types_are_refused(stocked: Api) -> None:
    answer = await stocked.call("PUT", "/v1/catalog", data=CATALOG, headers={"Content-Type": "text/plain"})
    assert answer.status == 415
    answer = await stocked.call("PUT", "/v1/accounts/acme", data="name: ACME", headers=YAML)
    assert answer.status == 415


async def test_an_account_comes_back_as_stored_and_again_changes_nothing(stocked: Api) -> None:
    body = {
        "name": "Gamma",
        "timezone": "Asia/Tokyo",
        "anchor_day": 31,
        "stripe": "cus_1",
        "subscriptions": [{"id": "gamma-flex", "plan": "flex", "from": "2026-03-01", "seats": 5}],
    }
    expected = {
        "id": "gamma",
        "name": "Gamma",
        "currency": "EUR",
        "timezone": "Asia/Tokyo",
        "anchor_day": 31,
        "terms": [{"from": None, "currency": "EUR", "timezone": "Asia/Tokyo", "anchor_day": 31}],
        "external": {"stripe": "cus_1"},
        "subscriptions": [
            {
                "id": "gamma-flex",
                "plan": "flex",
                "account": "gamma",
                "member": None,
                "from": "2026-02-28T15:00:00Z",
                "to": None,
                "seats": 5,
                "discounts": [],
                "deposit": None,
            }
        ],
        "warnings": [],
    }
    assert await put(stocked, "/v1/accounts/gamma", body) == expected
    before = await version(stocked)
    assert await put(stocked, "/v1/accounts/gamma", body) == expected
    assert await version(stocked) == before


async def test_a_member_has_the_zone_of_its_first_account(stocked: Api) -> None:
    body = {"name": "Ada", "identities": ["mac:AA:BB:CC:DD:EE:FF", {"id": "badge:04a2", "from": "2026-03-01"}]}
    answer = await put(stocked, "/v1/members/ada", body)
    assert answer["accounts"] == [{"id": "acme", "from": None, "to": None}]
    assert answer["identities"] == [
        {"id": "badge:04A2", "from": "2026-03-01T05:00:00Z", "to": None},
        {"id": "mac:aa-bb-cc-dd-ee-ff", "from": None, "to": None},
    ]


async def test_an_identity_changes_hands_and_both_claims_stay(stocked: Api) -> None:
    await put(stocked, "/v1/identities/badge:04A2", {"member": "ada", "from": "2026-03-01T00:00:00Z"})
    ended = {"member": "ada", "from": "2026-03-01T00:00:00Z", "to": "2026-03-10T00:00:00Z"}
    await put(stocked, "/v1/identities/badge:04a2", ended)
    answer = await put(stocked, "/v1/identities/badge:04A2", {"member": "bob", "from": "2026-03-10T00:00:00Z"})
    assert answer["identity"] == "badge:04A2"
    assert answer["claims"] == [
        {"member": "ada", "from": "2026-03-01T00:00:00Z", "to": "2026-03-10T00:00:00Z"},
        {"member": "bob", "from": "2026-03-10T00:00:00Z", "to": None},
    ]


async def test_two_subscriptions_at_once_are_refused(stocked: Api) -> None:
    await put(stocked, "/v1/subscriptions/one", {"account": "acme", "plan": "flex", "from": "2026-01-01"})
    body = {"account": "acme", "plan": "flex", "from": "2026-05-01"}
    refused = await put(stocked, "/v1/subscriptions/two", body, status=422)
    assert "overlap" in refused["detail"]
    await put(stocked, "/v1/subscriptions/one", {**body, "from": "2026-01-01", "to": "2026-05-01"})
    assert (await put(stocked, "/v1/subscriptions/two", body))["from"] == "2026-05-01T04:00:00Z"


async def test_a_grant_is_given_once(stocked: Api) -> None:
    body = {"id": "pack", "member": "ada", "unit": "page", "amount": "10.50", "expires": "2026-08-25"}
    answer = await put(stocked, "/v1/accounts/acme/grants", body, method="POST")
    assert answer == {
        "id": "pack",
        "account": "acme",
        "member": "ada",
        "unit": "page",
        "amount": "10.5",
        "meters": None,
        "effective": None,
        "expires": "2026-08-25T04:00:00Z",
        "priority": 100,
        "bought": None,
        "overage": "bill",
        "warnings": [],
    }
    before = await version(stocked)
    assert await put(stocked, "/v1/accounts/acme/grants", body, method="POST") == answer
    assert await version(stocked) == before
    taken = await put(stocked, "/v1/accounts/beta/grants", body, method="POST", status=422)
    assert "belongs to the account acme" in taken["detail"]
    missing = await stocked.call("POST", "/v1/accounts/nobody/grants", json=body)
    assert missing.status == 404


async def test_a_subscription_has_discounts_and_a_deposit(stocked: Api) -> None:
    discounts = [
        {"id": "early", "rate": "0.10", "on": "fees", "to": "2026-04-01"},
        {"id": "pages", "amount": 5, "on": ["pages"]},
    ]
    body = {"account": "acme", "plan": "flex", "from": "2026-01-01", "deposit": "200.00", "discounts": discounts}
    answer = await put(stocked, "/v1/subscriptions/one", body)
    assert (answer["deposit"], answer["warnings"]) == ("200", [])
    assert answer["discounts"] == [
        {"id": "early", "rate": "0.1", "amount": None, "on": ["fees"], "from": None, "to": "2026-04-01T04:00:00Z"},
        {"id": "pages", "rate": None, "amount": "5", "on": ["pages"], "from": None, "to": None},
    ]
    before = await version(stocked)
    assert await put(stocked, "/v1/subscriptions/one", body) == answer
    assert await version(stocked) == before
    plain = await put(stocked, "/v1/subscriptions/one", {"account": "acme", "plan": "flex", "from": "2026-01-01"})
    assert (plain["discounts"], plain["deposit"]) == ([], None)


async def test_a_grant_is_bought(stocked: Api) -> None:
    body = {"id": "pack", "unit": "page", "amount": 100, "bought": {"price": "8.00"}}
    refused = await put(stocked, "/v1/accounts/acme/grants", body, method="POST", status=422)
    assert [issue["path"] for issue in refused["issues"]] == ["bought"]
    answer = await put(stocked, "/v1/accounts/acme/grants", {**body, "effective": "2026-02-25"}, method="POST")
    assert answer["bought"] == {"price": "8", "tax": None}


async def test_what_never_applies_is_stored_with_a_warning(stocked: Api) -> None:
    body = {"id": "goodwill", "unit": "USD", "amount": "20"}
    (warning,) = (await put(stocked, "/v1/accounts/acme/grants", body, method="POST"))["warnings"]
    assert "acme pays in EUR" in warning["message"]
    euros = await put(stocked, "/v1/accounts/acme/grants", {**body, "id": "other", "unit": "EUR"}, method="POST")
    assert euros["warnings"] == []
    misplaced = await put(stocked, "/v1/accounts/acme", {"discounts": [], "deposit": 5})
    assert [warning["path"] for warning in misplaced["warnings"]] == ["discounts", "deposit"]


@pytest.mark.parametrize(
    ("path", "body", "paths"),
    [
        ("/v1/accounts/acme", {"nmae": "x", "anchor_day": 32}, ["anchor_day", "nmae"]),
        ("/v1/members/ada", {"account": "nobody", "identities": ["04A2"]}, ["account", "identities[0]"]),
        ("/v1/identities/badge:1", {"member": "nobody"}, ["member"]),
        ("/v1/identities/badge", {"member": "ada"}, [""]),
        ("/v1/subscriptions/s", {"account": "acme", "member": "ada", "plan": "flex"}, [""]),
        ("/v1/subscriptions/s", {"account": "acme", "plan": "gold", "seats": 0}, ["plan", "seats"]),
        ("/v1/accounts/a%20b", {}, ["id"]),
        ("/v1/accounts/acme", [], [""]),
    ],
)
async def test_all_faults_of_a_body_are_told(stocked: Api, path: str, body: Any, paths: list[str]) -> None:
    answer = await put(stocked, path, body, status=422)
    assert sorted(issue["path"] for issue in answer["issues"]) == paths


@pytest.mark.parametrize("body", [b"{", b"", b'{"name": 1', b"\xff", b'{"name": NaN}', b"[" * 100_000])
async def test_a_body_that_is_no_json_cannot_be_read(stocked: Api, body: bytes) -> None:
    for path in ("/v1/accounts/acme", "/v1/catalog"):
        answer = await stocked.call("PUT", path, data=body, headers={"Content-Type": "application/json"})
        assert (answer.status, answer.json["code"]) == (400, "bad_json")


async def test_a_body_that_says_something_twice_can_be_read_and_is_wrong(stocked: Api) -> None:
    body, kind = b'{"name": "a", "name": "b"}', {"Content-Type": "application/json"}
    answer = await stocked.call("PUT", "/v1/accounts/acme", data=body, headers=kind)
    assert (answer.status, answer.json["code"]) == (422, "bad_catalog")
    assert [issue["path"] for issue in answer.json["issues"]] == ["name"]


@pytest.mark.parametrize(("body", "line"), [(b"operator: [\n", 2), (b"", None), (b"\xff", None)])
async def test_a_catalog_that_is_no_yaml_cannot_be_read(stocked: Api, body: bytes, line: int | None) -> None:
    answer = await stocked.call("PUT", "/v1/catalog", data=body, headers=YAML)
    assert (answer.status, answer.json["code"]) == (400, "bad_yaml")
    assert [issue["line"] for issue in answer.json.get("issues", [{"line": None}])] == [line]


async def test_only_keys_that_may_write_the_catalog_may(stocked: Api) -> None:
    reader = await stocked.key("usage:read")
    writer = await stocked.key("catalog:write")
    bound = await stocked.key("catalog:write", account="acme")
    for key, status in ((reader, 403), (bound, 403), (writer, 200)):
        assert (await stocked.call("PUT", "/v1/accounts/beta", json={}, key=key)).status == status
        assert (await stocked.call("PUT", "/v1/catalog", data=CATALOG, headers=YAML, key=key)).status == status


async def test_two_writers_at_once_lose_nothing(stocked: Api) -> None:
    before = await version(stocked)
    answers = await asyncio.gather(*(stocked.call("PUT", f"/v1/accounts/new-{n}", json={}) for n in range(8)))
    assert {answer.status for answer in answers} == {200}
    assert await version(stocked) == before + 8


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/accounts/acme", AccountBody),
        ("/v1/members/ada", MemberBody),
        ("/v1/identities/badge:1", IdentityBody),
        ("/v1/subscriptions/s", HeldSubscriptionBody),
        ("/v1/accounts/acme/grants", GrantBody),
    ],
)
async def test_the_described_fields_are_the_fields_that_are_read(
    stocked: Api, path: str, model: type[msgspec.Struct]
) -> None:
    method = "POST" if path.endswith("grants") else "PUT"
    answer = await put(stocked, path, {"zzzzz": 1}, method=method, status=422)
    (known,) = (i["message"] for i in answer["issues"] if i["path"] == "zzzzz")
    read = set(re.search(r"known: (.*)$", known)[1].split(", "))  # type: ignore[index]
    described = {field.encode_name for field in msgspec.structs.fields(model)}
    misplaced = {"deposits"} if model is HeldSubscriptionBody else {"discounts", "deposit", "deposits"}
    assert read - misplaced == described
