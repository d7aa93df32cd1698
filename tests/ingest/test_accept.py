import asyncio
import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import text

from meter.ingest.arrival import Arrival, Channel, Receipt
from meter.ingest.judge import Judgement
from meter.ingest.shut_out import ShutOut
from meter.model.errors import Unavailable
from meter.model.event import EventKey
from meter.model.hashing import PLAIN
from meter.model.instant import instant_text
from meter.model.wire import WireEvent, read_event
from meter.store.engine import Database
from meter.store.tables import event_keys, events, held_events, rejections, revisions
from tests.ingest.bodies import NOW, OPERATOR, acceptor, arrival
from tests.ingest.rows import rows
from tests.owning import as_owner


async def said(database: Database, *arrivals: Arrival) -> list[tuple[str, str | None]]:
    outcome = await acceptor(database).accept(arrivals)
    return [(receipt.status, receipt.code) for receipt in outcome.receipts]


async def test_an_event_is_stored_with_all_that_was_sent(database: Database) -> None:
    sent = arrival(edge="edge-7", boot=3, sequence=1, edgeoffsetms=40, zone="b", data={"door": "d", "granted": True})
    assert await said(database, sent) == [("accepted", None)]
    (row,) = await rows(database, events)
    assert isinstance(sent.parsed, WireEvent)
    assert (row["operator"], row["source"], row["id"], row["site"]) == (OPERATOR, "berlin/door/main", "e-1", "berlin")
    assert (row["time"], row["timed"], row["offset_ms"]) == (sent.parsed.time, True, 40)
    assert (row["edge"], row["boot"], row["sequence"]) == ("edge-7", 3, 1)
    assert (row["attributes"], row["data"]) == ({"zone": "b"}, {"door": "d", "granted": True})
    assert (row["channel"], row["received_at"]) == ("mqtt", NOW)
    (key,) = await rows(database, event_keys)
    assert (key["time"], key["content_hash"]) == (sent.parsed.time, sent.parsed.content_hash)


async def test_what_comes_again_is_a_duplicate_by_any_route(database: Database) -> None:
    again = arrival(channel="http", origin="POST /v1/events", edge="edge-7", boot=1, sequence=9)
    assert await said(database, arrival(), arrival(), again) == [
        ("accepted", None),
        ("duplicate", None),
        ("duplicate", None),
    ]
    assert await said(database, again) == [("duplicate", None)]
    assert len(await rows(database, events)) == 1
    assert await rows(database, rejections) == []


async def test_a_missing_time_is_settled_once(database: Database) -> None:
    assert await said(database, arrival(time=None)) == [("accepted", None)]
    assert await said(database, arrival(time=None, received_at=NOW + timedelta(days=1))) == [("duplicate", None)]
    (row,) = await rows(database, events)
    assert (row["time"], row["timed"]) == (NOW, False)


@pytest.mark.parametrize("together", [True, False])
async def test_of_two_contents_under_one_id_the_first_stands(database: Database, *, together: bool) -> None:
    first, second = arrival(), arrival(time="2026-04-01T00:00:00Z")
    if together:
        assert await said(database, first, second) == [("accepted", None), ("rejected", "conflict")]
    else:
        assert await said(database, first) == [("accepted", None)]
        assert await said(database, second) == [("rejected", "conflict")]
    (kept,) = await rows(database, events)
    assert isinstance(first.parsed, WireEvent)
    assert kept["time"] == first.parsed.time
    (rejection,) = await rows(database, rejections)
    assert rejection["body"] == second.parsed.body
    stands = read_event(rejection["stands"])
    assert isinstance(stands, WireEvent)
    assert stands.content_hash == first.parsed.content_hash
    assert await said(database, second) == [("rejected", "conflict")]
    (counted,) = await rows(database, rejections)
    assert counted["count"] == 2


async def test_the_body_that_stands_is_written_as_it_was_sent(database: Database) -> None:
    first = arrival(edge="edge-7", boot=3, sequence=1, edgeoffsetms=40, zone="b", data={"door": "d", "granted": False})
    await said(database, first)
    await said(database, arrival())
    (rejection,) = await rows(database, rejections)
    stands = read_event(rejection["stands"])
    assert isinstance(stands, WireEvent)
    assert isinstance(first.parsed, WireEvent)
    assert replace(stands, body=b"") == replace(first.parsed, body=b"")


async def test_acceptors_side_by_side_store_one(database: Database) -> None:
    """Overlapping batches in different orders, with two contents under every id: no deadlock, one of each stands."""
    arrivals = [arrival(id=f"e-{n}", data={"door": door, "granted": True}) for n in range(40) for door in ("a", "b")]
    batches = [random.Random(seed).sample(arrivals, len(arrivals)) for seed in range(8)]  # noqa: S311 -- repeatable
    doors = [acceptor(database) for _ in batches]
    outcomes = await asyncio.gather(*(door.accept(batch) for door, batch in zip(doors, batches, strict=True)))
    statuses = [receipt.status for outcome in outcomes for receipt in outcome.receipts]
    assert statuses.count("accepted") == 40
    assert statuses.count("rejected") == 40 * 8
    assert statuses.count("duplicate") == 40 * 7
    assert len(await rows(database, events)) == len(await rows(database, event_keys)) == 40
    kept = await rows(database, rejections)
    assert len(kept) == 40
    assert {row["count"] for row in kept} == {8}


