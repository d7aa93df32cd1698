"""What agents on site send of themselves and of devices that they could not read, at the door."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import insert

from meter.ingest.arrival import Arrival
from meter.model.instant import instant_text
from meter.store import marks
from meter.store.edge_states import EdgeState, list_edges
from meter.store.engine import Database
from meter.store.keys import create_key
from meter.store.tables import edge_enrollments, events, rejections
from tests.api.conftest import Api
from tests.ingest.bodies import NOW, OPERATOR, acceptor, arrival, body, envelope
from tests.ingest.rows import rows
from tests.ingest.test_http import MANY, post

GARBAGE = b"\xff not what the reader documents"
HEARD = NOW - timedelta(days=3)


def unread(number: int = 1, *, content: bytes = GARBAGE, **changes: Any) -> Arrival:
    """What an agent sends of bytes that nobody could read."""
    data = {
        "code": "bad_payload",
        "detail": "uid is missing; the reader sends one",
        "origin": "esp/berlin/door",
        "content_type": "application/json",
        "body_base64": b64encode(content).decode(),
    } | changes.pop("data", {})
    marked = {"edge": "pi", "boot": 3, "sequence": number, "source": "berlin/edge/pi", "subject": None}
    named = {"id": f"r-{number}", "type": "edge.refusal", "time": instant_text(HEARD)}
    return arrival(site="berlin", **{**marked, **named, **changes, "data": data})


async def test_what_an_agent_could_not_read_stands_among_the_rejections(database: Database) -> None:
    outcome = await acceptor(database).accept([unread(1), arrival(edge="pi", boot=3, sequence=2)])
    assert [(receipt.status, receipt.code) for receipt in outcome.receipts] == [
        ("rejected", "bad_payload"),
        ("accepted", None),
    ]
    assert [(told.up_to, told.also) for told in outcome.progress] == [(2, ())]
    (kept,) = await rows(database, rejections)
    assert (kept["code"], kept["detail"]) == ("bad_payload", "uid is missing; the reader sends one")
    assert (kept["channel"], kept["origin"], kept["content_type"]) == ("edge", "esp/berlin/door", "application/json")
    assert (kept["site"], kept["body"], kept["first_at"]) == ("berlin", GARBAGE, HEARD)
    assert [row["type"] for row in await rows(database, events)] == ["door.access"]


async def test_however_often_it_comes_it_is_one_row(database: Database) -> None:
    for batch in ([unread(1), unread(1)], [unread(1)], [unread(2)]):
        await acceptor(database).accept(batch)
    (kept,) = await rows(database, rejections)
    assert kept["count"] == 4


async def test_a_malformed_one_is_a_rejection_itself(database: Database) -> None:
    outcome = await acceptor(database).accept([unread(1, data={"body_base64": "!"})])
    assert [(receipt.status, receipt.code) for receipt in outcome.receipts] == [("rejected", "bad_data")]
    assert outcome.progress[0].up_to == 1
    (kept,) = await rows(database, rejections)
    assert (kept["code"], kept["channel"]) == ("bad_data", "mqtt")
    assert b"edge.refusal" in kept["body"]


async def test_one_without_a_time_is_of_when_the_agent_heard_it(database: Database) -> None:
    late = unread(1, time=None, edgetime=instant_text(HEARD + timedelta(hours=2)), edgeoffsetms=7_200_000)
    await acceptor(database).accept([late])
    assert [row["first_at"] for row in await rows(database, rejections)] == [HEARD]


async def test_an_agents_clock_dates_nothing_ahead_and_no_origin_is_its_topic(database: Database) -> None:
    ahead = unread(1, data={"origin": None, "body_base64": None}, time=instant_text(NOW + timedelta(days=1)))
    await acceptor(database).accept([ahead])
    (kept,) = await rows(database, rejections)
    assert (kept["first_at"], kept["origin"], kept["body"]) == (NOW, "spaces/berlin/door/main", b"")


async def handed_in_again(door: Api, sent: Arrival, database: Database) -> Any:
    await acceptor(database).accept([sent])
    (listed,) = (await door.get("/v1/rejections")).json["rejections"]
    return (await door.call("POST", f"/v1/rejections/{listed['id']}/retry")).json


async def test_what_can_be_read_now_is_taken_as_of_when_the_agent_heard_it(door: Api, database: Database) -> None:
    late = unread(1, content=body(time=None), data={"origin": "spaces/berlin/door/main"})
    assert [result["status"] for result in (await handed_in_again(door, late, database))["results"]] == ["accepted"]
    (row,) = await rows(database, events)
    assert (row["time"], row["timed"], row["channel"]) == (HEARD, False, "edge")


async def test_an_agent_speaks_for_its_site_only_whatever_it_says_its_bytes_came_from(
    door: Api, database: Database
) -> None:
    """Whoever holds the password of a site could otherwise have any site's events, or a vendor's, stored by a retry."""
    theirs = unread(1, content=body(source="munich/door/main"), data={"origin": "spaces/munich/door/main"})
    again = await handed_in_again(door, theirs, database)
    assert [result["code"] for result in again["results"]] == ["wrong_site"]
    assert await rows(database, events) == []


async def state(database: Database) -> EdgeState:
    async with database.begin() as connection:
        (found,) = await list_edges(connection, OPERATOR)
    return found


def heartbeat(sequence: int | None, **data: Any) -> Arrival:
    said = {"complete_until": instant_text(NOW)} | data
    marked: dict[str, Any] = {"edge": "pi", "boot": 3, "sequence": sequence, "source": "berlin/edge/pi"}
    return arrival(id=f"h-{sequence}-{data.get('spooled')}", type="edge.heartbeat", data=said, **marked)


async def test_the_latest_heartbeat_is_what_is_known_of_an_agent(database: Database) -> None:
    """By its sequence, in whatever order and batches they come; what comes again is no sign of life."""
    collectors = {"mqtt": {"state": "up", "detail": "12 devices", "last": instant_text(HEARD), "more": [1] * 9}}
    said = {"spooled": 9, "clock_offset_ms": -40, "collectors": collectors, "faults": ["disk"], "unknown": 1}
    door = acceptor(database, now=NOW)
    await door.accept([heartbeat(5, spooled=5), heartbeat(9, **said), heartbeat(7, spooled=7)])
    later = acceptor(database, now=NOW + timedelta(hours=1))
    await later.accept([heartbeat(8, spooled=8), heartbeat(9, **said)])
    found = await state(database)
    brief = {"mqtt": {"state": "up", "detail": "12 devices", "last": instant_text(HEARD)}}
    assert found.said == {"spooled": 9, "clock_offset_ms": -40, "collectors": brief, "faults": ["disk"]}
    assert (found.heartbeat_at, found.last_at) == (NOW, NOW + timedelta(hours=1))
    await later.accept([arrival(edge="pi", boot=3, sequence=3, edgeoffsetms=7_200_000)])
    assert (await state(database)).clock_offset_ms == -40, "a backlog has the offset of its own time"
    await later.accept([heartbeat(None, spooled=1)])
    assert (await state(database)).said == {"spooled": 1}


async def test_a_heartbeat_that_only_asks_for_the_time_is_a_sign_of_life_and_says_nothing(database: Database) -> None:
    """It has no number and is not kept by the agent."""
    later = NOW + timedelta(minutes=1)
    await acceptor(database).accept([heartbeat(5, spooled=5)])
    await acceptor(database, now=later).accept([heartbeat(None, asked=7)])
    found = await state(database)
    assert (found.said, found.heartbeat_at) == ({"spooled": 5}, later)
    await acceptor(database).accept([heartbeat(4, spooled=4), heartbeat(None, asked=8)])
    assert (await state(database)).said == {"spooled": 5}
    await acceptor(database).accept([heartbeat(6, spooled=6), heartbeat(None, asked=9), heartbeat(None, asked=10)])
    assert (await state(database)).said == {"spooled": 6}
    await acceptor(database).accept([heartbeat(7)])
    assert (await state(database)).said == {}


@pytest.mark.parametrize("origin", ["spaces/berlin/edge/pi", "spaces/berlin/door/main"])
async def test_on_an_agent_s_topic_nobody_speaks_for_another(database: Database, origin: str) -> None:
    """It would have the other let go of what was never stored, and close its site's month."""
    beat = heartbeat(2, asked="a-1")
    sent = [arrival(edge="pi", boot=3, sequence=1, site="berlin", origin=origin), replace(beat, origin=origin)]
    outcome = await acceptor(database).accept(sent)
    assert [told.up_to for told in outcome.progress] == [2]
    assert [asked.asked for asked in outcome.questions] == ["a-1"]
    forged = [replace(one, origin="spaces/berlin/edge/hut") for one in (heartbeat(9, asked="b-1"), unread(8))]
    outcome = await acceptor(database).accept(forged)
    assert (outcome.progress, outcome.questions) == ([], [])
    assert (await state(database)).marks.last == 2


