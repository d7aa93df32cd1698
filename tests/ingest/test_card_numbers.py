"""A payment card's number is stored by no route, in no column and no log: planted by each, looked for everywhere."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from datetime import timedelta
from typing import Any, get_args

import pytest
from aiohttp import hdrs
from sqlalchemy import LargeBinary, select
from structlog.testing import capture_logs

from meter.catalog.mapping import read_mapping
from meter.ingest.arrival import Channel
from meter.ingest.importing.rows import extract
from meter.ingest.importing.run import Importer
from meter.store.engine import Database
from meter.store.tables import events, metadata, rejections
from tests.api.conftest import Api
from tests.booking.space import LATER, open_space
from tests.ingest.bodies import OPERATOR, acceptor, arrival, body
from tests.ingest.rows import rows
from tests.ingest.square import notification, payment, signature
from tests.ingest.test_importing import HEAD, MAPPING, ROWS
from tests.ingest.test_webhook import HEADER
from tests.looks import HOSTILE, looks

NUMBER = "4111111111111111"
SPELLED = "4111 1111 1111 1111"
_SEPARATED = re.compile("[ +-]?".join(NUMBER))


async def leaks(database: Database, *more: object) -> list[str]:
    """Where the number stands: in every row of every table, its bytes read as text, and in whatever else was made."""
    found = [f"no table: {one}" for one in map(str, more) if _SEPARATED.search(one)]
    async with database.begin() as connection:
        for table in metadata.sorted_tables:
            for row in (await connection.execute(select(table))).mappings():
                for column, value in row.items():
                    shown = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                    if _SEPARATED.search(shown):
                        found.append(f"{table.name}.{column}: {shown[:200]}")
    return found


def sale(number: str, order: str, **changes: Any) -> dict[str, Any]:
    lines = [{"id": "1", "item": "Coffee", "quantity": 1, "amount": "3.20"}]
    return {
        "id": order,
        "type": "till.note",
        "source": "berlin/pos/till",
        "data": {"order": order, "lines": lines, "currency": "EUR", "note": f"card {number}"},
        **changes,
    }


@pytest.mark.parametrize("channel", get_args(Channel))
async def test_by_every_channel_only_what_holds_one_is_refused(database: Database, channel: Channel) -> None:
    inner = b64encode(f"pan={SPELLED}".encode()).decode()
    refusal = {"code": "not_json", "detail": f"{SPELLED} is no JSON", "origin": f"till/{NUMBER}", "body_base64": inner}
    batch = [
        arrival(channel=channel, id="before"),
        arrival(channel=channel, **sale(NUMBER, "o-1")),
        arrival(channel=channel, **sale(SPELLED, "o-2")),
        arrival(channel=channel, id=f"paid-{NUMBER}"),
        arrival(channel=channel, subject=f"card:{NUMBER}", id="o-3"),
        arrival(channel=channel, source=f"berlin/pos/{NUMBER}", id="o-4"),
        arrival(channel=channel, cardseen=SPELLED, id="o-5"),
        arrival(channel=channel, origin=f"spaces/berlin/pos/{NUMBER}", id="its topic only"),
        arrival(f'{{"note": "{SPELLED}'.encode(), channel=channel),
        arrival(f"pan={NUMBER}".encode(), channel=channel),
        arrival(channel=channel, id="o-6", type="edge.refusal", source="berlin/edge/hut", subject=None, data=refusal),
        arrival(channel=channel, id="after"),
    ]
    with capture_logs() as logs:
        outcome = await acceptor(database).accept(batch)
    codes = [receipt.code for receipt in outcome.receipts]
    assert codes == [None, *["card_number"] * 6, None, "not_json", "not_json", "not_json", None]
    assert {row["id"] for row in await rows(database, events)} == {"before", "its topic only", "after"}
    assert len(await rows(database, rejections)) == 9
    assert await leaks(database, outcome.receipts, logs) == []


async def test_a_long_look_is_beside_the_loop(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    made = looks(monkeypatch)
    batch = [arrival(id="hostile", data={"door": "main", "granted": True, "note": HOSTILE}), arrival(id="beside")]
    outcome = await acceptor(database).accept(batch)
    assert [receipt.status for receipt in outcome.receipts] == ["accepted", "accepted"]
    await acceptor(database).accept(
        [arrival(id="short", data={"door": "main", "granted": True, "order": 20261123070001})]
    )
    assert [look.beside for look in made] == [True, True, False]


async def test_an_agent_lets_go_of_what_is_refused(database: Database) -> None:
    marks: list[dict[str, Any]] = [{"edge": "hut", "boot": 4111111111111111, "sequence": n} for n in (1, 2, 3)]
    batch = [
        arrival(channel="edge", id="a", **marks[0]),
        arrival(channel="edge", **sale(NUMBER, "o-1"), **marks[1]),
        arrival(channel="edge", id="b", **marks[2]),
    ]
    outcome = await acceptor(database).accept(batch)
    assert [receipt.status for receipt in outcome.receipts] == ["accepted", "rejected", "accepted"]
    assert outcome.progress[-1].up_to == 3


async def test_what_was_refused_is_billed_once_it_is_handed_in_again_masked(door: Api, database: Database) -> None:
    """The sender may be unable to send anything else: what bills the coffee is all there."""
    answers, batched = [], {hdrs.CONTENT_TYPE: "application/cloudevents-batch+json"}
    for _ in range(2):
        posted = json.dumps([json.loads(body(**sale(SPELLED, "o-1"))), json.loads(body(id="beside"))])
        answers.append(await door.call("POST", "/v1/events", data=posted, headers=batched))
    refused = answers[0].json["results"][0]
    assert (refused["code"], "data.note" in refused["detail"]) == ("card_number", True)
    (listed,) = (await door.get("/v1/rejections")).json["rejections"]
    assert listed["count"] == 2
    again = await door.call("POST", f"/v1/rejections/{listed['id']}/retry")
    assert [result["status"] for result in again.json["results"]] == ["accepted"]
    stored = {row["id"]: row["data"] for row in await rows(database, events)}
    assert stored["o-1"]["note"] == "card 411111******1111"
    assert stored["o-1"]["lines"][0]["amount"] == "3.20"
    shown = (await door.get("/v1/rejections?status=retried")).text
    assert await leaks(database, *(answer.text for answer in answers), shown, (await door.get("/metrics")).text) == []


async def test_a_vendors_body_that_cannot_be_read_is_kept_masked(door: Api, database: Database) -> None:
    unread = json.dumps({"type": "payment.created", "note": SPELLED}).encode()
    paid = notification("payment.created", "payment", payment(note=f"card {NUMBER}"))
    with capture_logs() as logs:
        for posted in (unread, paid):
            await door.call("POST", "/hooks/square/till", key=None, data=posted, headers={HEADER: signature(posted)})
        # Nobody signed it: a sample is kept, after the answer.
        await door.call("POST", "/hooks/square/till", key=None, data=unread, headers={HEADER: "forged"})
        async with asyncio.timeout(20):
            while "bad_signature" not in {row["code"] for row in await rows(database, rejections)}:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert "bad_payload" in {row["code"] for row in await rows(database, rejections)}
    assert await leaks(database, logs) == []


async def test_a_table_names_the_row_and_takes_its_neighbours(database_url: str) -> None:
    for column in ("04AA", "Nina"):
        async with open_space(database_url) as space:
            importer = Importer(
                database=space.database,
                acceptor=acceptor(space.database),
                operator=OPERATOR,
                now=LATER,
                max_age=timedelta(days=400),
            )
            table = (HEAD + ROWS + "3;Otto;Zehn;;ten;Ten GmbH;;;;;;\n").replace(column, NUMBER).encode()
            found = extract([("f.csv", table)], read_mapping(MAPPING, file="map.yaml"), site="berlin")
            refused = await importer.run(found, origin="test", dry_run=False, skip_faults=False)
            assert not refused.written
            assert {issue.line for issue in refused.faults if "payment card" in issue.message} == {2}
            await importer.run(found, origin="test", dry_run=False, skip_faults=True)
            async with space.database.begin() as connection:
                names = (await connection.execute(select(metadata.tables["members"].c.name))).scalars().all()
            assert "Otto Zehn" in names
            assert await leaks(space.database, refused.faults) == []


def test_the_scan_sees_bytes() -> None:
    bodies = [c for table in metadata.sorted_tables for c in table.columns if isinstance(c.type, LargeBinary)]
    assert any(column.name == "body" for column in bodies)