async def test_what_lies_ahead_is_held(database: Database) -> None:
    near, far = NOW + timedelta(minutes=5), NOW + timedelta(minutes=5, microseconds=1)
    assert await said(
        database, arrival(id="near", time=instant_text(near)), arrival(id="far", time=instant_text(far))
    ) == [
        ("accepted", None),
        ("accepted", "future_time"),
    ]
    assert {row["id"] for row in await rows(database, events)} == {"near", "far"}
    (held,) = await rows(database, held_events)
    assert (held["id"], held["time"]) == ("far", far)


async def test_the_corrected_time_decides_what_lies_ahead(database: Database) -> None:
    fast = arrival(time=instant_text(NOW + timedelta(hours=1)), edge="e", boot=1, sequence=1, edgeoffsetms=3_600_000)
    assert await said(database, fast) == [("accepted", None)]


async def test_what_is_too_old_is_refused_unless_it_was_there(database: Database) -> None:
    old = arrival(time=instant_text(NOW - timedelta(days=400, microseconds=1)))
    assert await said(database, old) == [("rejected", "too_old")]
    assert await rows(database, event_keys) == []
    assert await said(database, arrival(time=instant_text(NOW - timedelta(days=400)))) == [("accepted", None)]
    later = acceptor(database, now=NOW + timedelta(days=9))
    (receipt,) = (await later.accept([arrival(time=instant_text(NOW - timedelta(days=400)))])).receipts
    assert receipt.status == "duplicate"


async def test_what_is_too_old_does_not_stand_in_the_way(database: Database) -> None:
    old, new = arrival(time="2020-01-01T00:00:00Z"), arrival()
    assert await said(database, old, new) == [("rejected", "conflict"), ("accepted", None)]


async def test_a_topic_speaks_for_its_site_only(database: Database) -> None:
    assert await said(database, arrival(site="hamburg"), arrival(site="berlin")) == [
        ("rejected", "wrong_site"),
        ("accepted", None),
    ]
    (rejection,) = await rows(database, rejections)
    assert (rejection["site"], rejection["origin"]) == ("hamburg", "spaces/berlin/door/main")


@pytest.mark.parametrize(("kind", "more"), [("event.voided", {}), ("event.amended", {"data": {"granted": False}})])
async def test_who_speaks_for_a_site_takes_back_nothing_of_another(
    database: Database, kind: str, more: dict[str, Any]
) -> None:
    theirs = arrival(id="x", type=kind, data={"source": "hamburg/door/main", "id": "e-1"} | more, site="berlin")
    own = arrival(id="y", type=kind, data={"source": "berlin/door/main", "id": "e-1"} | more, site="berlin")
    office = arrival(id="z", type=kind, data={"source": "hamburg/door/main", "id": "e-2"} | more)
    assert await said(database, theirs, own, office) == [
        ("rejected", "wrong_site"),
        ("accepted", None),
        ("accepted", None),
    ]
    assert {row["id"] for row in await rows(database, revisions)} == {"y", "z"}
    (rejection,) = await rows(database, rejections)
    assert "'hamburg/door/main' belongs to site 'hamburg'" in rejection["detail"]


async def test_who_speaks_for_a_site_drafts_no_members(database: Database) -> None:
    said_of = {"vendor": "cobot", "name": "main", "kind": "member", "id": "m", "body": {"account": "acme"}}
    channels: list[Channel] = ["mqtt", "http", "webhook", "fetch"]
    of_site = [arrival(id=by, type="directory.draft", data=said_of, channel=by, site="berlin") for by in channels]
    office = arrival(id="office", type="directory.draft", data=said_of, channel="http")
    assert await said(database, *of_site, office) == [("rejected", "wrong_site")] * 2 + [("accepted", None)] * 3


async def test_voids_and_amendments_are_found_by_their_target(database: Database) -> None:
    target = {"source": "berlin/door/main", "id": "e-1"}
    void = arrival(id="v", type="event.voided", data=target)
    amendment = arrival(id="a", type="event.amended", data=target | {"data": {"granted": False}})
    await said(database, void, amendment, amendment)
    found = {
        (row["id"], row["target_source"], row["target_id"], row["void"]) for row in await rows(database, revisions)
    }
    assert found == {("v", "berlin/door/main", "e-1", True), ("a", "berlin/door/main", "e-1", False)}


async def test_one_bad_row_is_quarantined_and_its_neighbours_live(database: Database) -> None:
    """What the decoder would have to miss for this: a row that PostgreSQL itself refuses."""
    batch = [arrival(id=f"e-{n}", edge="edge-7", boot=1, sequence=n + 1) for n in range(100)]
    event = batch[37].parsed
    assert isinstance(event, WireEvent)
    batch[37] = replace(batch[37], parsed=replace(event, data={"door": "\0"}))
    batch[61] = replace(batch[61], parsed=replace(batch[61].parsed, subject="badge:\ud800"))
    outcome = await acceptor(database).accept(batch)
    refused = [n for n, receipt in enumerate(outcome.receipts) if receipt.status == "rejected"]
    assert refused == [37, 61]
    assert len(await rows(database, events)) == 98
    kept = {row["body"]: row["code"] for row in await rows(database, rejections)}
    assert kept == {batch[37].parsed.body: "unstorable", batch[61].parsed.body: "unstorable"}
    assert outcome.progress[-1].up_to == 100