async def test_of_an_agent_that_has_enrolled_the_marks_count_on_its_own_topic_only(database: Database) -> None:
    """A device beside it may write of its own kind alone, and says what it likes in there."""
    await _enrolled(database, "pi")
    for edge, heard in (("pi", []), ("other", [1])):
        sent = arrival(edge=edge, boot=3, sequence=1, id=edge, site="berlin", origin="spaces/berlin/door/main")
        outcome = await acceptor(database).accept([sent])
        assert [receipt.status for receipt in outcome.receipts] == ["accepted"]
        assert [told.up_to for told in outcome.progress] == heard
    beat = replace(heartbeat(2, asked="a-1"), origin="spaces/berlin/door/main")
    outcome = await acceptor(database).accept([beat])
    assert (outcome.progress, outcome.questions) == ([], [])
    own = replace(heartbeat(2, asked="a-2"), origin="spaces/berlin/edge/pi")
    outcome = await acceptor(database).accept([own])
    assert [asked.asked for asked in outcome.questions] == ["a-2"]


async def _enrolled(database: Database, edge: str, *, api_key: str | None = None) -> None:
    row = {"operator": OPERATOR, "id": "enr_1", "code_hash": b"1", "public_key": b"2", "api_key": api_key}
    at = {"opened_at": NOW, "expires_at": NOW, "used_at": NOW}
    async with database.begin() as conn:
        await conn.execute(insert(edge_enrollments).values(row | at | {"site": "berlin", "edge": edge, "by": "x"}))


