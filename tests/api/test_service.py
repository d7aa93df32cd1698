"""Health, metrics, the document and its page, limits: what every caller meets."""

from __future__ import annotations

import asyncio
import gzip
import io
import math
import re
from datetime import timedelta
from typing import Any

import pytest
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from meter.api import app as app_module
from meter.api.app import ROUTES
from meter.config import Settings
from meter.model.errors import BadInput, Broken, Unavailable
from meter.store.engine import Database
from meter.store.gathering import Begun, write_export_cursor
from meter.store.outbox import add_items
from meter.store.usage import BEGINNING
from tests.api.conftest import ADMIN_KEY, Api, Gateway, serving, the_services
from tests.booked import a_charge, a_line
from tests.booking.space import entry
from tests.export.books import entry as journal_entry
from tests.export.books import items_of

NOWHERE = "postgresql://nobody:secret-of-the-database@127.0.0.1:1/none"


async def test_a_live_process_says_so_without_any_part(database_url: str) -> None:
    async with serving(the_services(NOWHERE)) as api:
        assert (await api.get("/health/live", key=None)).json == {"status": "live"}


async def test_ready_names_each_part_and_no_address(database_url: str) -> None:
    async def broker() -> None:
        raise Unavailable("mqtt://user:pw@10.0.0.1 does not answer", code="broker_unavailable")

    async def stuck() -> None:
        await asyncio.Event().wait()

    async with serving(the_services(database_url)) as api:
        good = await api.get("/health/ready", key=None)
        assert (good.status, good.json["status"]) == (200, "ready")
        assert good.json["checks"] == {
            "database": {"ok": True, "code": None},
            "migrations": {"ok": True, "code": None},
        }
    async with serving(the_services(NOWHERE, health={"broker": broker, "stuck": stuck})) as api:
        bad = await api.get("/health/ready", key=None)
        assert (bad.status, bad.json["status"]) == (503, "not ready")
        assert bad.json["checks"]["broker"] == {"ok": False, "code": "broker_unavailable"}
        assert bad.json["checks"]["database"] == {"ok": False, "code": "database_unavailable"}
        assert bad.json["checks"]["stuck"] == {"ok": False, "code": "timeout"}
        assert "10.0.0.1" not in bad.text


async def test_ready_wants_this_versions_schema(empty_database_url: str) -> None:
    async with serving(the_services(empty_database_url)) as api:
        answer = await api.get("/health/ready", key=None)
        assert answer.status == 503
        assert answer.json["checks"]["database"]["ok"] is True
        assert answer.json["checks"]["migrations"] == {"ok": False, "code": "not_migrated"}