async def test_an_edge_hears_of_every_sequence(database: Database) -> None:
    def sent(sequence: int, **changes: Any) -> Arrival:
        return arrival(edge="edge-7", boot=3, sequence=sequence, **({"id": f"e-{sequence}"} | changes))

    door = acceptor(database)
    first = await door.accept([sent(1), sent(2, type="no type"), sent(4), sent(5, id="e-1")])
    (progress,) = first.progress
    assert [receipt.status for receipt in first.receipts] == ["accepted", "rejected", "accepted", "duplicate"]
    assert (progress.site, progress.edge, progress.boot) == ("berlin", "edge-7", 3)
    assert (progress.up_to, progress.also) == (2, (4, 5))
    (progress,) = (await door.accept([sent(3)])).progress
    assert (progress.up_to, progress.also) == (5, ())
    (progress,) = (await door.accept([sent(4)])).progress
    assert (progress.up_to, progress.also) == (5, ())


async def test_batches_of_one_edge_side_by_side_add_up(database: Database) -> None:
    def batch(start: int) -> list[Arrival]:
        return [arrival(id=f"e-{n}", edge="edge-7", boot=1, sequence=n) for n in range(start, start + 10)]

    door = acceptor(database)
    outcomes = await asyncio.gather(*(door.accept(batch(start)) for start in range(1, 201, 10)))
    assert max(outcome.progress[0].up_to for outcome in outcomes) == 200


async def test_before_the_first_catalog_nothing_is_taken(database: Database) -> None:
    async def nobody() -> None:
        return None

    door = acceptor(database)
    door._operator = nobody
    with pytest.raises(Unavailable, match="catalog"):
        await door.accept([arrival()])


async def test_without_a_database_nothing_is_said() -> None:
    absent = Database("postgresql://meter@127.0.0.1:1/meter")
    with pytest.raises(Unavailable):
        await acceptor(absent).accept([arrival()])
    await absent.dispose()


async def test_a_fault_of_ours_is_not_quarantined(database: Database) -> None:
    async with as_owner(database) as connection:
        await connection.execute(text("ALTER TABLE events RENAME COLUMN thing TO something"))
    with pytest.raises(Exception, match="thing"):
        await acceptor(database).accept([arrival(id="1"), arrival(id="2")])
    assert await rows(database, rejections) == []


# --- the law, against a model of the store ----------------------------------------------------------------------------


@dataclass
class Shelf:
    """What the store keeps: the first content of each key."""

    taken: dict[EventKey, bytes] = field(default_factory=dict)

    def accept(self, arrivals: list[Arrival]) -> list[Receipt]:
        judgement = Judgement(
            arrivals=arrivals, now=NOW, max_age=timedelta(days=400), as_stored=PLAIN.event, shut_out=ShutOut.of((), {})
        )
        judgement.sort_out()
        new = {entry.key for entry in judgement.candidates() if entry.key not in self.taken}
        judgement.settle(new, {key: self.taken[key] for key in judgement.keys - new if key in self.taken})
        judgement.close({})
        self.taken |= {entry.key: entry.event.content_hash for entry in judgement.new_entries(new)}
        return judgement.receipts


_ARRIVALS = st.builds(
    lambda number, door, old, site: arrival(
        id=f"e-{number}",
        data={"door": door, "granted": True},
        time="2020-01-01T00:00:00Z" if old else "2026-03-02T08:00:00Z",
        site=site,
    ),
    st.integers(0, 3),
    st.sampled_from("ab"),
    st.booleans(),
    st.sampled_from([None, "berlin", "hamburg"]),
)


@given(st.lists(_ARRIVALS, max_size=12), st.integers(0, 12))
def test_how_arrivals_are_cut_into_batches_does_not_change_what_is_stored(arrivals: list[Arrival], cut: int) -> None:
    whole, parts = Shelf(), Shelf()
    together = whole.accept(arrivals)
    apart = parts.accept(arrivals[:cut]) + parts.accept(arrivals[cut:])
    assert whole.taken == parts.taken
    assert [receipt.status == "accepted" for receipt in together] == [r.status == "accepted" for r in apart]
    assert sum(receipt.status == "accepted" for receipt in together) == len(whole.taken)


@given(st.lists(_ARRIVALS, max_size=12))
def test_a_batch_repeated_after_an_unknown_commit_stores_nothing_more(arrivals: list[Arrival]) -> None:
    shelf = Shelf()
    first = shelf.accept(arrivals)
    taken = dict(shelf.taken)
    again = shelf.accept(arrivals)
    assert shelf.taken == taken
    for before, after in zip(first, again, strict=True):
        assert after.status == ("duplicate" if before.status == "accepted" else before.status)