async def test_with_its_key_nobody_speaks_for_another_agent(door: Api, database: Database) -> None:
    """As on a topic of its own; a key of the site that no agent enrolled with may speak for each, as before."""

    async def posted(edge: str, sequence: int, key: str) -> None:
        body = json.dumps(envelope(id=f"{edge}-{sequence}", edge=edge, boot=3, sequence=sequence)).encode()
        answer = await post(door, body, key=key)
        assert answer.json["results"][0]["status"] == "accepted"

    async with database.begin() as conn:
        key, secret = await create_key(conn, OPERATOR, scopes=frozenset({"events:write"}), site="berlin")
    await _enrolled(database, "hut", api_key=key.id)
    await posted("pi", 1, secret)
    await posted("hut", 1, secret)
    assert (await state(database)).edge == "hut"
    await posted("pi", 2, await door.key("events:write", site="berlin"))
    async with database.begin() as conn:
        assert {one.edge for one in await list_edges(conn, OPERATOR)} == {"hut", "pi"}


async def test_over_http_no_result_acknowledges_what_found_no_room_among_the_marks(
    door: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent takes the results for the acknowledgement: it would let go what is not marked, and leave a hole."""
    monkeypatch.setattr(marks.advance, "__kwdefaults__", {"ranges_max": 1})

    def sent(*sequences: int) -> bytes:
        return json.dumps([envelope(id=f"e-{n}", edge="pi", boot=3, sequence=n) for n in sequences]).encode()

    assert (await post(door, sent(3), MANY)).status == 200
    refused = await post(door, sent(5, 6), MANY)
    assert (refused.status, refused.json["code"]) == (503, "too_many_holes")
    assert int(refused.headers["Retry-After"]) > 0
    assert (await state(database)).marks.last == 3
    assert (await post(door, sent(4), MANY)).status == 200
    assert (await post(door, sent(5, 6), MANY)).status == 200
    assert (await post(door, sent(1, 2), MANY)).status == 200
    assert (await state(database)).marks.up_to == 6
