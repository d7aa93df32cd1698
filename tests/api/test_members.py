from __future__ import annotations

from tests.api.conftest import Gateway
from tests.booking.space import entry


async def test_a_merge_is_previewed_and_done(gateway: Gateway) -> None:
    assert (await gateway.api.call("PUT", "/v1/members/ada-2", json={"account": "acme"})).status == 200
    await gateway.space.take(entry("1", "02T08:00"), entry("2", "02T18:00", "member:ada-2"))
    assert len(await gateway.charges()) == 2
    path = "/v1/members/ada-2/merge"
    preview = (await gateway.api.call("POST", f"{path}?dry_run=1", json={"into": "ada"})).json
    [cost] = preview.pop("costs")
    assert preview == {
        "member": "ada-2", "into": "ada", "applied": False, "changed": True, "claims": 0, "links": 1,
        "subscriptions": 0, "grants": 0, "accounts": ["acme"],
    }  # fmt: skip
    assert (cost["account"], cost["difference"], [line["after"] for line in cost["lines"]]) == ("acme", "-25", [None])
    done = (await gateway.api.call("POST", path, json={"into": "ada"})).json
    assert done == {**preview, "applied": True, "costs": None}
    await gateway.space.rate()
    assert sum(float(charge["amount"]) for charge in await gateway.charges()) == 25
    again = (await gateway.api.call("POST", path, json={"into": "ada"})).json
    assert (again["changed"], again["accounts"]) == (False, [])
    put = await gateway.api.call("PUT", "/v1/members/ada-2", json={"account": "acme"})
    assert put.status == 422
    assert "merged into ada" in put.text
    claim = await gateway.api.call("PUT", "/v1/identities/badge:NEW", json={"member": "ada-2"})
    assert claim.status == 422


async def test_what_cannot_be_merged_says_why(gateway: Gateway) -> None:
    for member, into, status in (("eve", "ada", 409), ("nobody", "ada", 404), ("ada", "ada", 422)):
        answer = await gateway.api.call("POST", f"/v1/members/{member}/merge?dry_run=1", json={"into": into})
        assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert (await gateway.api.call("POST", "/v1/members/ada/merge", json={})).status in {400, 422}
