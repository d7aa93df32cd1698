"""The list of drafts over HTTP, and what may be done with them."""

from __future__ import annotations

import pytest

from tests.api.conftest import Gateway
from tests.store.vendor_news import account, member, says, subscription, tell

PATH = "/v1/drafts/cobot/main"


@pytest.fixture
async def told(gateway: Gateway) -> Gateway:
    await tell(gateway.space.database, subscription(), member(), account())
    return gateway


async def test_what_vendors_say_page_by_page(told: Gateway) -> None:
    first = (await told.api.get("/v1/drafts?limit=2")).json
    assert [draft["kind"] for draft in first["drafts"]] == ["account", "member"]
    rest = (await told.api.get(f"/v1/drafts?limit=2&cursor={first['next']}")).json
    assert rest["next"] is None
    assert rest["drafts"] == [
        {
            "vendor": "cobot",
            "name": "main",
            "kind": "subscription",
            "id": "cobot-9",
            "body": {"account": "cobot-9", "plan": "flex", "from": "2026-01-01"},
            "note": None,
            "time": "2026-03-02T09:00:00Z",
            "channel": "fetch",
            "state": "open",
            "fault": None,
            "decided": None,
        }
    ]
    assert (await told.api.get("/v1/drafts?cursor=dxx")).status == 400
    assert (await told.api.get("/v1/drafts?kind=grant")).status == 400


async def test_apply_and_dismiss(told: Gateway) -> None:
    foreseen = (await told.api.call("POST", f"{PATH}/account/cobot-9/apply?dry_run=1")).json
    assert (foreseen["applied"], foreseen["directory"]) == (False, {"accounts": {"added": 1, "changed": 0}})
    assert foreseen["draft"]["state"] == "open"
    applied = (await told.api.call("POST", f"{PATH}/account/cobot-9/apply")).json
    assert (applied["applied"], applied["directory"]) == (True, foreseen["directory"])
    assert applied["draft"]["state"] == "applied"
    dismissed = (await told.api.call("POST", f"{PATH}/member/cobot-9/dismiss")).json
    assert dismissed["state"] == "dismissed"
    assert [draft["kind"] for draft in (await told.api.get("/v1/drafts")).json["drafts"]] == ["subscription"]
    assert len((await told.api.get("/v1/drafts?state=all")).json["drafts"]) == 3


async def test_a_fault_is_told_and_kept(told: Gateway) -> None:
    answer = await told.api.call("POST", f"{PATH}/member/cobot-9/apply")
    assert (answer.status, answer.json["code"]) == (422, "bad_catalog")
    assert answer.json["issues"]
    (kept,) = (await told.api.get("/v1/drafts?kind=member")).json["drafts"]
    assert "'cobot-9'" in kept["fault"]


async def test_an_id_with_a_slash_has_an_address(told: Gateway) -> None:
    await tell(told.space.database, says("account", {"name": "x"}, id="a/b"))
    answer = await told.api.call("POST", f"{PATH}/account/a%2Fb/dismiss")
    assert (answer.status, answer.json["id"]) == (200, "a/b")


async def test_who_may_change_the_catalog_and_nobody_else(told: Gateway) -> None:
    reader = await told.api.key("usage:read")
    of_account = await told.api.key("catalog:write", account="acme")
    for key in (reader, of_account):
        assert (await told.api.get("/v1/drafts", key=key)).status == 403
        assert (await told.api.call("POST", f"{PATH}/account/cobot-9/apply", key=key)).status == 403
    writer = await told.api.key("catalog:write")
    assert (await told.api.call("POST", f"{PATH}/account/nobody/apply", key=writer)).status == 404
    assert (await told.api.call("POST", f"{PATH}/account/nobody/dismiss", key=writer)).status == 404
