"""Asking before acting over HTTP: the answer, the same again, letting go, the list, and what each key may see."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.api.conftest import Gateway
from tests.booking.asking import printed
from tests.booking.space import LATER
from tests.ingest.test_card_numbers import NUMBER, SPELLED, leaks
from tests.looks import HOSTILE, looks

ASK = {"id": "a1", "identity": "badge:ADA1", "site": "berlin", "meter": "print-pages", "quantity": "30"}
PATH = "/v1/authorizations"


async def asked(gateway: Gateway, status: int = 200, /, *, key: str | None = None, **changes: Any) -> dict[str, Any]:
    body = {name: value for name, value in {**ASK, **changes}.items() if value is not None}
    answer = await gateway.api.call("POST", PATH, json=body, **({} if key is None else {"key": key}))
    assert answer.status == status, answer.text
    told: dict[str, Any] = answer.json
    return told


async def test_an_answer_says_what_it_would_cost_and_what_is_left(gateway: Gateway) -> None:
    await gateway.space.take(printed("job", 80))
    assert await asked(gateway) == {
        "id": "a1",
        "allowed": True,
        "reasons": [],
        "warnings": [],
        "state": "open",
        "offline": False,
        "account": "acme",
        "member": "ada",
        "site": "berlin",
        "meter": "print-pages",
        "quantity": "30",
        "unit": "page",
        "dimensions": {},
        "cost": {
            "covered": "20",
            "billable": "10",
            "amount": "0.5",
            "currency": "EUR",
            "tax": {"name": "vat19", "rate": "0.19", "inclusive": False, "amount": "0.1"},
            "price": "mono",
            "plan": "flex",
            "draws": [{"grant": "acme-flex/pages/2026-06", "unit": "page", "amount": "20"}],
        },
        "left": None,
        "limits": [],
        "allowance": {
            "covered": "0",
            "price": "0.05",
            "currency": "EUR",
            "left": None,
            "left_amount": None,
            "sold_beyond": True,
        },
        "asked_at": "2026-06-01T00:00:00Z",
        "expires_at": "2026-06-01T00:05:00Z",
        "settled": None,
        "released_at": None,
    }


async def test_the_same_ask_is_answered_the_same_and_another_one_is_a_conflict(gateway: Gateway) -> None:
    first = await asked(gateway)
    assert await asked(gateway) == first
    assert (await asked(gateway, 409, quantity="31"))["code"] == "conflict"
    counted = await gateway.api.get("/metrics", key=None)
    assert 'meter_authorizations_total{outcome="allowed"} 1.0' in counted.text
    assert 'meter_authorizations_total{outcome="repeated"} 1.0' in counted.text
    assert "meter_authorization_seconds_count 2.0" in counted.text


async def test_who_nobody_is_hears_no(gateway: Gateway) -> None:
    told = await asked(gateway, identity="badge:NOBODY")
    assert (told["allowed"], told["reasons"], told["state"]) == (False, ["unknown_identity"], "refused")
    assert (told["account"], told["cost"], told["allowance"]) == (None, None, None)


async def test_a_reservation_is_let_go_once(gateway: Gateway) -> None:
    await asked(gateway)
    gateway.space.now += timedelta(seconds=1)
    released = (await gateway.api.call("DELETE", f"{PATH}/a1")).json
    assert (released["state"], released["released_at"]) == ("released", "2026-06-01T00:00:01Z")
    gateway.space.now += timedelta(seconds=1)
    assert (await gateway.api.call("DELETE", f"{PATH}/a1")).json == released
    assert (await gateway.api.get(f"{PATH}/a1")).json == released
    assert (await gateway.api.call("DELETE", f"{PATH}/nothing")).status == 404
    counted = await gateway.api.get("/metrics", key=None)
    assert 'meter_authorizations_total{outcome="released"} 1.0' in counted.text


async def test_an_event_settles_and_a_late_one_is_told_as_late(gateway: Gateway) -> None:
    await asked(gateway)
    await asked(gateway, id="a2", expires_s=1)
    gateway.space.now += timedelta(seconds=2)
    await gateway.space.accept([printed("j1", 30, settles="a1"), printed("j2", 30, settles="a2")])
    told = [(await gateway.api.get(f"{PATH}/{name}")).json for name in ("a1", "a2")]
    assert [one["state"] for one in told] == ["settled", "settled"]
    at = "2026-06-01T00:00:02Z"
    assert told[0]["settled"] == {"source": "berlin/print/hall", "id": "j1", "at": at, "late": False}
    assert told[1]["settled"]["late"] is True
    counted = gateway.space.telemetry.registry
    assert counted.get_sample_value("meter_authorizations_total", {"outcome": "settled"}) == 1
    assert counted.get_sample_value("meter_authorizations_total", {"outcome": "settled_late"}) == 1


async def test_the_list_has_the_newest_first_page_by_page(gateway: Gateway) -> None:
    for n in range(5):
        await asked(gateway, id=f"a{n}", quantity="1", expires_s=60 * (n + 1))
        gateway.space.now += timedelta(seconds=n % 2)

    async def names(query: str) -> list[str]:
        found: list[str] = []
        cursor = ""
        while True:
            page = (await gateway.api.get(f"{PATH}?limit=2&{query}{cursor and '&cursor=' + cursor}")).json
            found += [one["id"] for one in page["authorizations"]]
            cursor = page["next"]
            if cursor is None:
                return found

    assert await names("") == ["a4", "a3", "a2", "a1", "a0"]
    assert await names("account=solo") == []
    gateway.space.now = LATER + timedelta(seconds=121)
    assert await names("account=acme&open=1") == ["a4", "a3", "a2"]
    for cursor in ("x", "a!!", "aW10"):
        assert (await gateway.api.get(f"{PATH}?cursor={cursor}")).json["code"] == "bad_cursor"


async def test_a_key_of_a_site_asks_and_sees_there_alone(gateway: Gateway) -> None:
    door = await gateway.api.key("authorizations:write", "usage:read", site="berlin")
    other = await gateway.api.key("authorizations:write", "usage:read", site="hamburg")
    await asked(gateway, key=door)
    await asked(gateway, 403, key=other, id="a2")
    assert (await gateway.api.get(f"{PATH}/a1", key=door)).status == 200
    for method in ("GET", "DELETE"):
        assert (await gateway.api.call(method, f"{PATH}/a1", key=other)).status == 404
    assert (await gateway.api.get(PATH, key=other)).json["authorizations"] == []
    assert len((await gateway.api.get(PATH, key=door)).json["authorizations"]) == 1
    # The id is taken, and nothing of it is told.
    told = await asked(gateway, 409, key=other, site="hamburg")
    assert "ada" not in str(told)


async def test_a_key_of_an_account_asks_for_its_own_alone(gateway: Gateway) -> None:
    acme = await gateway.api.key("authorizations:write", "usage:read", account="acme")
    solo = await gateway.api.key("authorizations:write", "usage:read", account="solo")
    await asked(gateway, key=acme)
    refused = await asked(gateway, 403, key=solo, id="a2")
    nobody = await asked(gateway, 403, key=solo, id="a3", identity="badge:NOBODY")
    assert refused["detail"] == nobody["detail"]
    assert (await gateway.api.get(f"{PATH}/a1", key=solo)).status == 404
    assert (await gateway.api.get(f"{PATH}?account=acme", key=solo)).json["authorizations"] == []
    assert (await gateway.api.get(PATH, key=solo)).json["authorizations"] == []
    assert len((await gateway.api.get(PATH, key=acme)).json["authorizations"]) == 1


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"identity": None}, 422, "bad_body"),
        ({"member": "ada"}, 422, "bad_body"),
        ({"identity": "badge"}, 400, "bad_identity"),
        ({"quantity": "many"}, 400, None),
        ({"quantity": "0"}, 422, "invalid"),
        ({"meter": "nothing"}, 422, "unknown_meter"),
        ({"dimensions": {"color": True}}, 422, "invalid"),
        ({"expires_s": 0}, 422, "bad_body"),
        ({"expires_s": 86_401}, 422, "bad_body"),
        ({"id": ""}, 422, "bad_body"),
        ({"data": {"x": "y" * 9000}}, 422, "bad_body"),
        ({"dimension": {}}, 422, "bad_body"),
    ],
)
async def test_an_ask_that_makes_no_sense_is_refused_with_its_reason(
    gateway: Gateway, changes: dict[str, Any], status: int, code: str | None
) -> None:
    told = await asked(gateway, status, **changes)
    assert code in {None, told["code"]}


async def test_data_as_deep_as_no_event_may_be_is_refused(gateway: Gateway) -> None:
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    assert (await asked(gateway, 400, data={"x": deep}))["code"] == "too_deep"


async def test_what_an_agent_answered_offline_is_held_against_what_came(gateway: Gateway) -> None:
    """Neither quoted nor refused any more; its event may have come before it is told."""
    at = "2026-06-01T00:00:00Z"
    no = {"asked_at": at, "allowed": False, "reasons": ["risk_limit"]}
    yes = {"asked_at": at, "allowed": True}
    gateway.space.now += timedelta(seconds=100)
    await gateway.space.accept([printed("j1", 30, settles="a1")])
    first = await asked(gateway, offline=yes)
    assert (first["offline"], first["allowed"], first["cost"], first["asked_at"]) == (True, True, None, at)
    assert (first["state"], first["settled"]["id"], first["settled"]["late"]) == ("settled", "j1", False)
    assert await asked(gateway, offline=yes) == first
    await asked(gateway, 409, offline=no)
    second = await asked(gateway, id="a2", offline=no, identity="badge:NOBODY")
    assert (second["state"], second["reasons"], second["account"]) == ("refused", ["risk_limit"], None)
    # It reserves as any other while its time has not come.
    await asked(gateway, id="a3", offline=yes, quantity="60")
    assert (await asked(gateway, id="a4", quantity="60"))["cost"]["covered"] == "10"
    gateway.space.now += timedelta(seconds=200)
    assert (await gateway.api.get(f"{PATH}/a3")).json["state"] == "expired"
    assert (await asked(gateway, id="a5", quantity="60"))["cost"]["covered"] == "10"  # behind a4, which reserves still
    ahead = {"asked_at": "2026-06-01T00:11:00Z", "allowed": True}
    assert (await asked(gateway, 422, id="a6", offline=ahead))["code"] == "invalid"
    counted = await gateway.api.get("/metrics", key=None)
    assert 'meter_authorizations_total{outcome="offline"} 3.0' in counted.text


async def test_of_an_ask_that_was_answered_here_and_by_an_agent_the_first_answer_stands(gateway: Gateway) -> None:
    """The agent waited two seconds and decided by itself; the answer from here was on its way."""
    at = "2026-06-01T00:00:00Z"
    here = await asked(gateway, quantity="60")
    told = await gateway.api.call(
        "POST", PATH, json={**ASK, "quantity": "60", "offline": {"asked_at": at, "allowed": False}}
    )
    assert (told.status, told.json, told.headers["Idempotent-Replayed"]) == (200, here, "true")
    first = await gateway.api.call("POST", PATH, json={**ASK, "id": "a2", "offline": {"asked_at": at, "allowed": True}})
    assert "Idempotent-Replayed" not in first.headers
    assert (await asked(gateway, id="a2"))["offline"]
    assert len((await gateway.api.get(PATH)).json["authorizations"]) == 2
    # An agent's clock is measured better by the time it tells once more.
    later = {"asked_at": "2026-06-01T00:00:01Z", "allowed": True}
    assert (await asked(gateway, id="a2", offline=later))["asked_at"] == at
    await asked(gateway, 409, id="a2", quantity="31", offline=later)


async def test_what_was_allowed_and_never_came_is_found(gateway: Gateway) -> None:
    at = "2026-06-01T00:00:00Z"
    cases: dict[str, dict[str, Any]] = {
        "came": {},
        "unused": {},
        "told": {"offline": {"asked_at": at, "allowed": True}},
    }
    for name, more in cases.items():
        await asked(gateway, id=name, quantity="1", **more)
    await asked(gateway, id="let-go")
    await gateway.api.call("DELETE", f"{PATH}/let-go")
    await gateway.space.accept([printed("j1", 1, settles="came")])

    async def listed(**query: str) -> set[str]:
        return {one["id"] for one in (await gateway.api.get(PATH, params=query)).json["authorizations"]}

    assert await listed(unused="1") == set()
    gateway.space.now += timedelta(seconds=301)
    assert await listed(unused="true") == {"unused", "told"}
    assert await listed(unused="true", offline="true") == await listed(offline="true") == {"told"}


@pytest.mark.parametrize(
    "changes",
    [
        {"id": NUMBER},
        {"identity": f"card:{NUMBER}"},
        {"identity": None, "member": SPELLED},
        {"site": SPELLED},
        {"meter": NUMBER},
        {"quantity": NUMBER},
        {"dimensions": {"size": NUMBER}},
        {"data": {"pan": int(NUMBER)}},
        {"note": SPELLED},
        {"expires_s": int(NUMBER)},
        {"offline": {"asked_at": "2026-06-02T10:00:00Z", "allowed": True, "reasons": [SPELLED]}},
        {"identity": None, "note": NUMBER},
    ],
)
async def test_an_ask_with_a_card_number_is_refused_and_kept_nowhere(gateway: Gateway, changes: dict[str, Any]) -> None:
    with capture_logs() as logs:
        told = await asked(gateway, 400, **changes)
    assert told["code"] == "card_number"
    assert await leaks(gateway.space.database, told, logs) == []


async def test_a_long_ask_is_looked_through_beside_the_loop(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    made = looks(monkeypatch)
    assert (await asked(gateway, 422, data={"note": HOSTILE}))["code"] == "bad_body"
    await asked(gateway)
    assert [look.beside for look in made] == [True, False]
