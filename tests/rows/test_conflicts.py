"""The same id with other content: the first stands, every other one is quarantined and counted, none is billed."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import text

from meter.ingest.accept import Acceptor
from meter.ingest.arrival import Arrival
from meter.model.instant import instant_text
from meter.model.wire import read_event
from meter.store import accept
from meter.store.bulk import insert_many
from meter.store.tables import event_keys
from tests.booking.space import LATER, Space, pages
from tests.ingest.bodies import northside
from tests.owning import as_owner
from tests.rows.sizes import SEED, sized

EVENTS = sized(40, 1_000)
OTHERS = sized(400, 10_000)
BATCH = sized(25, 250)
GATEWAYS = 4


def _others(dice: random.Random) -> list[bytes]:
    """Bodies under ids that are taken, each with something else in it: the time, the number, the member or the type."""
    found = []
    for n in range(OTHERS):
        of = f"job-{n % EVENTS}"
        body = json.loads(pages(of, "02T09:00", 7))
        moved = instant_text(LATER - timedelta(days=30, seconds=dice.randrange(86_400), microseconds=n + 1))
        changes = (
            {"time": moved},
            {"data": body["data"] | {"impressions": 100 + n}},
            {"subject": "badge:EFE1", "data": body["data"] | {"job": f"other-{n}"}},
            {"type": "scan.job", "data": {"pages": n}},
        )[n % 4]
        found.append(json.dumps(body | changes).encode())
    return found


async def _arrive(space: Space, bodies: Sequence[bytes]) -> list[tuple[str, str | None]]:
    """Let bodies in at several gateways at once; return what each was told."""
    doors = [
        Acceptor(
            space.database, operator=northside, telemetry=space.telemetry, max_age_days=400, clock=lambda: space.now
        )
        for _ in range(GATEWAYS)
    ]

    async def one(door: Acceptor, part: Sequence[bytes]) -> list[tuple[str, str | None]]:
        told: list[tuple[str, str | None]] = []
        for at in range(0, len(part), BATCH):
            arrivals = [
                Arrival(parsed=read_event(body), channel="http", origin="test", received_at=space.now)
                for body in part[at : at + BATCH]
            ]
            told += [(receipt.status, receipt.code) for receipt in (await door.accept(arrivals)).receipts]
        return told

    parts = await asyncio.gather(*(one(door, bodies[n::GATEWAYS]) for n, door in enumerate(doors)))
    return [said for part in parts for said in part]


async def _conflicts(space: Space) -> None:
    dice = random.Random(SEED)  # noqa: S311  a test is repeated by its seed
    firsts = [pages(f"job-{n}", "02T09:00", 7) for n in range(EVENTS)]
    await space.take(*firsts)
    expected = await space.books()
    mixed = [*_others(dice), *firsts]
    dice.shuffle(mixed)
    told = await _arrive(space, mixed)
    await space.rate()
    assert await space.books() == expected, "what came under an id that is taken was billed"
    assert told.count(("rejected", "conflict")) == OTHERS
    assert told.count(("duplicate", None)) == EVENTS
    kept = await space.rows(
        "SELECT count(*), sum(count) FROM rejections WHERE code = 'conflict' AND stands IS NOT NULL"
    )
    assert kept == [(OTHERS, OTHERS)]
    counted = space.telemetry.registry.get_sample_value(
        "meter_events_total", {"channel": "http", "outcome": "rejected"}
    )
    assert counted == OTHERS
    print(f"conflicts, seed {SEED}: {EVENTS} events, {OTHERS} others, all quarantined")  # noqa: T201  for the long form


async def test_of_many_contents_under_one_id_the_first_is_billed_and_the_others_are_kept(space: Space) -> None:
    await _conflicts(space)


async def test_a_key_with_the_time_in_it_is_found(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: what a partitioned table asks of its unique keys bills the same id twice."""
    columns = ("operator", "source", "id", "content_hash", "time")
    by_time = "ON CONFLICT (operator, source, id, time) DO NOTHING RETURNING source, id"
    async with as_owner(space.database) as connection:
        await connection.execute(text("ALTER TABLE event_keys DROP CONSTRAINT event_keys_pkey"))
        await connection.execute(text("ALTER TABLE event_keys ADD PRIMARY KEY (operator, source, id, time)"))
    monkeypatch.setattr(accept, "_KEYS", insert_many(event_keys, columns, by_time))
    with pytest.raises(AssertionError, match="was billed"):
        await _conflicts(space)
    assert await space.rows("SELECT 1 FROM events GROUP BY source, id HAVING count(*) > 1 LIMIT 1") == [(1,)]
