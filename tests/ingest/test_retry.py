from datetime import timedelta

from meter.catalog.load import read_catalog_text
from meter.clock import now
from meter.store.catalogs import StoredVersion, body_digest, write_version
from meter.store.engine import Database
from meter.store.rejections import Rejection, record_rejections
from meter.store.tables import events
from tests.api.conftest import Api
from tests.ingest.bodies import NOW, OPERATOR, body
from tests.ingest.rows import rows
from tests.ingest.square import signature
from tests.ingest.test_webhook import HEADER


async def _refused(door: Api, database: Database, *, origin: str, site: str | None, code: str) -> int:
    rejection = Rejection(
        code=code, detail="", channel="mqtt", origin=origin, site=site, body=body(source="munich/door/main"), at=NOW
    )
    async with database.begin() as conn:
        await record_rejections(conn, OPERATOR, [rejection])
    (listed,) = (await door.get("/v1/rejections")).json["rejections"]
    number: int = listed["id"]
    return number


async def test_an_event_on_nobodys_topic_speaks_for_no_site_when_it_is_handed_in_again(
    door: Api, database: Database
) -> None:
    """Whoever may publish below spaces/berlin could otherwise have any site's events stored by whoever retries."""
    number = await _refused(door, database, origin="spaces/berlin//main", site=None, code="unknown_topic")
    again = await door.call("POST", f"/v1/rejections/{number}/retry")
    assert (again.status, again.json["code"]) == (400, "unknown_topic")
    assert await rows(database, events) == []


async def test_a_topic_is_read_again_by_the_catalog_in_force(door: Api, database: Database) -> None:
    number = await _refused(door, database, origin="berlin/front", site=None, code="unknown_topic")
    text = f"operator: {OPERATOR}\ncurrency: EUR\ntimezone: UTC\nsites: {{berlin: {{}}}}\n"
    mapped = text + "mqtt: [{topic: berlin/front, decoder: esphome-tag, site: berlin}]\n"
    async with database.begin() as conn:
        for count, told, effective in ((1, text, None), (2, mapped, now() + timedelta(days=1))):
            content = read_catalog_text([("catalog.yaml", told)]).body
            version = StoredVersion(version=count, effective=effective, body=content, digest=body_digest(content))
            await write_version(conn, OPERATOR, version, reason=None)
    again = await door.call("POST", f"/v1/rejections/{number}/retry")
    assert (again.status, again.json["code"]) == (400, "unknown_topic")


async def test_an_event_stays_held_to_its_topics_site(door: Api, database: Database) -> None:
    number = await _refused(door, database, origin="spaces/berlin/door/main", site="berlin", code="wrong_site")
    again = await door.call("POST", f"/v1/rejections/{number}/retry")
    assert [result["code"] for result in again.json["results"]] == ["wrong_site"]
    assert await rows(database, events) == []


async def test_a_vendors_body_is_no_event_of_ours_when_it_is_handed_in_again(door: Api, database: Database) -> None:
    """What its reader refused would be the word of any vendor: drafts that are applied by themselves among it."""
    posted = body(type="payment.created", data={})
    await door.call("POST", "/hooks/square/till", key=None, data=posted, headers={HEADER: signature(posted)})
    (listed,) = (await door.get("/v1/rejections")).json["rejections"]
    assert listed["code"] == "bad_payload"
    again = await door.call("POST", f"/v1/rejections/{listed['id']}/retry")
    assert (again.status, again.json["code"]) == (400, "bad_payload")
    assert await rows(database, events) == []
