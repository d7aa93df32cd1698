"""Every topic x what an event on it may claim, on a broker that separates nobody: the gateway judges by itself."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

from sqlalchemy import select

from meter.store.edge_states import list_edges
from meter.store.engine import Database
from meter.store.tables import events, rejections
from tests.ingest.bodies import OPERATOR, envelope
from tests.ingest.gateway import acks, gateway, new_site, publish, until
from tests.ingest.rows import rows

# Topics are named by their site, of which {0} is the sender's and {1} another; so are sources.
TOPICS = ("spaces/{0}/door/main", "spaces/{0}/edge/desk", "spaces/{0}/edge/{1}", "spaces/{1}/door/main")
SOURCES = ("{0}/door/main", "{1}/door/main", "{0}x/door/main", "{0}", "{1}/{0}/door", "spaces/{0}/door/main")
TARGETS = ("{0}/door/main", "{1}/door/main")


def claims(site: str, other: str) -> list[tuple[str, dict[str, Any], bool]]:
    """Topic, event, and whether it may be taken: each source on each topic, as usage, revision, refund, draft."""
    made: list[tuple[str, dict[str, Any], bool]] = []
    topics, sources, targets = ([text.format(site, other) for text in texts] for texts in (TOPICS, SOURCES, TARGETS))
    for topic, source in product(topics, sources):
        own = source.split("/")[0] == topic.split("/")[1]
        made.append((topic, {"source": source}, own))
        for kind, target in product(("event.voided", "event.amended"), targets):
            data: dict[str, Any] = {"source": target, "id": "victim", "reason": "because"}
            if kind == "event.amended":
                data["data"] = {"granted": False}
            same = target.split("/")[0] == topic.split("/")[1]
            made.append((topic, {"source": source, "type": kind, "subject": None, "data": data}, own and same))
        for target in targets:
            sale = {"source": target, "order": "o-1"}
            data = {"refund": "r-1", "sale": sale, "amount": "1", "currency": "EUR", "status": "completed"}
            same = target.split("/")[0] == topic.split("/")[1]
            made.append((topic, {"source": source, "type": "pos.refund", "subject": None, "data": data}, own and same))
            amended = {"source": source, "id": "refund", "data": data}
            event = {"source": source, "type": "event.amended", "subject": None, "data": amended}
            made.append((topic, event, own and same))
        draft: dict[str, Any] = {"kind": "account", "id": "acme", "body": {}, "vendor": "cobot", "name": "main"}
        made.append((topic, {"source": source, "type": "directory.draft", "subject": None, "data": draft}, False))
    return made


async def test_nothing_is_taken_that_its_topic_does_not_speak_for(broker_url: str, database: Database) -> None:
    site, other = new_site(), new_site()
    sent, bodies = claims(site, other), []
    for number, (topic, event, _) in enumerate(sent):
        marks = {"edge": "desk", "boot": 1, "sequence": number + 1}
        bodies.append({"topic": topic, "qos": 1, "payload": json.dumps(envelope(id=f"e-{number}", **event, **marks))})
    filters = [f"spaces/{name}/+/+" for name in (site, other)]
    async with (
        gateway(broker_url, database, operator=site, filters=filters) as running,
        acks(broker_url, other) as heard,
    ):
        await publish(broker_url, bodies)
        await until(lambda: len(running.statuses) == len(sent))
    async with database.begin() as conn:
        taken = set((await conn.execute(select(events.c.id))).scalars())
        marked = {(one.site, one.edge): one.marks for one in await list_edges(conn, OPERATOR)}
    assert taken == {f"e-{number}" for number, (_, _, may) in enumerate(sent) if may}
    assert 10 < len(taken) < len(sent) / 3
    # What an agent is told to let go of is what came on its own topic, or on one that is no agent's.
    own = {number + 1 for number, (topic, _, _) in enumerate(sent) if topic.startswith(f"spaces/{site}/")}
    theirs = {
        number + 1 for number, (topic, _, _) in enumerate(sent) if topic.startswith(f"spaces/{site}/edge/{other}")
    }
    assert marked[site, "desk"].last == max(own - theirs)
    assert {topic for topic, _ in heard} <= {f"spaces/{other}/acks/desk"}
    assert set(marked) == {(site, "desk"), (other, "desk")}


async def test_what_was_not_taken_is_kept_with_its_reason(broker_url: str, database: Database) -> None:
    site, other = new_site(), new_site()
    body = json.dumps(envelope(source=f"{other}/door/main"))
    async with gateway(broker_url, database, operator=site) as running:
        await publish(broker_url, [{"topic": f"spaces/{site}/door/main", "qos": 1, "payload": body}])
        await until(lambda: running.statuses == ["rejected"])
    (kept,) = await rows(database, rejections)
    # Among the sender's own: whom it pretended to be does not hear of it.
    assert (kept["code"], kept["site"], kept["body"]) == ("wrong_site", site, body.encode())
