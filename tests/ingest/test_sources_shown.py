import json
from datetime import datetime, timedelta

from msgspec import structs

from meter.ingest.accept import Acceptor
from meter.ingest.status import source_states
from meter.store.engine import Database
from meter.store.fetching import last_receipts
from meter.store.tables import events, fetches, rejections, source_receipts
from tests.api.conftest import Api
from tests.ingest.bodies import NOW, acceptor, arrival
from tests.ingest.rows import rows
from tests.ingest.square import KEYS, signature, webhook
from tests.ingest.test_webhook import HEADER
from tests.ingest.vendor import api, asking, notice
from tests.owning import as_owner
from tests.sources.case import delivery
from tests.sources.cases.nexudus import BOOKING, sign
from tests.sources.cases.nexudus import CASE as NEXUDUS


async def test_a_sources_faults_and_what_it_has_to_fetch_are_shown(door: Api, database: Database) -> None:
    await acceptor(database).accept([arrival(notice(1), channel="webhook")])
    answer = await door.get("/v1/sources")
    shown = {(source["vendor"], source["name"]): source for source in answer.json["sources"]}
    assert shown["square", "till"]["faults"] == []
    unfinished = shown["square", "unfinished"]["faults"][0]
    assert "needs site, secrets and url (as registered with the vendor); not set: " in unfinished
    # What waits for a source that is configured no more is not forgotten.
    assert shown["doors", "main"]["pending"] == 1
    assert "not in the settings any more" in shown["doors", "main"]["faults"][0]
    async with database.begin() as conn:
        await conn.execute(fetches.update().values(due_at=NOW + timedelta(days=900), fault="why", attempts=7))
    hastened = await door.call("POST", "/v1/sources/doors/main/poll")
    assert hastened.json == {"due": 1}
    (row,) = await rows(database, fetches)
    assert row["attempts"] == 0
    assert (await door.call("POST", "/v1/sources/doors/other/poll")).status == 404


async def test_when_a_source_last_told_something_is_shown(door: Api, database: Database) -> None:
    async def received() -> dict[str, str | None]:
        answer = await door.get("/v1/sources")
        return {"/".join([one["vendor"], one["name"]]): one["received"] for one in answer.json["sources"]}

    async def post(body: bytes, signed: str) -> int:
        headers = {HEADER: signed}
        return (await door.call("POST", "/hooks/square/till", key=None, data=body, headers=headers)).status

    assert (await received())["square/till"] is None
    body = webhook()
    assert await post(body, "forged") == 401
    assert (await received())["square/till"] is None
    assert await post(body, signature(body)) == 200
    told = (await received())["square/till"]
    assert told is not None
    assert (await received())["nexudus/main"] is None
    # What is refused, and what is known already, was received as well; within seconds it is not written again.
    async with as_owner(database) as conn:
        await conn.execute(source_receipts.delete())
    assert await post(body, signature(body)) == 200
    assert (await received())["square/till"] is None


async def test_a_receipt_is_written_seldom_and_never_set_back(database: Database) -> None:
    async def at(arrived: datetime, acceptor: Acceptor) -> datetime:
        told = arrival(notice(1), channel="webhook", received_at=arrived)
        await acceptor.accept([structs.replace(told, told_by=("square", "till"))])
        async with database.begin() as conn:
            return (await last_receipts(conn, "northside"))["square", "till"]

    one, other = acceptor(database), acceptor(database)
    assert await at(NOW, one) == NOW
    assert await at(NOW + timedelta(seconds=9), one) == NOW
    assert await at(NOW + timedelta(seconds=10), one) == NOW + timedelta(seconds=10)
    assert await at(NOW + timedelta(seconds=5), other) == NOW + timedelta(seconds=10)


async def test_polls_are_shown_with_when_and_why_not(door: Api, database: Database) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        vendor.log = ["1"]
        await told.turn()
        vendor.status = 500
        told.later(60)
        await told.turn()
    async with database.begin() as conn:
        (state,) = await source_states(conn, "northside", told.sources)
    assert state.received_at is not None
    (poll,) = state.polls
    assert (poll.feed, poll.failures) == ("log", 1)
    assert poll.polled_at is not None
    assert "answered 500" in (poll.fault or "")


async def test_a_vendors_body_is_handed_in_again_by_its_vendors_reader(door: Api, database: Database) -> None:
    """What was refused by an older reading is read as it would be today."""
    old = webhook(created_at="1999-03-02T08:01:27Z")
    refused = await door.call("POST", "/hooks/square/till", key=None, data=old, headers={HEADER: signature(old)})
    assert refused.json["results"][0]["code"] == "too_old"
    unreadable = webhook(amount_money=None)
    await door.call("POST", "/hooks/square/till", key=None, data=unreadable, headers={HEADER: signature(unreadable)})
    listed = (await door.get("/v1/rejections")).json["rejections"]
    numbers = {item["code"]: item["id"] for item in listed}
    taken = await door.call("POST", f"/v1/rejections/{numbers['too_old']}/retry")
    assert [result["status"] for result in taken.json["results"]] == ["accepted"]
    again = await door.call("POST", f"/v1/rejections/{numbers['bad_payload']}/retry")
    assert (again.status, again.json["code"]) == (400, "bad_payload")


async def test_what_the_address_says_is_known_when_a_body_is_handed_in_again(door: Api, database: Database) -> None:
    """That a booking was deleted stands in the address alone; a token never stays."""
    body = json.dumps([{**BOOKING, "FromTime": "later"}]).encode()
    headers, _ = sign(NEXUDUS.setup, KEYS[0], delivery(body))
    posted = await door.call("POST", "/hooks/nexudus/main?event=deleted&token=t", key=None, data=body, headers=headers)
    assert posted.json["results"][0]["status"] == "rejected"
    (kept,) = await rows(database, rejections)
    assert kept["origin"] == "POST /hooks/nexudus/main?event=deleted"
    mended = json.dumps([BOOKING]).encode()
    async with as_owner(database) as conn:
        await conn.execute(rejections.update().values(body=mended, source=None))
    again = await door.call("POST", f"/v1/rejections/{kept['id']}/retry")
    assert [result["status"] for result in again.json["results"]] == ["accepted"]
    (row,) = await rows(database, events)
    assert row["data"]["status"] == "cancelled"
