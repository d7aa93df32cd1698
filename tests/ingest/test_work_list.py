"""The list of what was refused, and handing it in again."""

from base64 import b64decode
from datetime import timedelta
from typing import Any

from meter.model.instant import instant_text
from meter.store.engine import Database
from meter.store.tables import events
from tests.api.conftest import Api
from tests.ingest.bodies import NOW, acceptor, arrival
from tests.ingest.rows import rows


async def listed(door: Api, query: str = "") -> list[dict[str, Any]]:
    answer = await door.get(f"/v1/rejections?{query}")
    assert answer.status == 200
    found: list[dict[str, Any]] = answer.json["rejections"]
    return found


async def test_what_was_refused_is_listed_with_reason_and_bytes(door: Api, database: Database) -> None:
    conflict = arrival(type="x")
    await acceptor(database).accept([arrival(), conflict, arrival(b'\xff{"a', site="berlin")])
    unreadable, other = await listed(door)
    assert (unreadable["code"], unreadable["site"], unreadable["count"]) == ("not_json", "berlin", 1)
    assert (other["code"], other["event_id"], other["status"]) == ("conflict", "e-1", "open")
    assert '"door.access"' in other["stands"]
    shown = (await door.get(f"/v1/rejections/{unreadable['id']}")).json
    assert b64decode(shown["body_base64"]) == b'\xff{"a'
    assert [item["code"] for item in await listed(door, "code=conflict")] == ["conflict"]


async def test_keys_of_a_site_see_their_site(door: Api, database: Database) -> None:
    await acceptor(database).accept([arrival(type="?")])
    (item,) = await listed(door)
    for site, seen in (("berlin", 1), ("hamburg", 0)):
        key = await door.key("usage:read", site=site)
        assert len((await door.get("/v1/rejections", key=key)).json["rejections"]) == seen
        assert (await door.get(f"/v1/rejections/{item['id']}", key=key)).status == (200 if seen else 404)


async def test_what_lies_ahead_is_listed_as_held(door: Api, database: Database) -> None:
    await acceptor(database).accept([arrival(time=instant_text(NOW + timedelta(days=1)))])
    (held,) = await listed(door)
    assert (held["code"], held["status"], held["id"], held["event_id"]) == ("future_time", "held", None, "e-1")
    assert await listed(door, "code=conflict") == []


async def test_what_no_longer_stands_in_the_way_is_taken(door: Api, database: Database) -> None:
    await acceptor(database).accept([arrival(time="2020-01-01T00:00:00Z"), arrival(id="2", type="?")])
    items = {item["code"]: item["id"] for item in await listed(door)}
    taken = await door.call("POST", f"/v1/rejections/{items['too_old']}/retry")
    assert [result["status"] for result in taken.json["results"]] == ["accepted"]
    assert len(await rows(database, events)) == 1
    refused = await door.call("POST", f"/v1/rejections/{items['bad_type']}/retry")
    assert [result["code"] for result in refused.json["results"]] == ["bad_type"]
    assert [item["code"] for item in await listed(door)] == ["bad_type"]
    assert {item["status"] for item in await listed(door, "status=all")} == {"open", "retried"}
    assert (await door.call("POST", f"/v1/rejections/{items['too_old']}/retry")).status == 409


async def test_what_is_discarded_leaves_the_list(door: Api, database: Database) -> None:
    await acceptor(database).accept([arrival(type="?")])
    (item,) = await listed(door)
    assert (await door.call("POST", f"/v1/rejections/{item['id']}/discard")).json["status"] == "discarded"
    assert await listed(door) == []
    for path in ("/v1/rejections/999999", "/v1/rejections/x", "/v1/rejections/" + "9" * 30):
        assert (await door.get(path)).status == 404
        assert (await door.call("POST", path + "/discard")).status == 404
        assert (await door.call("POST", path + "/retry")).status == 404
