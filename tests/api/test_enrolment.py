"""An agent's way to its keys and out again, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from meter.api.enrolment import Attempts
from meter.clock import monotonic_s
from meter.config import EdgesSettings, Settings
from meter.model.errors import BadInput
from tests.api.conftest import Answer, Gateway, serving, the_services
from tests.booking.space import open_space
from tests.store.test_enrolment import request

EDGES = EdgesSettings(http_url="https://meter.example", mqtt_url="mqtts://meter.example:8883")


@pytest_asyncio.fixture
async def gateway(database_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    settings = Settings(data_dir=tmp_path, edges=EDGES)
    async with (
        open_space(database_url) as space,
        serving(the_services(database_url, clock=lambda: space.now, settings=settings)) as served,
    ):
        yield Gateway(space=space, api=served)


def own_request() -> str:
    return request(ec.generate_private_key(ec.SECP256R1()))


async def opened(gateway: Gateway, edge: str = "edge-1", **options: Any) -> Answer:
    return await gateway.api.call("POST", f"/v1/edges/berlin/{edge}/enrollment", **options)


async def shown(gateway: Gateway, code: str, signed: str) -> Answer:
    return await gateway.api.call("POST", "/v1/enrollments", key=None, json={"code": code, "request": signed})


async def enrolled(gateway: Gateway, edge: str = "edge-1") -> dict[str, Any]:
    answer = await shown(gateway, (await opened(gateway, edge)).json["code"], own_request())
    assert answer.status == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


async def revoke(gateway: Gateway, edge: str = "edge-1", reason: str = "stolen") -> Answer:
    return await gateway.api.call("POST", f"/v1/edges/berlin/{edge}/revoke", json={"reason": reason})


async def test_a_code_becomes_keys_of_one_site(gateway: Gateway) -> None:
    answer = await opened(gateway, json={"expires_s": 600})
    code = answer.json["code"]
    assert (answer.status, answer.json["command"]) == (201, f"meter-edge enroll https://meter.example {code}")
    assert "code" not in (await gateway.api.get("/v1/edges")).json["enrollments"][0]
    given = (await shown(gateway, code, own_request())).json
    assert (given["site"], given["edge"], given["mqtt_url"]) == ("berlin", "edge-1", EDGES.mqtt_url)
    certificate = x509.load_pem_x509_certificate(given["certificate"].encode())
    ca = x509.load_pem_x509_certificate((await gateway.api.get("/v1/edges/ca")).body)
    certificate.verify_directly_issued_by(ca)
    (key,) = [one for one in (await gateway.api.get("/v1/keys")).json["keys"] if one["site"]]
    assert (key["site"], set(key["scopes"])) == ("berlin", {"events:write", "authorizations:write"})
    assert (await gateway.api.get("/v1/clock", key=given["api_key"])).status == 200
    assert (await shown(gateway, code, own_request())).status == 409


async def test_a_lost_answer_is_given_again_with_another_key(gateway: Gateway) -> None:
    code, signed = (await opened(gateway)).json["code"], own_request()
    first, second = [(await shown(gateway, code, signed)).json["api_key"] for _ in range(2)]
    assert (await gateway.api.get("/v1/clock", key=first)).status == 401
    assert (await gateway.api.get("/v1/clock", key=second)).status == 200


async def test_guessing_ends(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    signed, code = own_request(), (await opened(gateway)).json["code"]
    assert [(await shown(gateway, "GUESS", signed)).status for _ in range(12)] == [403] * 10 + [429] * 2
    assert (await shown(gateway, code, signed)).status == 429
    later = monotonic_s() + 60
    monkeypatch.setattr("meter.api.enrolment.monotonic_s", lambda: later)
    assert (await shown(gateway, code, signed)).status == 200


def test_addresses_that_guess_are_counted_apart_and_not_for_ever() -> None:
    attempts = Attempts()
    for _ in range(10):
        attempts.failed("192.0.2.1")
    attempts.check("192.0.2.2")
    with pytest.raises(BadInput, match="wait a minute"):
        attempts.check("192.0.2.1")
    for number in range(1_024):
        attempts.failed(f"2001:db8::{number:x}")
    attempts.check("192.0.2.1")


@pytest.mark.parametrize(
    ("body", "status"),
    [({"code": "X", "request": "x" * 5_000}, 422), ({"code": "X", "request": "none"}, 400), ({"code": "X"}, 422)],
)
async def test_what_is_no_request_is_refused(gateway: Gateway, body: dict[str, str], status: int) -> None:
    assert (await gateway.api.call("POST", "/v1/enrollments", key=None, json=body)).status == status


async def test_codes_are_an_administrators(gateway: Gateway) -> None:
    other = await gateway.api.key("events:write", "usage:read", "authorizations:write")
    for path in ("enrollment", "revoke"):
        answer = await gateway.api.call("POST", f"/v1/edges/berlin/edge-1/{path}", key=other, json={"reason": "r"})
        assert answer.status == 403
    assert (await gateway.api.call("POST", "/v1/edges/prague/edge-1/enrollment")).status == 404


async def test_a_certificate_is_renewed_by_its_agent_alone(gateway: Gateway) -> None:
    mine, other = await enrolled(gateway), await enrolled(gateway, "edge-2")
    path = "/v1/edges/berlin/edge-1/certificate"
    renewed = (await gateway.api.call("POST", path, key=mine["api_key"])).json
    assert renewed["certificate"] != mine["certificate"]
    assert mine["renew"] < renewed["expires"]
    site_key = await gateway.api.key("events:write", site="berlin")
    for key in (other["api_key"], site_key):
        assert (await gateway.api.call("POST", path, key=key)).status == 404
    await revoke(gateway)
    assert (await gateway.api.call("POST", path, key=mine["api_key"])).status == 401


async def test_a_revoked_agent_is_out_everywhere(gateway: Gateway) -> None:
    mine, other = await enrolled(gateway), await enrolled(gateway, "edge-2")
    assert (
        "user berlin:edge-1\ntopic write spaces/berlin/edge/edge-1\n" in (await gateway.api.get("/v1/edges/acl")).text
    )
    assert (await gateway.api.get("/v1/clock", key=mine["api_key"])).status == 200  # and so it is remembered
    told = await revoke(gateway)
    assert (told.status, told.json["reason"], told.json["by"]) == (200, "stolen", "METER_ADMIN_KEY")
    assert (await gateway.api.get("/v1/clock", key=mine["api_key"])).status == 401
    assert (await gateway.api.get("/v1/clock", key=other["api_key"])).status == 200
    listed = x509.load_pem_x509_crl((await gateway.api.get("/v1/edges/crl")).body)
    certificate = x509.load_pem_x509_certificate(mine["certificate"].encode())
    assert [one.serial_number for one in listed] == [certificate.serial_number]
    rules = (await gateway.api.get("/v1/edges/acl")).text
    assert "berlin:edge-1" not in rules
    assert "berlin:edge-2" in rules
    assert (await revoke(gateway, "edge-9")).status == 404
    assert (await revoke(gateway, reason=" ")).status == 422


async def test_a_gateway_with_another_key_enrols_nobody(gateway: Gateway, tmp_path: Path) -> None:
    await enrolled(gateway)
    (tmp_path / "edge-ca.key").unlink()
    code = (await opened(gateway)).json["code"]
    answer = await shown(gateway, code, own_request())
    assert (answer.status, answer.json["code"]) == (503, "wrong_authority")
