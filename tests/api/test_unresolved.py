import pytest

from tests.api.conftest import Gateway
from tests.booking.space import entry, event, pages, sale


async def test_who_nobody_is_with_what_waits(gateway: Gateway) -> None:
    await gateway.space.take(
        pages("1", "02T09:00", 5, subject="badge:ZZ"),
        entry("2", "03T09:00", subject="badge:zz"),
        entry("3", "01T09:00", subject="badge:YY"),
        event("door.access", "4", "04T08:00", "badge:YY", "hamburg/door/main", {"door": "main", "granted": True}),
        sale("5", "02T10:00", "3.00", settlement="account"),
    )
    answer = await gateway.api.get("/v1/unresolved")
    assert answer.json == {
        "identities": [
            {
                "identity": None,
                "events": 1,
                "first": "2026-03-02T10:00:00Z",
                "last": "2026-03-02T10:00:00Z",
                "sites": ["berlin"],
                "types": ["pos.sale"],
            },
            {
                "identity": "badge:YY",
                "events": 2,
                "first": "2026-03-01T09:00:00Z",
                "last": "2026-03-04T08:00:00Z",
                "sites": ["berlin", "hamburg"],
                "types": ["door.access"],
            },
            {
                "identity": "badge:ZZ",
                "events": 2,
                "first": "2026-03-02T09:00:00Z",
                "last": "2026-03-03T09:00:00Z",
                "sites": ["berlin"],
                "types": ["door.access", "print.job"],
            },
        ],
        "next": None,
    }
    of_site = await gateway.api.key("usage:read", site="hamburg")
    theirs = (await gateway.api.get("/v1/unresolved", key=of_site)).json["identities"]
    assert [(item["identity"], item["events"], item["sites"]) for item in theirs] == [("badge:YY", 1, ["hamburg"])]
    of_account = await gateway.api.key("usage:read", account="acme")
    assert (await gateway.api.get("/v1/unresolved", key=of_account)).status == 403


async def test_pages_hold_still_while_identities_come_and_go(gateway: Gateway) -> None:
    await gateway.space.take(*(entry(f"{n}", "02T09:00", subject=f"badge:Z{n}") for n in range(5)))
    seen = []
    first = (await gateway.api.get("/v1/unresolved?limit=2")).json
    seen += [item["identity"] for item in first["identities"]]
    claimed = await gateway.api.call("POST", "/v1/unresolved/badge:Z0/claim", json={"member": "ada"})
    assert claimed.status == 200
    await gateway.space.rate()
    cursor = first["next"]
    while cursor:
        page = (await gateway.api.get(f"/v1/unresolved?limit=2&cursor={cursor}")).json
        seen += [item["identity"] for item in page["identities"]]
        cursor = page["next"]
    assert seen == [f"badge:Z{n}" for n in range(5)]


async def test_a_claim_rates_what_waited_at_its_own_time(gateway: Gateway) -> None:
    await gateway.space.take(pages("1", "02T09:00", 120, subject="badge:ZZ"))
    assert await gateway.charges() == []
    path = "/v1/unresolved/badge%3Azz/claim"
    answer = await gateway.api.call("POST", path, json={"member": "ada"})
    assert answer.json == {"identity": "badge:ZZ", "member": "ada", "changed": True, "accounts": ["acme"]}
    await gateway.space.rate()
    [charge] = await gateway.charges()
    assert (charge["member"], charge["event"]["time"], charge["amount"]) == ("ada", "2026-03-02T09:00:00Z", "1")
    assert (await gateway.api.get("/v1/unresolved")).json["identities"] == []
    again = await gateway.api.call("POST", path, json={"member": "ada"})
    assert (again.status, again.json["changed"]) == (200, False)


async def test_a_claim_may_begin_and_end(gateway: Gateway) -> None:
    await gateway.space.take(*(entry(f"{n}", f"{n:02}T09:00", subject="badge:ZZ") for n in (2, 3, 4)))
    body = {"member": "ada", "from": "2026-03-03", "to": "2026-03-04T00:00:00+01:00"}
    assert (await gateway.api.call("POST", "/v1/unresolved/badge:ZZ/claim", json=body)).status == 200
    await gateway.space.rate()
    assert [charge["event"]["id"] for charge in await gateway.charges()] == ["3"]
    [left] = (await gateway.api.get("/v1/unresolved")).json["identities"]
    assert left["events"] == 2


@pytest.mark.parametrize(
    ("identity", "body", "status"),
    [
        ("badge:ZZ", {"member": "nobody"}, 422),
        ("badge:ZZ", {}, 422),
        ("badge:ZZ", {"member": "ada", "form": "2026-01-01"}, 422),
        ("badge:ZZ", {"member": "ada", "from": "2026-02-30"}, 400),
        ("badge:ZZ", {"member": "ada", "from": "soon"}, 400),
        ("badge:ZZ", {"member": "ada", "from": "2026-03-02", "to": "2026-03-01"}, 422),
        ("badge:ZZ", {"member": "a\0"}, 422),
        ("nonsense", {"member": "ada"}, 400),
    ],
)
async def test_a_claim_that_makes_no_sense_changes_nothing(
    gateway: Gateway, identity: str, body: dict[str, str], status: int
) -> None:
    await gateway.space.take(entry("1", "02T09:00", subject="badge:ZZ"))
    answer = await gateway.api.call("POST", f"/v1/unresolved/{identity}/claim", json=body)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    await gateway.space.rate()
    assert len((await gateway.api.get("/v1/unresolved")).json["identities"]) == 1


@pytest.mark.parametrize("cursor", ["x", "u!!", "uAA", "uY", "c1-2"])
async def test_what_is_no_cursor_is_refused(gateway: Gateway, cursor: str) -> None:
    answer = await gateway.api.get(f"/v1/unresolved?cursor={cursor}")
    assert (answer.status, answer.json["code"]) == (400, "bad_cursor")


async def test_whose_an_identity_may_be(gateway: Gateway) -> None:
    await gateway.space.take(entry("1", "02T09:00", subject="kisi:bob"))
    hint = {"door": "main", "granted": True, "hint": {"name": "Bob"}}
    await gateway.space.take(event("door.access", "2", "04T08:00", "kisi:bob", "berlin/door/main", hint))
    answer = await gateway.api.get("/v1/unresolved/KISI:bob/suggestions")
    reason = {"code": "same_name", "strength": "weak", "text": "is called Bob"}
    assert answer.json == {
        "identity": "kisi:bob",
        "suggestions": [{"member": "bob", "name": "Bob", "strength": "weak", "reasons": [reason]}],
    }
    assert (await gateway.api.get("/v1/unresolved/nonsense/suggestions")).status == 400
