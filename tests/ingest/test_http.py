import asyncio
import io
import json
from typing import Any

import pytest

from meter.ingest import http
from meter.ingest.batcher import Batcher
from meter.ingest.http import event_receiver
from meter.store.engine import Database
from meter.store.tables import events, rejections
from tests.api.conftest import Answer, Api, serving, the_services
from tests.ingest.bodies import acceptor, body, envelope, northside
from tests.ingest.gateway import Gate, until
from tests.ingest.rows import rows

ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"


async def post(door: Api, content: bytes | io.BytesIO, media: str = ONE, **options: Any) -> Answer:
    headers = {"Content-Type": media, **options.pop("headers", {})}
    return await door.call("POST", "/v1/events", data=content, headers=headers, **options)


async def test_one_event(door: Api, database: Database) -> None:
    answer = await post(door, body(), ONE + "; charset=utf-8")
    assert answer.status == 200
    assert answer.json == {"results": [{"id": "e-1", "source": "berlin/door/main", "status": "accepted"}]}
    assert (await post(door, body())).json["results"][0]["status"] == "duplicate"
    (row,) = await rows(database, events)
    assert row["channel"] == "http"


async def test_a_batch_has_a_result_for_each_in_order(door: Api, database: Database) -> None:
    content = [
        envelope(id="1"),
        envelope(id="1"),
        envelope(id="1", type="x"),
        envelope(id="2", time="2027-01-01T00:00:00Z"),
        envelope(id="3", time="2020-01-01T00:00:00Z"),
        {"id": 7},
        envelope(id="4", source=None),
    ]
    answer = await post(door, json.dumps(content).encode(), MANY)
    assert answer.status == 200
    results = answer.json["results"]
    assert [(result["status"], result.get("code")) for result in results] == [
        ("accepted", None),
        ("duplicate", None),
        ("rejected", "conflict"),
        ("accepted", "future_time"),
        ("rejected", "too_old"),
        ("rejected", "bad_specversion"),
        ("rejected", "bad_source"),
    ]
    assert [(result["id"], result["source"]) for result in results[-2:]] == [(None, None), ("4", None)]
    assert all(result["detail"] for result in results if "code" in result)
    assert len(await rows(database, rejections)) == 4


async def test_an_empty_batch_is_nothing(door: Api) -> None:
    assert (await post(door, b"[]", MANY)).json == {"results": []}


async def test_more_than_one_batch_of_the_store(door: Api, database: Database) -> None:
    content = json.dumps([envelope(id=str(n)) for n in range(1234)]).encode()
    results = (await post(door, content, MANY)).json["results"]
    assert [result["id"] for result in results] == [str(n) for n in range(1234)]
    assert len(await rows(database, events)) == 1234


async def test_binary_mode(door: Api, database: Database) -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "caf%C3%A9",
        "ce-source": "berlin/x",
        "ce-type": "x",
        "ce-subject": "email:ADA@acme.example",
        "CE-Edge": "edge-7",
        "ce-boot": "2",
        "ce-sequence": "9",
    }
    answer = await post(door, b'{"a": 0.10}', "application/json", headers=headers)
    assert answer.json["results"] == [{"id": "café", "source": "berlin/x", "status": "accepted"}]
    (row,) = await rows(database, events)
    assert (row["subject"], row["edge"], row["boot"], row["sequence"]) == ("email:ada@acme.example", "edge-7", 2, 9)
    assert str(row["data"]["a"]) == "0.10"
    broken = await post(door, b'{"a": ', "application/json", headers=headers | {"ce-id": "2"})
    assert broken.json["results"][0]["code"] == "bad_data"


@pytest.mark.parametrize(
    ("content", "media"),
    [(b"", ONE), (b"{", ONE), (b"[]", ONE), (b"\xff", ONE), (b"{}", MANY), (b"[{]", MANY), (b"[NaN]", MANY)],
)
async def test_a_body_that_cannot_be_read_is_400_and_kept(
    door: Api, database: Database, content: bytes, media: str
) -> None:
    answer = await post(door, content, media)
    assert answer.status == 400
    assert answer.json["code"] in {"not_json", "not_an_event"}
    (kept,) = await rows(database, rejections)
    assert (kept["body"], kept["origin"], kept["content_type"]) == (content, "POST /v1/events", media)


@pytest.mark.parametrize("media", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
async def test_other_content_types_are_415(door: Api, database: Database, media: str) -> None:
    assert (await post(door, body(), media)).status == 415
    assert await rows(database, rejections) == []


async def test_over_a_mebibyte_is_413(door: Api) -> None:
    assert (await post(door, io.BytesIO(b"[" + b" " * 1024 * 1024 + b"]"), MANY)).status == 413


async def test_only_keys_that_may_write_are_let_in(door: Api, database: Database) -> None:
    assert (await post(door, body(), key=None)).status == 401
    assert (await post(door, body(), key="mk_" + "x" * 43)).status == 401
    assert (await post(door, body(), key=await door.key("usage:read"))).status == 403
    assert (await post(door, body(), key=await door.key("events:write", account="acme"))).status == 403
    assert await rows(database, events) == []
    assert (await post(door, body(), key=await door.key("events:write"))).status == 200


async def test_a_key_of_a_site_speaks_for_its_site_only(door: Api, database: Database) -> None:
    key = await door.key("events:write", site="hamburg")
    content = json.dumps([envelope(), envelope(source="hamburg/door/main")]).encode()
    results = (await post(door, content, MANY, key=key)).json["results"]
    assert [(result["status"], result.get("code")) for result in results] == [
        ("rejected", "wrong_site"),
        ("accepted", None),
    ]
    (row,) = await rows(database, events)
    assert row["site"] == "hamburg"


async def test_nothing_is_said_before_the_commit(database_url: str, database: Database) -> None:
    gate = Gate(acceptor(database).accept)
    gate.shut()
    batcher = Batcher(gate.accept, queue_events_max=1)
    running = asyncio.create_task(batcher.run())
    services = the_services(database_url, receive_events=event_receiver(batcher, operator=northside))
    async with serving(services) as door:
        waiting = asyncio.create_task(post(door, body()))
        await until(lambda: bool(gate.entered))
        refused = await post(door, body(id="2"))
        assert (refused.status, refused.json["code"]) == (503, "overloaded")
        assert int(refused.headers["Retry-After"]) > 0
        assert not waiting.done()
        gate.open()
        assert (await waiting).json["results"][0]["status"] == "accepted"
    batcher.stop()
    await running


async def test_a_store_that_does_not_answer_is_503(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from meter.store.engine import Database

    monkeypatch.setattr(http, "COMMIT_WAIT_S", 0.2)
    absent = Database("postgresql://meter@127.0.0.1:1/meter")
    batcher = Batcher(acceptor(absent).accept)
    running = asyncio.create_task(batcher.run())
    services = the_services(database_url, receive_events=event_receiver(batcher, operator=northside))
    async with serving(services) as door:
        answer = await post(door, body())
        assert (answer.status, answer.json["code"]) == (503, "commit_pending")
    running.cancel()
    await asyncio.wait([running])
    await absent.dispose()


async def test_before_the_first_catalog_it_is_503(database_url: str, batcher: Batcher) -> None:
    async def nobody() -> str | None:
        return None

    services = the_services(database_url, receive_events=event_receiver(batcher, operator=nobody))
    async with serving(services) as door:
        answer = await post(door, body())
    assert (answer.status, answer.json["code"]) == (503, "no_catalog")
