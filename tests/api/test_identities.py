from __future__ import annotations

import pytest

from tests.api.conftest import Gateway
from tests.booking.space import entry


async def test_whose_identities_are_and_were(gateway: Gateway) -> None:
    body = {"member": "eve", "from": "2026-03-10"}
    assert (await gateway.api.call("PUT", "/v1/identities/badge:ada1", json=body)).status == 200
    answer = await gateway.api.get("/v1/identities?member=ada")
    assert answer.json == {
        "identities": [
            {
                "identity": "badge:ADA1",
                "claims": [
                    {"member": "ada", "from": None, "to": None},
                    {"member": "eve", "from": "2026-03-09T23:00:00Z", "to": None},
                ],
            }
        ],
        "next": None,
    }
    of_one = (await gateway.api.get("/v1/identities?identity=BADGE:b0b1&limit=1")).json
    assert [one["identity"] for one in of_one["identities"]] == ["badge:B0B1"]
    assert of_one["next"] is None
    assert (await gateway.api.get("/v1/identities?identity=badge:B0B1&member=ada")).json["identities"] == []
    first = (await gateway.api.get("/v1/identities?limit=2")).json
    second = (await gateway.api.get(f"/v1/identities?limit=2&cursor={first['next']}")).json
    seen = [one["identity"] for page in (first, second) for one in page["identities"]]
    assert (seen, second["next"]) == (["badge:ADA1", "badge:B0B1", "badge:EFE1"], None)
    reader = await gateway.api.key("usage:read")
    assert (await gateway.api.get("/v1/identities", key=reader)).status == 403


async def test_a_wrong_claim_is_withdrawn(gateway: Gateway) -> None:
    await gateway.space.take(entry("1", "02T09:00", subject="badge:EFE1"))
    path = "/v1/identities/badge%3Aefe1?member=eve"
    answer = await gateway.api.call("DELETE", path)
    assert answer.json == {"identity": "badge:EFE1", "member": "eve", "changed": True, "accounts": ["solo"]}
    await gateway.space.rate()
    assert sum(float(charge["amount"]) for charge in await gateway.charges()) == 0
    assert len((await gateway.api.get("/v1/unresolved")).json["identities"]) == 1
    assert (await gateway.api.get("/v1/identities?member=eve")).json["identities"] == []
    assert (await gateway.api.call("PUT", "/v1/members/eve", json={})).json["identities"] == []
    again = await gateway.api.call("DELETE", path)
    assert (again.status, again.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("badge:ADA1", 400),
        ("badge:ADA1?member=", 400),
        ("badge:ADA1?member=bob", 404),
        ("badge:ADA1?member=ada&from=soon", 400),
        ("badge:ADA1?member=ada&from=2026-01-01", 404),
        ("nonsense?member=ada", 400),
    ],
)
async def test_what_names_no_claim_withdraws_none(gateway: Gateway, path: str, status: int) -> None:
    answer = await gateway.api.call("DELETE", f"/v1/identities/{path}")
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert len((await gateway.api.get("/v1/identities")).json["identities"]) == 3