def _samples(exposition: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(exposition)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


async def test_metrics_show_what_waits(gateway: Gateway) -> None:
    await gateway.space.take(entry("1", "02T09:00", subject="badge:ZZ"), entry("2", "02T09:00"))
    async with gateway.space.database.begin() as conn:
        await add_items(conn, items_of(journal_entry("ch_1")))
        begun = Begun(kind="ledger", mode=None, reads="entries", start=None)
        await write_export_cursor(conn, "northside", "ledger", BEGINNING, begun=begun)
    gateway.space.now += timedelta(hours=1)
    answer = await gateway.api.get("/metrics", key=None)
    found = _samples(answer.text)
    assert found["meter_unresolved_events", frozenset()] == 1
    ledger = frozenset({("target", "ledger")})
    assert found["meter_outbox_pending", ledger] == 1
    assert found["meter_outbox_oldest_seconds", ledger] >= 0
    assert found["meter_gather_lag_seconds", ledger] == 3600
    builds = [labels for name, labels in found if name == "meter_build_info"]
    assert len(builds) == 1


async def test_metrics_count_requests_by_pattern_and_never_by_path(api: Api) -> None:
    await api.get("/v1/charges/ch_1/explain")
    await api.get("/v1/charges/ch_2/explain")
    await api.get("/no/such/path")
    await api.call("PATCH", "/v1/charges")
    found = _samples((await api.get("/metrics", key=None)).text)
    counted = {labels: value for (name, labels), value in found.items() if name == "meter_http_request_seconds_count"}
    routes = {dict(labels)["route"] for labels in counted}
    assert routes == {"/v1/charges/{id}/explain", "unmatched"}
    assert {dict(labels)["method"] for labels in counted} == {"GET", "other"}
    [explained] = [value for labels, value in counted.items() if "/v1/charges/{id}/explain" in dict(labels).values()]
    assert explained == 2


async def test_metrics_say_unknown_while_the_database_is_away() -> None:
    async with serving(the_services(NOWHERE)) as api:
        answer = await api.get("/metrics", key=None)
        assert answer.status == 200
        assert math.isnan(_samples(answer.text)["meter_unresolved_events", frozenset()])


async def test_an_absent_backlog_is_zero_and_not_absent(api: Api) -> None:
    found = _samples((await api.get("/metrics", key=None)).text)
    assert found["meter_outbox_pending", frozenset({("target", "ledger")})] == 0
    assert "ledger" in Settings().targets


async def test_the_document_is_valid_and_names_every_route_and_no_other(api: Api) -> None:
    answer = await api.get("/openapi.json", key=None)
    document = answer.json
    validate(document)
    assert document["openapi"].startswith("3.1")
    described = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    served = {
        (route.method, route.resource.canonical)
        for route in api.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert described == served
    ids = [operation["operationId"] for operations in document["paths"].values() for operation in operations.values()]
    assert len(ids) == len(set(ids))


async def test_the_document_says_which_scope_each_route_takes(api: Api) -> None:
    paths = (await api.get("/openapi.json", key=None)).json["paths"]
    for route in api.app[ROUTES]:
        security = paths[route.path][route.method.lower()]["security"]
        assert security == ([] if route.scope is None else [{"key": [] if route.scope == "any" else [route.scope]}])
    charges = paths["/v1/charges"]["get"]
    assert {parameter["name"] for parameter in charges["parameters"]} == set(
        "cursor limit account member site meter from to wait".split()
    )
    assert set(charges["responses"]["200"]["content"]) == {"application/json", "application/x-ndjson", "text/csv"}


async def test_answers_have_the_form_that_the_document_gives(api: Api) -> None:
    from jsonschema import Draft202012Validator

    await api.book(a_charge(a_line(1)))
    document = (await api.get("/openapi.json", key=None)).json

    def check(value: Any, name: str) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator(schema).validate(value)

    check((await api.get("/v1/charges")).json, "ChargesPage")
    check((await api.get("/v1/unresolved")).json, "UnresolvedPage")
    check((await api.get("/v1/charges?limit=0")).json, "Problem")
    check((await api.get("/health/ready")).json, "Ready")


async def test_the_page_loads_only_what_is_served_here(api: Api) -> None:
    page = await api.get("/docs", key=None)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 4
    for path in loaded:
        answer = await api.get(path, key=None)
        assert answer.status == 200, path
        assert answer.body
    assert "://" not in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "default-src 'none'" in policy
    assert "<script>" not in page.text  # what the policy would refuse


@pytest.mark.parametrize("name", ["swagger-editor.js", "..%2Fcore.py", "%2e%2e%2fcore.py", "start.js%00", "LICENSE"])
async def test_the_page_serves_no_other_file(api: Api, name: str) -> None:
    from yarl import URL

    async with api.session.get(URL(f"{api.base}/docs/{name}", encoded=True)) as response:
        assert response.status == 404


async def test_every_answer_carries_the_headers_that_browsers_need(api: Api) -> None:
    for path, status in (("/v1/charges", 200), ("/nowhere", 404), ("/v1/charges?x=1", 400), ("/health/live", 200)):
        answer = await api.get(path)
        assert answer.status == status
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Server"] == "meter"


async def test_methods_that_are_not_served(api: Api) -> None:
    wrong = await api.call("PATCH", "/v1/charges")
    assert wrong.status == 405
    assert "GET" in wrong.headers["Allow"]
    assert wrong.json["code"] == "method_not_allowed"
    options = await api.call("OPTIONS", "/v1/charges", key=None)
    assert (options.status, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    assert (await api.call("OPTIONS", "/nowhere", key=None)).status == 404


async def test_head_is_get_without_the_body(api: Api) -> None:
    await api.book(a_charge(a_line()))
    for accept in ("application/json", "application/x-ndjson", "text/csv"):
        head = await api.call("HEAD", "/v1/charges", headers={"Accept": accept})
        got = await api.get("/v1/charges", headers={"Accept": accept})
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert (await api.call("HEAD", "/v1/charges", key=None)).status == 401


async def test_a_body_may_have_one_mebibyte_decompressed(api: Api) -> None:
    full = b" " * (1024 * 1024)
    assert (await api.call("POST", "/v1/events", data=io.BytesIO(full))).json["bytes"] == len(full)
    assert (await api.call("POST", "/v1/events", data=io.BytesIO(full + b" "))).status == 413
    bomb = gzip.compress(b" " * (64 * 1024 * 1024))
    assert len(bomb) < 100_000
    answer = await api.call("POST", "/v1/events", data=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status == 413
    assert answer.json["code"] == "too_large"
    broken = await api.call("POST", "/v1/events", data=b"no gzip", headers={"Content-Encoding": "gzip"})
    assert broken.status == 400


async def test_nobody_uploads_before_they_were_let_in(api: Api) -> None:
    answer = await api.call("POST", "/v1/events", key=None, data=io.BytesIO(b" " * (2 * 1024 * 1024)))
    assert answer.status == 401


async def test_a_body_that_does_not_come_is_given_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "BODY_DEADLINE_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.base.rpartition(":")[2]))
    writer.write(
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        b"Authorization: Bearer " + ADMIN_KEY.encode() + b"\r\n\r\nhalf"
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    assert head.startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_head_that_does_not_come_is_given_up(database_url: str) -> None:
    async with serving(the_services(database_url), keepalive_timeout=0.2) as api:
        port = int(api.base.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()


async def test_a_head_is_bounded(api: Api) -> None:
    answer = await api.get("/health/live", headers={"X-Long": "x" * 20_000})
    assert answer.status == 400


async def test_requests_under_way_are_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "REQUESTS_MAX", 1)
    held = asyncio.create_task(api.get("/v1/charges?wait=30"))
    while (busy := await api.get("/health/live")).status == 200:
        pass
    assert busy.status == 503
    assert int(busy.headers["Retry-After"]) > 0
    assert busy.json["code"] == "busy"
    await api.book(a_charge(a_line()))
    assert (await held).status == 200
    assert (await api.get("/health/live")).status == 200


async def test_held_requests_are_answered_when_the_server_stops(database_url: str) -> None:
    async with serving(the_services(database_url)) as api:
        held = asyncio.create_task(api.get("/v1/charges?wait=30"))
        await api.get("/v1/charges")
        await api.app.shutdown()
        assert (await asyncio.wait_for(held, 20)).status == 200


async def test_our_own_faults_are_told_by_number_only(database_url: str) -> None:
    async def broken(_request: Any, _principal: Any) -> Any:
        raise Broken("the ledger of acme holds 17.03 too much", code="unbalanced_entry")

    async def buggy(_request: Any) -> Any:
        raise KeyError("secret-of-the-code")

    async with serving(the_services(database_url, receive_events=broken, receive_hook=buggy)) as api:
        ours = await api.call("POST", "/v1/events", json=[])
        assert (ours.status, ours.json["code"]) == (500, "unbalanced_entry")
        assert "17.03" not in ours.text
        bug = await api.call("POST", "/hooks/square/till", json=[])
        assert (bug.status, bug.json["code"]) == (500, "internal")
        assert "secret-of-the-code" not in bug.text
        assert re.fullmatch("[0-9a-f]{16}", bug.json["error_id"])


async def test_a_part_that_is_away_is_503_and_its_address_is_nobodys_business() -> None:
    async with serving(the_services(NOWHERE)) as api:
        answer = await api.get("/v1/charges")
        assert (answer.status, answer.json["code"]) == (503, "database_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert "secret-of-the-database" not in answer.text
        assert "127.0.0.1" not in answer.text
        # The admin key needs no database: what can be answered without one is.
        assert (await api.get("/health/live")).status == 200


async def test_before_the_first_catalog_it_says_what_to_do(database_url: str) -> None:
    async def nobody() -> None:
        return None

    async with serving(the_services(database_url, operator=nobody)) as api:
        for path in ("/v1/charges", "/v1/unresolved", "/v1/accounts/a/balances", "/v1/keys"):
            answer = await api.get(path)
            assert (answer.status, answer.json["code"]) == (409, "no_catalog"), path
            assert "meter apply" in answer.json["detail"]
        assert (await api.get("/metrics")).status == 200
        assert (await api.get("/v1/charges", key="mk_" + "A" * 43)).status == 401


async def test_faults_of_ingest_keep_their_code(database_url: str) -> None:
    async def refuse(_request: Any, _principal: Any) -> Any:
        raise BadInput("no events here", code="bad_json")

    async def full(_request: Any) -> Any:
        raise Unavailable("the queue is full", code="overloaded")

    async with serving(the_services(database_url, receive_events=refuse, receive_hook=full)) as api:
        assert (await api.call("POST", "/v1/events", data=b"x")).status == 400
        busy = await api.call("POST", "/hooks/square/till", data=b"x")
        assert (busy.status, busy.json["code"], busy.json["detail"]) == (503, "overloaded", "the queue is full")
        assert "Retry-After" in busy.headers


async def test_without_the_ingest_role_its_doors_are_not_there(database_url: str) -> None:
    async with serving(the_services(database_url, receive_events=None, receive_hook=None)) as api:
        assert (await api.call("POST", "/v1/events", json=[])).status == 404
        assert "/v1/events" not in (await api.get("/openapi.json")).json["paths"]


async def test_without_the_api_role_only_the_service_and_the_doors_are_there(database_url: str) -> None:
    async with serving(the_services(database_url, api_role=False)) as api:
        assert set((await api.get("/openapi.json")).json["paths"]) == {
            "/v1/events",
            "/v1/clock",
            "/v1/edges/{site}/{edge}/stored",
            "/hooks/{vendor}/{source}",
            "/health/live",
            "/health/ready",
            "/metrics",
            "/docs",
            "/docs/{file}",
            "/openapi.json",
        }
        assert (await api.get("/v1/charges")).status == 404


async def test_a_body_must_be_what_it_says(api: Api) -> None:
    good = {"scopes": ["usage:read"]}
    assert (await api.call("POST", "/v1/keys", json=good)).status == 201
    wrong_type = await api.call("POST", "/v1/keys", data=b"scopes=admin", headers={"Content-Type": "text/plain"})
    assert wrong_type.status == 415
    no_json, no_key = (400, "bad_json"), (422, "bad_body")
    told = {b"": no_json, b"{": no_json, b'{"scopes": NaN}': no_json, b"\xff": no_json, b"[" * 100_000: no_key}
    for body, expected in told.items():
        answer = await api.call("POST", "/v1/keys", data=body, headers={"Content-Type": "application/json"})
        assert (answer.status, answer.json["code"]) == expected, body[:20]
    nul = await api.call("POST", "/v1/keys", json={"scopes": ["usage:read"], "site": "a\0b"})
    assert nul.status == 422


async def test_a_transaction_of_a_reader_holds_nobody_up(gateway: Gateway) -> None:
    """Reading facts takes no lock that a change of them would wait for."""
    other = Database(gateway.api.db.url)
    async with other.begin() as conn:
        await conn.execute(text("SELECT facts_version FROM operators FOR UPDATE"))
        assert (await gateway.api.get("/v1/accounts/acme/balances")).status == 200
    await other.dispose()


@pytest.mark.parametrize("query", ["before=null", "before=NULL", "before=9223372036854775808", "before=0"])
async def test_a_filter_that_says_nothing_is_not_dropped(api: Api, query: str) -> None:
    answer = await api.get(f"/v1/rejections?{query}")
    assert (answer.status, answer.json["code"]) == (400, "bad_query")
    assert (await api.get("/v1/rejections?before=")).status == 200
